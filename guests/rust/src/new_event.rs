//! Events a module asks for.

use crate::bindings::lantern::module::types::{self, Payload};
use crate::host::{emit as host, publish as buses, schedule};
use crate::{Failure, Time, written};
use serde::Serialize;
use std::cell::Cell;

thread_local! {
    /// The schema versions of the module in hand.
    static SCHEMA_VERSIONS: Cell<&'static [(&'static str, u32)]> = const { Cell::new(&[]) };
}

/// Takes the schema versions of the module whose call begins.
pub(crate) fn enter(schema_versions: &'static [(&'static str, u32)]) {
    SCHEMA_VERSIONS.set(schema_versions);
}

/// An event a module asks for. The host gives it its id, its time, and correlation, causation, tenant, actor and trace.
///
/// [`emit`] is enough for most; this is for one that says more:
///
/// ```
/// # use lantern_guest::prelude::*;
/// # #[derive(Serialize)] struct ShippingRequested { order: String }
/// # fn example() -> Result<(), Failure> {
/// NewEvent::of(&ShippingRequested { order: "42".to_owned() })?.with_metadata("priority", "high").emit("Shipping-42");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    event_type: String,
    schema_version: u32,
    data: String,
    metadata: Vec<(String, String)>,
}

impl NewEvent {
    /// A value as an event: the type is the name of the variant or struct as serde writes it, the data its fields. The
    /// schema version is the one the module's `SCHEMA_VERSIONS` name for the type, otherwise 1.
    ///
    /// # Errors
    /// A permanent failure when the value has no name or is no JSON.
    pub fn of<T: Serialize + ?Sized>(event: &T) -> Result<Self, Failure> {
        let written = written::write(event).map_err(|reason| {
            Failure::permanent(format_args!("a {} is no event: {reason}", std::any::type_name::<T>()))
        })?;
        let known = SCHEMA_VERSIONS.get().iter().find(|(name, _)| *name == written.name);
        Ok(Self {
            event_type: written.name.to_owned(),
            schema_version: known.map_or(1, |&(_, version)| version),
            data: written.data,
            metadata: Vec::new(),
        })
    }

    /// The same event with a free pair more in its metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// Puts the event at the end of a stream, `category-id`, once the call in hand succeeds.
    pub fn emit(self, stream: impl AsRef<str>) {
        host::emit(stream.as_ref(), &self.into());
    }

    /// Publishes the event to a topic of a bus once the call in hand succeeds; the stream keeps it in order with others.
    pub fn publish(self, bus: impl AsRef<str>, topic: impl AsRef<str>, stream: impl AsRef<str>) {
        buses::publish(bus.as_ref(), topic.as_ref(), stream.as_ref(), &self.into());
    }

    /// Puts the event at the end of a stream at a time; what was scheduled under the key before is replaced.
    pub fn schedule(self, key: impl AsRef<str>, time: Time, stream: impl AsRef<str>) {
        schedule::emit_at(key.as_ref(), time.nanoseconds(), stream.as_ref(), &self.into());
    }
}

impl From<NewEvent> for types::NewEvent {
    fn from(event: NewEvent) -> Self {
        Self {
            event_type: event.event_type,
            schema_version: event.schema_version,
            content_type: None,
            data: Payload::Json(event.data),
            metadata: event.metadata,
        }
    }
}

/// Puts an event at the end of a stream, `category-id`, once the call in hand succeeds. For handlers; the deployment must
/// grant it.
///
/// The event is a variant of an enum, or a struct: its name is the event's type, its fields the data.
///
/// ```
/// # use lantern_guest::prelude::*;
/// #[derive(Serialize)]
/// enum ShippingEvent {
///     ShippingRequested { order: String },
/// }
/// # fn example(event: &Event) -> Result<(), Failure> {
/// let order = event.stream_id();
/// emit(format!("Shipping-{order}"), &ShippingEvent::ShippingRequested { order: order.to_owned() })
/// # }
/// ```
///
/// # Errors
/// A permanent failure when the value has no name or is no JSON.
pub fn emit<T: Serialize + ?Sized>(stream: impl AsRef<str>, event: &T) -> Result<(), Failure> {
    NewEvent::of(event)?.emit(stream);
    Ok(())
}

/// Publishes an event to a topic of a bus, once the call in hand succeeds and what it emitted is in the log. For handlers; the
/// deployment must grant the topic: `--grant publish=BUS/TOPIC`.
///
/// The bus has the name that the host's configuration gives it. The stream, `category-id`, is the message's subject and keeps
/// it in order with others. The event does not go into this host's log.
///
/// # Errors
/// A permanent failure when the value has no name or is no JSON; see [`emit`].
pub fn publish<T: Serialize + ?Sized>(
    bus: impl AsRef<str>,
    topic: impl AsRef<str>,
    stream: impl AsRef<str>,
    event: &T,
) -> Result<(), Failure> {
    NewEvent::of(event)?.publish(bus, topic, stream);
    Ok(())
}
