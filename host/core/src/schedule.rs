//! Schedules: events that are to be put into the log later. They belong to the generation of the handler that asked.

use std::sync::Arc;

use crate::{NewEvent, StreamName, Timestamp};

/// An event that is to be put into the log later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// What the handler calls it: one schedule a key.
    pub key: Arc<str>,
    /// When.
    pub due: Timestamp,
    /// The stream.
    pub stream: StreamName,
    /// The event, with its final id: emitted twice it is in the log once. Its time is when it was asked for, and is set
    /// anew when it is emitted.
    pub event: NewEvent,
}

/// A change to a handler's schedules, ready to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleChange {
    /// Replaces what is scheduled under the key.
    Set(Box<Scheduled>),
    /// Removes what is scheduled under this key.
    Cancel(Arc<str>),
}
