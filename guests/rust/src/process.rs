//! Process managers: a state by correlation key, and time-outs.
//!
//! A process manager is a [`Handler`](crate::Handler) that follows something over several events. Its states are documents,
//! its time-outs are schedules; both take effect together with the event in hand. A time-out comes back as an ordinary
//! event of the stream it was scheduled for.

use crate::{Collection, Event, Failure, NewEvent, schedule};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The processes of one kind, their states in a collection that has to be named in
/// [`Handler::COLLECTIONS`](crate::Handler::COLLECTIONS).
///
/// ```
/// # use lantern_guest::prelude::*;
/// # use std::time::Duration;
/// #[derive(Serialize, Deserialize)]
/// struct Waiting {
///     since: Time,
/// }
///
/// #[derive(Serialize)]
/// struct ShippingReminded;
///
/// const WAITING: Process<Waiting> = Process::new("waiting");
///
/// # fn example(event: &Event) -> Result<(), Failure> {
/// let order = event.stream_id();
/// WAITING.save(order, &Waiting { since: event.time() })?;
/// WAITING.time_out_after(Duration::from_hours(48), event, order, event.stream(), &ShippingReminded)
/// # }
/// ```
pub struct Process<S> {
    states: Collection<S>,
}

impl<S> Process<S> {
    /// The processes whose states are in the collection of that name.
    #[must_use]
    pub const fn new(collection: &'static str) -> Self {
        Self { states: Collection::new(collection) }
    }

    /// The name of the collection.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.states.name()
    }

    /// Ends a process: removes its state and takes back its time-out.
    pub fn complete(&self, key: impl AsRef<str>) {
        let key = key.as_ref();
        self.states.delete(key);
        self.cancel_time_out(key);
    }

    /// Has an event put into a stream a while after the event in hand, in place of the time-out the process had before.
    ///
    /// # Errors
    /// A permanent failure when the value has no name or is no JSON; see [`emit`](crate::emit()).
    pub fn time_out_after<T: Serialize + ?Sized>(
        &self,
        duration: Duration,
        event: &Event,
        key: impl AsRef<str>,
        stream: impl AsRef<str>,
        time_out: &T,
    ) -> Result<(), Failure> {
        NewEvent::of(time_out)?.schedule(self.schedule_key(key.as_ref()), event.time() + duration, stream);
        Ok(())
    }

    /// Takes back the time-out of a process. Nothing happens when it has none, or when it was emitted already.
    pub fn cancel_time_out(&self, key: impl AsRef<str>) {
        schedule::cancel(self.schedule_key(key.as_ref()));
    }

    fn schedule_key(&self, key: &str) -> String {
        format!("{}/{key}", self.name())
    }
}

impl<S: DeserializeOwned> Process<S> {
    /// The state of a process; none when it has not begun or is complete.
    pub fn load(&self, key: impl AsRef<str>) -> Result<Option<S>, Failure> {
        self.states.get(key)
    }
}

impl<S: Serialize> Process<S> {
    /// Writes the state of a process; the first time begins it.
    pub fn save(&self, key: impl AsRef<str>, state: &S) -> Result<(), Failure> {
        self.states.put(key, state)
    }
}

/// A key that all events which follow from one another share: the correlation id, or the id of the event in hand when it
/// is the first of them. For processes that span streams; inside one stream `event.stream_id()` is the simpler key.
#[must_use]
pub fn correlate(event: &Event) -> String {
    event.correlation_id().map_or_else(|| event.id().to_string(), str::to_owned)
}
