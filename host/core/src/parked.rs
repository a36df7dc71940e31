//! Parked events: what a projection could not handle, kept until an operator decides.

use serde::{Deserialize, Serialize};

use crate::{Digest, EventId, EventType, Position, StreamName, Timestamp, module::FailureKind};

/// Why an event stands in the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Handling it failed.
    Failed,
    /// It was not tried, because an earlier event of its stream is parked.
    Behind,
    /// It was passed over, by policy or by an operator. Kept as a record; it holds nothing back.
    Skipped,
}

/// An event in the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Where the event stands in the log.
    pub position: Position,
    /// The event.
    pub event_id: EventId,
    /// Its kind.
    pub event_type: EventType,
    /// Its stream. Later events of the stream are parked too, in order.
    pub stream: StreamName,
    /// Why it is here.
    pub standing: Standing,
    /// What went wrong the last time; `None` for an event that was not tried.
    pub kind: Option<FailureKind>,
    /// The error of the last attempt, or why it was not tried.
    pub error: String,
    /// The guest's call stack at the last failure, where there is one.
    pub backtrace: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// The trace of the last attempt, 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The module that failed last.
    pub module: Digest,
    /// When it was parked.
    pub first_at: Timestamp,
    /// When it was tried last.
    pub last_at: Timestamp,
}
