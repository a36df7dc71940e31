//! What a module asks for: a value, applied by the loop or dropped.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Destination, EventType, Name, Payload, StreamName, Timestamp, Value};

/// A document written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The collection.
    pub collection: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// The new content; `None` removes the document.
    pub value: Option<Value>,
}

/// An event a module asks for. The host gives it its id, its time and the rest of its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its kind.
    pub event_type: EventType,
    /// The version of the schema of its data, from 1.
    pub schema_version: u32,
    /// Its content.
    pub data: Payload,
    /// Free pairs of its metadata.
    pub extra: Option<Arc<BTreeMap<String, String>>>,
}

/// An event for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// The stream it is appended to.
    pub stream: StreamName,
    /// The event.
    pub event: Draft,
}

/// A message for a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The bus, by its name in the configuration.
    pub bus: Name,
    /// Where it goes there.
    pub destination: Destination,
    /// What it carries.
    pub content: Published,
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// An event of its own. As for one that is emitted, the host gives it what it lacks.
    Draft(Emission),
    /// The event in hand, as it is in the log.
    Source,
}

/// A change to a handler's schedules. A key names one schedule of the handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timer {
    /// An event is to be emitted later; replaces what was scheduled under the key.
    Set {
        /// The key.
        key: Arc<str>,
        /// When.
        due: Timestamp,
        /// What.
        emission: Emission,
    },
    /// What is scheduled under the key is not to happen; nothing when there is none.
    Cancel {
        /// The key.
        key: Arc<str>,
    },
}

/// What a module asks for when it has handled an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Documents written, in order; a later write of a key replaces an earlier one.
    pub writes: Vec<Write>,
    /// Events emitted, in order. A handler's only.
    pub emitted: Vec<Emission>,
    /// Changes to schedules, in order. A handler's only.
    pub timers: Vec<Timer>,
    /// Messages published, in order. A handler's only.
    pub published: Vec<Publication>,
}
