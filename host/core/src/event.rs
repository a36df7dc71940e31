//! An event, before and after it is in the log.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Metadata, Position, StreamName, Timestamp, Version};

/// The identity of an event.
pub type EventId = Uuid;

/// The name of a kind of event, for example `OrderPlaced`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventType(Arc<str>);

/// Why a text is no event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no event type: 1 to 256 bytes without control characters are needed")]
pub struct EventTypeError {
    text: String,
}

impl EventType {
    /// Checks and takes a type name.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, EventTypeError> {
        let text = text.into();
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(EventTypeError { text: text.escape_debug().to_string() });
        }
        Ok(Self(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EventType {
    type Error = EventTypeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        event_type.0.as_ref().into()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The content of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// JSON text, checked when it was appended. Its content type is `application/json`.
    Json(Arc<str>),
    /// Bytes of another content type.
    Bytes {
        /// The media type, for example `application/octet-stream`.
        content_type: Arc<str>,
        /// The bytes.
        data: Bytes,
    },
}

impl Payload {
    /// The media type of the content.
    #[must_use]
    pub fn content_type(&self) -> &str {
        match self {
            Self::Json(_) => "application/json",
            Self::Bytes { content_type, .. } => content_type,
        }
    }

    /// The content as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.as_bytes(),
            Self::Bytes { data, .. } => data,
        }
    }
}

/// An event that is to be appended to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity. Appending an id a second time is answered with the first result.
    pub id: EventId,
    /// Its kind.
    pub event_type: EventType,
    /// The version of the schema of its data, from 1.
    pub schema_version: u32,
    /// When it happened.
    pub time: Timestamp,
    /// Its content.
    pub data: Payload,
    /// What travels with it.
    pub metadata: Metadata,
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its identity.
    pub id: EventId,
    /// Its kind.
    pub event_type: EventType,
    /// The version of the schema of its data, from 1.
    pub schema_version: u32,
    /// Its stream.
    pub stream: StreamName,
    /// Its place in the stream.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
    /// When it happened.
    pub time: Timestamp,
    /// Its content.
    pub data: Payload,
    /// What travels with it.
    pub metadata: Metadata,
}
