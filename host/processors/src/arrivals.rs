//! What becomes of messages in the log: each is there once, however often it arrives, and none is lost because another one
//! has its id.

use lantern_core::{
    Append, Event, EventId, Expected, Log, Message, NewEvent, StreamName,
    log::{AppendError, LogError},
};
use uuid::Uuid;

/// Why messages are not in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAppended {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A message and the ids it may take.
struct Arrival {
    message: Message,
    /// How often its id was found taken.
    taken: u8,
}

/// Appends messages in order. The log answers an id that it has with the first result. An event whose id is there with
/// other content gets an id made of its source and its own id, and should that be there as well, of its content.
pub(crate) async fn append(log: &dyn Log, messages: Vec<Message>) -> Result<(), NotAppended> {
    let mut arrivals: Vec<_> = messages.into_iter().map(|message| Arrival { message, taken: 0 }).collect();
    if arrivals.is_empty() {
        return Ok(());
    }
    loop {
        match log.append(grouped(&arrivals)).await {
            Ok(_) => return Ok(()),
            Err(AppendError::DuplicateEvent { id, position }) => {
                let there = log.event(id).await?;
                if !give_way(&mut arrivals, id, there.as_ref()) {
                    return Err(AppendError::DuplicateEvent { id, position }.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn grouped(arrivals: &[Arrival]) -> Vec<Append> {
    let mut appends: Vec<Append> = Vec::new();
    for Arrival { message: Message { stream, event }, .. } in arrivals {
        match appends.last_mut() {
            Some(append) if append.stream == *stream => append.events.push(event.clone()),
            _ => appends.push(Append { stream: stream.clone(), expected: Expected::Any, events: vec![event.clone()] }),
        }
    }
    appends
}

/// Gives other ids to those that differ from what has this id: the event in the log, or else the first to come. Says
/// whether any was given.
fn give_way(arrivals: &mut [Arrival], id: EventId, there: Option<&Event>) -> bool {
    let mut first = there.map(of_event);
    let mut given = false;
    for Arrival { message, taken } in arrivals.iter_mut().filter(|arrival| arrival.message.event.id == id) {
        let own = of_message(message);
        match &first {
            None => first = Some(own),
            Some(first) if *first == own => {}
            Some(_) => {
                let Some(other) = other_id(message, *taken) else { continue };
                message.event.id = other;
                *taken += 1;
                given = true;
            }
        }
    }
    given
}

/// The next id to try.
fn other_id(Message { stream, event }: &Message, taken: u8) -> Option<EventId> {
    match taken {
        0 => Some(Uuid::new_v5(&event.id, event.metadata.source.as_deref().unwrap_or_default().as_bytes())),
        1 => {
            let NewEvent { event_type, schema_version, data, .. } = event;
            let content = [
                stream.as_str().as_bytes(),
                event_type.as_str().as_bytes(),
                &schema_version.to_be_bytes(),
                data.content_type().as_bytes(),
                data.as_bytes(),
            ];
            Some(Uuid::new_v5(&event.id, &content.join(&0)))
        }
        _ => None,
    }
}

/// What makes two events with one id the same.
type Content = (StreamName, String, u32, String, Vec<u8>);

fn of_event(event: &Event) -> Content {
    let (kind, data) = (event.event_type.to_string(), &event.data);
    (event.stream.clone(), kind, event.schema_version, data.content_type().into(), data.as_bytes().to_vec())
}

fn of_message(Message { stream, event }: &Message) -> Content {
    let (kind, data) = (event.event_type.to_string(), &event.data);
    (stream.clone(), kind, event.schema_version, data.content_type().into(), data.as_bytes().to_vec())
}
