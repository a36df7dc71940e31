//! What goes to buses: messages gathered in order, destination by destination, and handed over; those that a bus does not
//! take because of their size.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lantern_core::{
    Bus, BusError, Destination, Event, EventId, Message, Name, NewEvent, TraceContext,
    module::{Failure, FailureKind},
};

/// The buses of a host, by the names the configuration gives them.
pub type Buses = BTreeMap<Name, Arc<dyn Bus>>;

/// Messages for one destination, in order.
#[derive(Debug)]
pub(crate) struct Post {
    bus: Name,
    destination: Destination,
    /// Whether they are events of the log, with the traces they had there.
    from_log: bool,
    messages: Vec<Message>,
}

/// Adds a message behind those that are there.
pub(crate) fn push(posts: &mut Vec<Post>, bus: Name, destination: Destination, from_log: bool, message: Message) {
    match posts.last_mut() {
        Some(post) if post.bus == bus && post.destination == destination && post.from_log == from_log => {
            post.messages.push(message);
        }
        _ => posts.push(Post { bus, destination, from_log, messages: vec![message] }),
    }
}

/// How many messages some posts have.
pub(crate) fn count(posts: &[Post]) -> u64 {
    posts.iter().map(|post| post.messages.len() as u64).sum()
}

/// Publishes in order. `batch` is the trace of events that are handled late. Done again it sends the same ids again.
pub(crate) async fn publish(buses: &Buses, posts: &[Post], batch: Option<&TraceContext>) -> Result<(), BusError> {
    for Post { bus, destination, from_log, messages } in posts {
        let Some(client) = buses.get(bus) else { return Err(unknown(bus, buses)) };
        match batch.filter(|_| *from_log) {
            Some(batch) => client.publish_late(destination, messages, batch).await?,
            None => client.publish(destination, messages).await?,
        }
    }
    Ok(())
}

fn unknown(bus: &Name, buses: &Buses) -> BusError {
    let known: Vec<_> = buses.keys().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let reason = format!("the configuration has no bus of this name, it has {known}: add a table `[[bus]]`");
    BusError::Unsupported { bus: format!("bus `{bus}`"), reason }
}

/// An event of the log as a message.
pub(crate) fn as_it_is(event: &Event) -> Message {
    let Event { id, event_type, schema_version, stream, time, data, metadata, .. } = event.clone();
    Message { stream, event: NewEvent { id, event_type, schema_version, time, data, metadata } }
}

/// Messages that a bus did not take because of their size. The handling of the event that leads to one fails from then
/// on, so that the event is parked, and its stream held back, like any other that cannot be handled.
#[derive(Debug, Default)]
pub(crate) struct Oversized {
    refused: Mutex<HashMap<EventId, String>>,
}

impl Oversized {
    /// Notes what a bus did not take, if that is the trouble.
    pub(crate) fn note(&self, error: &BusError) {
        if let BusError::TooLarge { event, .. } = error {
            self.refused().insert(*event, error.to_string());
        }
    }

    /// Forgets all: what was too large may fit now.
    pub(crate) fn forget(&self) {
        self.refused().clear();
    }

    /// The failure of the call that publishes a message with one of these ids, if a bus did not take it.
    pub(crate) fn failure(&self, mut ids: impl Iterator<Item = EventId>) -> Option<Failure> {
        let refused = self.refused();
        let message = if refused.is_empty() { None } else { ids.find_map(|id| refused.get(&id)) };
        message.map(|message| Failure::new(FailureKind::Limit, message.clone()))
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<EventId, String>> {
        // A map of texts is whole at every moment.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
