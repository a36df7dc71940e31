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
    ///
    /// A state that has decided before takes both in one call of the module. When that fails it may be the events' fault or
    /// the command's, so the aggregate is loaded anew; a state that was just loaded folds on its own, and it is known.
    pub(crate) fn decide(self, command: &Command, attempt: u32) -> Result<Decided, Undecided> {
        let mut loaded = if self.base == Base::Decided { self } else { self.fold().map_err(Undecided::Unfolded)? };
        let (edition, pending) = (loaded.edition.clone(), std::mem::take(&mut loaded.pending));
        let news = match edition.upcast(&pending) {
            Ok(news) => news,
            Err(failure) => return Err(Undecided::Unfolded(loaded.unfolded(failure))),
        };
        let decided = loaded.instance.decide(&Decide { news: &news, command, attempt, trace: None });
        let decision = match decided.result {
            Ok(decision) => decision,
            Err(failure) if decided.is_folded => return Err(Undecided::Failed(failure)),
            Err(failure) => return Err(Undecided::Unfolded(loaded.unfolded(failure))),
        };
        loaded.folded = pending.last().map_or(loaded.folded, |event| event.version);
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
