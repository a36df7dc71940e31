//! Why the supervisor did not do what was asked.

use lantern_core::{
    Digest, Position, Name, State, StreamName, journal::JournalError, log::LogError, module::LibraryError,
    read_model::ReadModelError,
};

/// Why the supervisor did not do what was asked. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such projection.
    #[error("there is no projection `{0}`: `lantern projection list` shows what is there")]
    Unknown(Name),
    /// The name is taken.
    #[error("projection `{0}` exists: `projection swap` changes its module, `projection remove` makes room")]
    Exists(Name),
    /// The projection is in a state in which this cannot be done.
    #[error("projection `{name}` is {}: {mend}", state.as_str())]
    State {
        /// The projection.
        name: Name,
        /// Its state.
        state: State,
        /// What to do about it.
        mend: &'static str,
    },
    /// There is nothing to go back to.
    #[error("projection `{0}` has nothing to roll back to: no swap or rebuild came before")]
    NothingToRollBack(Name),
    /// The projection already runs this module.
    #[error("projection `{name}` runs module {} already", module.short())]
    SameModule {
        /// The projection.
        name: Name,
        /// The module.
        module: Digest,
    },
    /// Another swap, rollback or rebuild of the projection is under way.
    #[error("projection `{0}` is busy with another swap or rebuild: wait for it to end")]
    Busy(Name),
    /// The new module failed its dry run.
    #[error("module {} failed its dry run at position {position} ({event_type}): {reason}", module.short())]
    DryRun {
        /// The module.
        module: Digest,
        /// The event it failed at.
        position: Position,
        /// The kind of that event.
        event_type: String,
        /// The failure.
        reason: String,
    },
    /// The collection is not one of the module's.
    #[error("projection `{name}` has no collection `{collection}`: it has {}", known.join(", "))]
    UnknownCollection {
        /// The projection.
        name: Name,
        /// What was asked for.
        collection: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No event is parked there.
    #[error("projection `{name}` has no parked event at position {position}")]
    NotParked {
        /// The projection.
        name: Name,
        /// Where.
        position: Position,
    },
    /// No event of the stream is parked.
    #[error("projection `{name}` has no parked event of stream `{stream}`")]
    StreamNotParked {
        /// The projection.
        name: Name,
        /// The stream.
        stream: StreamName,
    },
    /// An earlier event of the stream must be dealt with first.
    #[error("the event at {position} waits behind the one at {first}: retry or skip that one first")]
    NotFirst {
        /// The event asked for.
        position: Position,
        /// The first parked event of its stream.
        first: Position,
    },
    /// The projection met trouble before it could do it.
    #[error("the projection met trouble meanwhile: look at its status, then try again")]
    Interrupted,
    /// The host could not start threads for guests.
    #[error("guest threads could not be started: {0}")]
    Threads(String),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The module library refused or failed.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The read model failed.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
