//! What a guest says while it works: its spans and log lines, handed out with the outcome of the call.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What a guest said during one call. Bounded by the module's limits; what went over is counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Witness {
    /// Spans the guest finished.
    pub spans: Vec<GuestSpan>,
    /// Lines the guest logged.
    pub logs: Vec<GuestLog>,
    /// Spans that went over the limit.
    pub dropped_spans: u64,
    /// Lines that went over the limit.
    pub dropped_logs: u64,
    /// SQL statements it ran.
    pub statements: u32,
    /// How long these took together.
    pub statement_time: Duration,
}

/// The role of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanKind {
    /// An operation inside a component.
    #[default]
    Internal,
    /// An outgoing request.
    Client,
    /// An incoming request.
    Server,
    /// A message sent.
    Producer,
    /// A message received.
    Consumer,
}

/// How the work of a span ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// Not said.
    #[default]
    Unset,
    /// Well.
    Ok,
    /// With this error.
    Error(String),
}

/// A name and its value, which is JSON text.
pub type Attribute = (String, String);

/// A span of the guest. Its times are the host's, since a projection's clock stands still during a call.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestSpan {
    /// The trace.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
    /// The span around it; 0 for a root.
    pub parent_span_id: u64,
    /// Its role.
    pub kind: SpanKind,
    /// Its name.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How it ended.
    pub status: SpanStatus,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// What happened during it: name, time, attributes.
    pub events: Vec<(String, Timestamp, Vec<Attribute>)>,
    /// Spans it is related to: trace id, span id, attributes.
    pub links: Vec<(u128, u64, Vec<Attribute>)>,
    /// The library that made it.
    pub scope: String,
}

/// How severe a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The finest detail.
    Trace,
    /// For finding faults.
    Debug,
    /// For knowing what happens.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
    /// Something failed that stops the module's work.
    Critical,
}

/// A log line of the guest.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestLog {
    /// When it was written, by the host's clock.
    pub at: Timestamp,
    /// How severe it is.
    pub level: Level,
    /// Which part of the guest speaks.
    pub context: String,
    /// The line.
    pub message: String,
    /// The innermost span of the guest that was open; `None` for the handle span itself.
    pub span_id: Option<u64>,
    /// Details.
    pub attributes: Vec<Attribute>,
}
