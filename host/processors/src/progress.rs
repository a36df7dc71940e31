//! How far a run has come, watched by everyone who asks.

use std::sync::Arc;

use lantern_core::{Checkpoint, Digest, Module, Position, State};

use crate::LastError;

/// How far a run has come.
#[derive(Clone)]
pub(crate) struct Progress {
    pub(crate) state: State,
    /// Whether it waits for an operator: an error it cannot mend by itself.
    pub(crate) halted: bool,
    /// The last position fully processed; events that do not fit the filter included.
    pub(crate) position: Position,
    pub(crate) handled: u64,
    pub(crate) failed: u64,
    /// How many events it has put into the log since the host started.
    pub(crate) emitted: u64,
    /// How many messages it has published since the host started.
    pub(crate) published: u64,
    /// How many events are scheduled.
    pub(crate) scheduled: u64,
    pub(crate) parked_events: u64,
    pub(crate) parked_streams: u64,
    pub(crate) last_error: Option<LastError>,
    pub(crate) module: Arc<dyn Module>,
    /// The module a rollback goes back to.
    pub(crate) previous: Option<Digest>,
}

impl Progress {
    /// Of a run that has not begun yet: it stands where the last one ended.
    pub(crate) fn starting(module: Arc<dyn Module>, previous: Option<Digest>, checkpoint: &Checkpoint) -> Self {
        Self {
            state: State::Starting,
            halted: false,
            position: checkpoint.position,
            handled: checkpoint.handled,
            failed: 0,
            emitted: 0,
            published: 0,
            scheduled: 0,
            parked_events: 0,
            parked_streams: 0,
            last_error: None,
            module,
            previous,
        }
    }
}
