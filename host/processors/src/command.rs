//! What a run can be told to do; it obeys between two batches.

use std::sync::Arc;

use lantern_core::{Module, Position, StreamName};
use tokio::sync::oneshot;

use crate::{Refusal, Retried};

/// Which parked events to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// Those of one stream.
    Stream(StreamName),
    /// One, which must be the first of its stream.
    Position(Position),
}

/// Where an answer goes. A caller that has gone away is no error.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// Why a module takes over.
pub(crate) enum Reason {
    /// An operator swaps.
    Swap,
    /// An operator or the host goes back; in words.
    RollBack(String),
}

/// What a run can be told to do.
pub(crate) enum Command {
    /// Handle no more events until resumed. The answer is the position reached.
    Pause(Reply<Position>),
    /// Go on after a pause or an error.
    Resume(Reply<()>),
    /// Let another module handle the events after this boundary. The answer is the last position before.
    Swap { module: Arc<dyn Module>, reason: Reason, reply: Reply<Position> },
    /// Try parked events again.
    Retry { selection: Selection, reply: Reply<Retried> },
    /// Pass over a parked event.
    Skip { position: Position, reply: Reply<()> },
    /// Take back what is scheduled under a key.
    CancelSchedule { key: Arc<str>, reply: Reply<()> },
    /// Commit what is in flight and end.
    Stop,
}
