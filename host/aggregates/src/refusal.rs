//! Why the aggregates did not do what an operator asked.

use lantern_core::{
    Digest, Name, StreamName, Version, guest_threads::Panicked, journal::JournalError, log::LogError,
    module::LibraryError, snapshot::SnapshotError,
};

use crate::CommandError;

/// Why the aggregates did not do what an operator asked. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such aggregate.
    #[error("there is no aggregate `{0}`: `lantern aggregate list` shows what is there")]
    Unknown(Name),
    /// The name is taken.
    #[error("aggregate `{0}` exists: `aggregate swap` changes its module, `aggregate remove` makes room")]
    Exists(Name),
    /// The name is no category of streams.
    #[error("`{0}` is no name for an aggregate: it is the category of its streams, so letters, digits and `_` only")]
    NoCategory(Name),
    /// There is nothing to go back to.
    #[error("aggregate `{0}` has nothing to roll back to: no swap came before")]
    NothingToRollBack(Name),
    /// The aggregate already runs this module.
    #[error("aggregate `{name}` runs module {} already", module.short())]
    SameModule {
        /// The aggregate.
        name: Name,
        /// The module.
        module: Digest,
    },
    /// Another swap, rollback or removal of the aggregate is under way.
    #[error("aggregate `{0}` is busy with another swap: wait for it to end")]
    Busy(Name),
    /// The new module could not fold what the module in charge can.
    #[error("module {} failed its dry run on stream `{stream}`, events {from} to {to}: {reason}", module.short())]
    DryRun {
        /// The module.
        module: Digest,
        /// The stream it failed at.
        stream: StreamName,
        /// The first version it was given.
        from: Version,
        /// The last version it was given.
        to: Version,
        /// The failure.
        reason: String,
    },
    /// The stream has no events.
    #[error("there is no aggregate `{0}`: its stream has no events")]
    NoEvents(StreamName),
    /// The stream does not have this version.
    #[error("stream `{stream}` has no version {asked}: it is at version {actual}")]
    NoVersion {
        /// The stream.
        stream: StreamName,
        /// What was asked for.
        asked: Version,
        /// Its last version.
        actual: Version,
    },
    /// Snapshots are switched off.
    #[error("aggregate `{0}` keeps no snapshots: it was deployed with `never`")]
    NoSnapshots(Name),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The stream could not be loaded.
    #[error(transparent)]
    Load(#[from] Box<CommandError>),
    /// The host itself failed while a guest ran.
    #[error(transparent)]
    Interrupted(#[from] Panicked),
    /// The module library refused or failed.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The storage of snapshots failed.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self::Load(Box::new(error))
    }
}
