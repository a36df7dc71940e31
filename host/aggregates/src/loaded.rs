//! A loaded aggregate: an instance of a module, and which events are in its state.

use std::sync::Arc;

use lantern_core::{
    AggregateInstance, Event, Snapshot, StreamName, Version,
    module::{Failure, FailureKind},
};

use crate::{
    CommandError,
    aggregate::{Category, Edition},
    counters::Miss,
    crew::Crew,
    means::Means,
};

/// What a state was built on. When it turns out bad, the next one is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// A state that has decided before.
    Decided,
    /// A snapshot.
    Snapshot,
    /// The events alone.
    Events,
}

/// A loaded aggregate. Its instance is used and dropped where blocking is allowed.
pub(crate) struct Loaded {
    pub(crate) edition: Arc<Edition>,
    pub(crate) instance: Box<dyn AggregateInstance>,
    pub(crate) base: Base,
    stream: StreamName,
    /// To be restored before anything else.
    start: Option<Snapshot>,
    /// The last event in the state.
    pub(crate) folded: Version,
    /// In the log, but not in the state yet.
    pub(crate) pending: Vec<Event>,
    /// The last event in the last snapshot that was taken or used.
    pub(crate) snapshot_at: Version,
    pub(crate) charge: Charge,
}

/// A state that could not be brought up to date. It is gone.
#[derive(Debug)]
pub(crate) struct Unfolded {
    failure: Failure,
    base: Base,
    miss: Miss,
}

impl Loaded {
    /// An aggregate without events, or one that begins with a snapshot.
    pub(crate) fn new(edition: &Arc<Edition>, stream: &StreamName, start: Option<Snapshot>) -> Self {
        let folded = start.as_ref().map_or(Version::NONE, |snapshot| snapshot.version);
        Self {
            edition: edition.clone(),
            instance: edition.module.instance(stream),
            base: if start.is_some() { Base::Snapshot } else { Base::Events },
            stream: stream.clone(),
            start,
            folded,
            pending: Vec::new(),
            snapshot_at: folded,
            charge: Charge::new(edition),
        }
    }

    pub(crate) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Whether it was loaded by this edition.
    pub(crate) fn is_of(&self, edition: &Arc<Edition>) -> bool {
        Arc::ptr_eq(&self.edition, edition)
    }

    /// The version of its stream, as far as it is known here.
    pub(crate) fn version(&self) -> Version {
        self.pending.last().map_or(self.folded, |event| event.version)
    }

    /// The version of a snapshot of which nobody has seen yet whether it fits the stream.
    pub(crate) fn unchecked(&self) -> Option<Version> {
        self.start.as_ref().filter(|_| self.pending.is_empty()).map(|snapshot| snapshot.version)
    }

    /// Takes events that follow on its version. They are folded before the next decision.
    pub(crate) fn follow(&mut self, events: Vec<Event>) {
        if self.pending.is_empty() {
            self.pending = events;
        } else {
            self.pending.extend(events);
        }
    }

    /// Brings the state up to date. On a guest thread.
    pub(crate) fn fold(mut self) -> Result<Self, Unfolded> {
        match self.fold_pending() {
            Ok(()) => Ok(self),
            Err((failure, miss)) => Err(Unfolded { failure, base: self.base, miss }),
        }
    }

    /// Gives it up: its events could not be folded.
    pub(crate) fn unfolded(self, failure: Failure) -> Unfolded {
        Unfolded { failure, base: self.base, miss: Miss::RestoreFailed }
    }

    /// Drops it, where blocking is allowed.
    pub(crate) fn dismiss(mut self, crew: &Crew) {
        self.charge.clear();
        crew.dismiss(self);
    }

    fn fold_pending(&mut self) -> Result<(), (Failure, Miss)> {
        if let Some(snapshot) = self.start.take() {
            self.instance.restore(&snapshot.state).map_err(unusable)?;
            self.edition.category.tallies.hits.one();
        }
        let pending = std::mem::take(&mut self.pending);
        if let Some(last) = pending.last() {
            let result = self.edition.evolve(&mut *self.instance, &pending);
            result.map_err(|failure| (failure, Miss::RestoreFailed))?;
            self.folded = last.version;
        }
        self.charge.set(self.instance.memory());
        Ok(())
    }
}

/// A snapshot the module cannot read is its own answer; anything else is a failure.
fn unusable(failure: Failure) -> (Failure, Miss) {
    let miss = match failure.kind {
        FailureKind::Permanent | FailureKind::Transient => Miss::Deserialization,
        FailureKind::Trap | FailureKind::Deadline | FailureKind::Limit | FailureKind::Host => Miss::RestoreFailed,
    };
    (failure, miss)
}

impl Unfolded {
    /// A snapshot of a version the stream does not have.
    pub(crate) fn stale() -> Self {
        let failure = Failure::new(FailureKind::Host, "the snapshot does not fit the stream");
        Self { failure, base: Base::Snapshot, miss: Miss::Stale }
    }

    /// What to build on instead; an error when nothing is left.
    pub(crate) fn fall_back(self, edition: &Edition, stream: &StreamName) -> Result<Base, CommandError> {
        match self.base {
            Base::Decided => {
                tracing::warn!(%stream, "a loaded aggregate is loaded anew: {}", self.failure);
                Ok(Base::Snapshot)
            }
            Base::Snapshot => {
                tracing::warn!(%stream, "a snapshot is not used: {}", self.failure);
                edition.category.tallies.miss(self.miss);
                Ok(Base::Events)
            }
            Base::Events => {
                let (stream, module) = (stream.clone(), edition.module.digest());
                Err(CommandError::Failed { stream, module, failure: self.failure })
            }
        }
    }
}

/// What a loaded aggregate adds to the memory that is in use, until it is dropped.
pub(crate) struct Charge {
    category: Arc<Category>,
    means: Arc<Means>,
    bytes: u64,
    is_counted: bool,
}

impl Charge {
    fn new(edition: &Edition) -> Self {
        let (category, means) = (edition.category.clone(), edition.means.clone());
        category.tallies.loaded.one();
        Self { category, means, bytes: 0, is_counted: true }
    }

    pub(crate) fn set(&mut self, bytes: u64) {
        for tally in [&self.category.tallies.bytes, &self.means.bytes] {
            if bytes >= self.bytes {
                tally.add(bytes - self.bytes);
            } else {
                tally.sub(self.bytes - bytes);
            }
        }
        self.bytes = bytes;
    }

    /// It is about to be dropped: it counts no more.
    pub(crate) fn clear(&mut self) {
        self.set(0);
        if std::mem::take(&mut self.is_counted) {
            self.category.tallies.loaded.sub(1);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.clear();
    }
}
