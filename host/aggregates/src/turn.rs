//! One turn of an aggregate on a guest thread: what is new is folded, a command is decided, a snapshot is taken if due.

use lantern_core::{
    Command, Decision, Snapshot, TraceContext, Version, aggregate::Decide, journal::SnapshotPolicy, module::Failure,
};

use crate::loaded::{Base, Loaded, Unfolded};

/// Why there is no decision. The instance is gone.
pub(crate) enum Undecided {
    /// The state could not be brought up to date.
    Unfolded(Unfolded),
    /// The decision failed.
    Failed(Failure),
}

/// What the module decided.
pub(crate) struct Decided {
    /// The aggregate; gone if it failed when its snapshot was taken.
    pub(crate) loaded: Option<Loaded>,
    /// The version of the stream the decision is about.
    pub(crate) version: Version,
    pub(crate) decision: Decision,
    /// The span of the decision.
    pub(crate) trace: Option<TraceContext>,
}

impl Loaded {
    /// Folds what is new and decides. On a guest thread.
    pub(crate) fn decide(self, command: &Command, attempt: u32) -> Result<Decided, Undecided> {
        let mut loaded = self.fold().map_err(Undecided::Unfolded)?;
        let decided = loaded.instance.decide(&Decide { command, attempt, trace: None });
        let decision = decided.result.map_err(Undecided::Failed)?;
        loaded.base = Base::Decided;
        let version = loaded.folded;
        Ok(Decided { loaded: loaded.keep_snapshot(), version, decision, trace: decided.trace })
    }

    /// Hands a snapshot to the archive if one is due. None if the instance failed on the way.
    fn keep_snapshot(mut self) -> Option<Self> {
        let is_due = match self.edition.policy {
            SnapshotPolicy::Every(events) => self.folded.0 / events > self.snapshot_at.0 / events,
            SnapshotPolicy::Never | SnapshotPolicy::Manual => false,
        };
        if is_due {
            self.snapshot_at = self.folded;
            let edition = self.edition.clone();
            let Some(room) = edition.means.archive.room() else {
                edition.category.tallies.dropped.one();
                return Some(self);
            };
            match self.snapshot() {
                Ok(snapshot) => room.keep(snapshot, edition.category.clone()),
                Err(failure) => {
                    edition.category.tallies.unwritten.one();
                    tracing::warn!(stream = %self.stream(), "a snapshot could not be taken: {failure}");
                    return None;
                }
            }
        }
        self.charge.set(self.instance.memory());
        Some(self)
    }

    /// The state as a snapshot. On a guest thread.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, Failure> {
        let module = &self.edition.module;
        Ok(Snapshot {
            stream: self.stream().clone(),
            version: self.folded,
            state: self.instance.snapshot()?,
            state_version: module.description().state_version,
            module: module.digest(),
            taken_at: self.edition.means.ports.clock.now(),
        })
    }
}
