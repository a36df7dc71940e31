//! The port of the log: the append-only, gapless, totally ordered sequence of all events.
//!
//! ```text
//!   1   2   3   4   5   6  ───▶ positions
//!   └────── durable ─────┘▲
//!                         head: the last acknowledged event; watchers are woken when it moves
//! ```

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{Event, EventId, Fate, Filter, NewEvent, Position, StreamName, Version};

/// Tells a log from every other one.
pub type Incarnation = Uuid;

/// The most events one append may carry.
pub const MAX_APPEND: usize = 10_000;

/// What the writer believes about the stream it appends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Nothing.
    #[default]
    Any,
    /// The stream has no events.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
    /// The stream's last event has this version.
    Exact(Version),
}

impl Expected {
    /// Whether a stream with this version (0 without events) is as expected.
    #[must_use]
    pub fn fits(self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual == Version::NONE,
            Self::StreamExists => actual > Version::NONE,
            Self::Exact(version) => actual == version,
        }
    }
}

/// Why a text is no expected version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no expected version: write `any`, `no-stream`, `stream-exists` or a version number")]
pub struct ExpectedError {
    text: String,
}

impl FromStr for Expected {
    type Err = ExpectedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "any" => Ok(Self::Any),
            "no-stream" => Ok(Self::NoStream),
            "stream-exists" => Ok(Self::StreamExists),
            _ => match text.parse() {
                Ok(version) => Ok(Self::Exact(Version(version))),
                Err(_) => Err(ExpectedError { text: text.into() }),
            },
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::NoStream => f.write_str("no-stream"),
            Self::StreamExists => f.write_str("stream-exists"),
            Self::Exact(version) => version.fmt(f),
        }
    }
}

/// Events for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The stream.
    pub stream: StreamName,
    /// What the writer believes about it.
    pub expected: Expected,
    /// The events, in order; never empty.
    pub events: Vec<NewEvent>,
}

/// Where an appended event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The event.
    pub id: EventId,
    /// Its place in the stream.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
}

/// Why an append did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The stream is not as the writer believed.
    #[error("stream `{stream}` is at version {actual}, expected {expected}: read it again and decide anew")]
    WrongExpectedVersion {
        /// The stream.
        stream: StreamName,
        /// What the writer believed.
        expected: Expected,
        /// The stream's version; 0 without events.
        actual: Version,
    },
    /// The id is in the log with another stream, type, schema version or content.
    #[error("event id {id} is already in the log at position {position} with other content: use a new id")]
    DuplicateEvent {
        /// The id.
        id: EventId,
        /// Where the other event stands.
        position: Position,
    },
    /// There is nothing to append.
    #[error("there is nothing to append: give at least one event for each stream")]
    Empty,
    /// One call carries too many events.
    #[error("{0} events are too many for one append: at most {MAX_APPEND}")]
    TooLarge(usize),
    /// The log could not be written. Nothing was appended, or the answer is unknown; the same ids can be sent again.
    #[error("the log could not be written: {0}")]
    Unavailable(String),
}

impl AppendError {
    /// What becomes of the append.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Unavailable(_) => Fate::Retry,
            _ => Fate::Park,
        }
    }
}

/// Why the log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A position is missing or an event cannot be decoded: the log is damaged, and going on would hide it.
    #[error("the log is damaged at position {position}: {reason}")]
    Corrupt {
        /// Where.
        position: Position,
        /// What is wrong.
        reason: String,
    },
    /// The log could not be reached.
    #[error("the log could not be read: {0}")]
    Unavailable(String),
}

impl LogError {
    /// What becomes of the read.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Corrupt { .. } => Fate::Stop,
            Self::Unavailable(_) => Fate::Retry,
        }
    }
}

/// The order of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// A stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events that fit, in the order of the read.
    pub events: Vec<Event>,
    /// How far the read came, events that do not fit included: where the next read starts.
    pub end: Position,
}

/// Which events of a stream to read: versions `from..=to`, at most `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first version.
    pub from: Version,
    /// The last version.
    pub to: Version,
    /// The order.
    pub direction: Direction,
    /// The most events to return.
    pub limit: usize,
}

impl Default for Range {
    fn default() -> Self {
        Self { from: Version(1), to: Version(u64::MAX), direction: Direction::Forward, limit: usize::MAX }
    }
}

/// The log.
///
/// - An append is atomic, also over several streams, and durable before it is acknowledged.
/// - Positions are dense: 1, 2, 3 … and so are the versions of each stream, in the same order.
/// - A reader that sees a position sees every position below it. A hole is damage and ends the read with an error.
/// - An event id is in the log at most once. An append whose ids are all there with the same content is answered
///   with the original places; with [`Expected::Any`] those that are there keep their places and the rest is appended.
#[async_trait]
pub trait Log: Send + Sync {
    /// Appends all or nothing; the answer has one entry an event, in the order given.
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError>;

    /// Reads forward: events after `after` that fit, at most `limit`, up to the head. A page also ends before it
    /// holds more than a few MiB. `page.end == after` means the head is reached.
    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError>;

    /// Reads backward: events before `before` that fit, newest first, at most `limit`.
    async fn read_backward(&self, before: Position, filter: &Filter, limit: usize) -> Result<Page, LogError>;

    /// Reads a stream.
    async fn read_stream(&self, stream: &StreamName, range: Range) -> Result<Vec<Event>, LogError>;

    /// The version of a stream's last event; 0 without events.
    async fn stream_version(&self, stream: &StreamName) -> Result<Version, LogError>;

    /// The event with this id.
    async fn event(&self, id: EventId) -> Result<Option<Event>, LogError>;

    /// Which log it is: drawn when it is begun, and kept as long as there is anything of it. A copy of a log is the same one.
    fn incarnation(&self) -> Incarnation;

    /// The last acknowledged position, watched. A change is a hint to read; the log is the truth.
    fn head(&self) -> watch::Receiver<Position>;
}
