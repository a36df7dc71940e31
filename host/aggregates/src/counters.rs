//! What an aggregate counts while it works, and what of it is told.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::CommandError;

/// What an aggregate has counted since the host started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Streams that are loaded now.
    pub loaded: u64,
    /// The memory they hold, in bytes.
    pub loaded_bytes: u64,
    /// Commands by what became of them.
    pub commands: Commands,
    /// Decisions taken anew because the stream had changed meanwhile.
    pub conflicts_retried: u64,
    /// Snapshots.
    pub snapshots: SnapshotCounts,
}

/// Commands by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Commands {
    /// Decided and appended, or nothing was to happen.
    pub accepted: u64,
    /// Rejected by the module.
    pub rejected: u64,
    /// Given up, because the stream was not as expected or changed again and again.
    pub conflict: u64,
    /// Failed: the guest, the log or the host.
    pub failed: u64,
    /// Sent before; the first answer was given.
    pub repeated: u64,
    /// Refused because too many were waiting.
    pub busy: u64,
}

/// What became of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotCounts {
    /// Loads that began with a snapshot.
    pub hits: u64,
    /// Loads that could not.
    pub misses: Misses,
    /// Snapshots kept.
    pub written: u64,
    /// Snapshots that were due but dropped, because too many waited to be written.
    pub dropped: u64,
    /// Snapshots that could not be taken or written.
    pub failed: u64,
}

/// Why snapshots were not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Misses {
    /// There was none, but there were events.
    pub missing: u64,
    /// It was of another form of the state.
    pub schema_mismatch: u64,
    /// It was of a version the stream does not have.
    pub stale: u64,
    /// The storage failed.
    pub store_error: u64,
    /// The module did not understand it.
    pub deserialization_error: u64,
    /// The module failed with it.
    pub state_restore_failed: u64,
}

impl Misses {
    /// The counts under the names of their reasons, as in metrics.
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 6] {
        [
            ("missing", self.missing),
            ("schema_mismatch", self.schema_mismatch),
            ("stale", self.stale),
            ("store_error", self.store_error),
            ("deserialization_error", self.deserialization_error),
            ("state_restore_failed", self.state_restore_failed),
        ]
    }
}

impl Commands {
    /// The counts under the names of what became of the commands, as in metrics.
    #[must_use]
    pub fn by_outcome(&self) -> [(&'static str, u64); 6] {
        [
            ("accepted", self.accepted),
            ("rejected", self.rejected),
            ("conflict", self.conflict),
            ("failed", self.failed),
            ("repeated", self.repeated),
            ("busy", self.busy),
        ]
    }
}

/// A number that many count up at once.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a snapshot was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    Missing,
    SchemaMismatch,
    Stale,
    StoreError,
    Deserialization,
    RestoreFailed,
}

/// The counters of one aggregate while they count.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) loaded: Tally,
    pub(crate) bytes: Tally,
    pub(crate) retried: Tally,
    pub(crate) hits: Tally,
    pub(crate) written: Tally,
    pub(crate) dropped: Tally,
    pub(crate) unwritten: Tally,
    accepted: Tally,
    rejected: Tally,
    conflict: Tally,
    failed: Tally,
    repeated: Tally,
    busy: Tally,
    misses: [Tally; 6],
}

impl Tallies {
    pub(crate) fn miss(&self, reason: Miss) {
        self.misses[reason as usize].one();
    }

    /// Counts how a command ended; `Ok` says whether it had been sent before.
    pub(crate) fn command(&self, ending: Result<bool, &CommandError>) {
        let tally = match ending {
            Ok(false) => &self.accepted,
            Ok(true) => &self.repeated,
            Err(CommandError::Rejected(_)) => &self.rejected,
            Err(CommandError::NotExpected { .. } | CommandError::Contended { .. }) => &self.conflict,
            Err(CommandError::Busy(_)) => &self.busy,
            Err(_) => &self.failed,
        };
        tally.one();
    }

    pub(crate) fn read(&self) -> Counters {
        let miss = |reason: Miss| self.misses[reason as usize].get();
        Counters {
            loaded: self.loaded.get(),
            loaded_bytes: self.bytes.get(),
            commands: Commands {
                accepted: self.accepted.get(),
                rejected: self.rejected.get(),
                conflict: self.conflict.get(),
                failed: self.failed.get(),
                repeated: self.repeated.get(),
                busy: self.busy.get(),
            },
            conflicts_retried: self.retried.get(),
            snapshots: SnapshotCounts {
                hits: self.hits.get(),
                misses: Misses {
                    missing: miss(Miss::Missing),
                    schema_mismatch: miss(Miss::SchemaMismatch),
                    stale: miss(Miss::Stale),
                    store_error: miss(Miss::StoreError),
                    deserialization_error: miss(Miss::Deserialization),
                    state_restore_failed: miss(Miss::RestoreFailed),
                },
                written: self.written.get(),
                dropped: self.dropped.get(),
                failed: self.unwritten.get(),
            },
        }
    }
}
