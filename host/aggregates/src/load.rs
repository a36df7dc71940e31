//! Loading: an aggregate is brought to the version of its stream, from a snapshot where one can be used.

use std::sync::Arc;

use lantern_core::{
    Snapshot, StreamName, Version,
    guest_threads::Panicked,
    journal::SnapshotPolicy,
    log::{LogError, Range},
};

use crate::{
    CommandError,
    aggregate::Edition,
    counters::Miss,
    crew::Crew,
    loaded::{Base, Loaded, Unfolded},
};

/// How many events are read and folded at once.
const PAGE: usize = 1_000;

/// What loads a stream.
pub(crate) struct Loader<'a> {
    pub(crate) crew: &'a Crew,
    pub(crate) edition: &'a Arc<Edition>,
    pub(crate) stream: &'a StreamName,
}

/// Why an aggregate is not up to date.
pub(crate) enum Setback {
    /// Its state could not be used: it is to be loaded anew.
    Unfolded(Unfolded),
    /// Loading it anew would not help.
    Error(CommandError),
}

impl Loader<'_> {
    /// Loads the aggregate. The last events wait to be folded with the first decision.
    pub(crate) async fn load(&self, base: Base) -> Result<Loaded, Setback> {
        let tallies = &self.edition.category.tallies;
        if base == Base::Events || self.edition.policy == SnapshotPolicy::Never {
            return self.catch_up(Loaded::new(self.edition, self.stream, None)).await;
        }
        match self.snapshot().await {
            Ok(snapshot) => self.catch_up(Loaded::new(self.edition, self.stream, Some(snapshot))).await,
            Err(miss) => {
                let loaded = self.catch_up(Loaded::new(self.edition, self.stream, None)).await?;
                // A stream without events misses nothing.
                if miss != Miss::Missing || loaded.version() > Version::NONE {
                    tallies.miss(miss);
                }
                Ok(loaded)
            }
        }
    }

    /// Reads what was appended to the stream since, by whomever.
    pub(crate) async fn catch_up(&self, mut loaded: Loaded) -> Result<Loaded, Setback> {
        let mut unchecked = loaded.unchecked();
        loop {
            let from = unchecked.unwrap_or_else(|| loaded.version().next());
            let range = Range { from, limit: PAGE, ..Range::default() };
            let mut events = self.edition.means.ports.log.read_stream(self.stream, range).await?;
            let is_last = events.len() < PAGE;
            if let Some(version) = unchecked.take() {
                // The last event in the snapshot must be there: its stream may belong to another log.
                if events.first().is_none_or(|event| event.version != version) {
                    return Err(Unfolded::stale().into());
                }
                events.remove(0);
            }
            loaded.follow(events);
            if is_last {
                return Ok(loaded);
            }
            loaded = self.crew.run(move || loaded.fold()).await??;
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, Miss> {
        let snapshot = match self.edition.means.ports.snapshots.get(self.stream).await {
            Ok(snapshot) => snapshot.ok_or(Miss::Missing)?,
            Err(error) => {
                tracing::warn!(stream = %self.stream, "{error}");
                return Err(Miss::StoreError);
            }
        };
        if snapshot.state_version != self.edition.module.description().state_version {
            return Err(Miss::SchemaMismatch);
        }
        // A snapshot without events says nothing, and there is no event it could be checked against.
        if snapshot.version == Version::NONE { Err(Miss::Missing) } else { Ok(snapshot) }
    }
}

impl From<Unfolded> for Setback {
    fn from(unfolded: Unfolded) -> Self {
        Self::Unfolded(unfolded)
    }
}

impl From<CommandError> for Setback {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

impl From<LogError> for Setback {
    fn from(error: LogError) -> Self {
        Self::Error(error.into())
    }
}

impl From<Panicked> for Setback {
    fn from(error: Panicked) -> Self {
        Self::Error(error.into())
    }
}
