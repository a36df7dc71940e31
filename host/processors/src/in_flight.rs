//! What is being written while the next batch is handled: what was emitted goes into the log first, what was published to
//! the buses next, then the batch is committed. Should the host die in between, the batch is handled again: the log knows
//! its events already, and its messages go out again with the ids they had.

use std::sync::Arc;

use lantern_core::{
    Batch, BusError, Digest, Documents, Fate, Lease, Log, Module, Position, ReadModel,
    log::{AppendError, LogError},
    read_model::CommitError,
};
use tokio::task::{JoinError, JoinHandle};

use crate::{
    emission::{Outbound, emit},
    generation::event_at,
    messages::{self, Buses},
    tenure::Tenure,
    timers,
};

/// A commit under way.
pub(crate) struct InFlight {
    /// Answers how many events were emitted.
    pub(crate) task: JoinHandle<Result<u64, Unwritten>>,
    pub(crate) until: Position,
    pub(crate) handled: u64,
    /// How many messages it publishes.
    pub(crate) published: u64,
    pub(crate) documents: Arc<Documents>,
    pub(crate) parked_events: u64,
    pub(crate) parked_streams: u64,
    /// The change of modules it records, if it does.
    pub(crate) takeover: Option<Takeover>,
}

/// What a change of modules that is not committed yet goes back to when the commit fails.
pub(crate) struct Takeover {
    pub(crate) module: Arc<dyn Module>,
    pub(crate) previous: Option<Arc<dyn Module>>,
    /// The module before, as it is shown.
    pub(crate) shown: Option<Digest>,
}

/// Why a batch was not written. Its checkpoint has not moved as far as anyone knows; what it emitted may be in the log, and
/// what it published on the buses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwritten {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Publish(#[from] BusError),
    #[error(transparent)]
    Proof(#[from] LogError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the time of the lease is over: another host may have it")]
    Over,
}

impl Unwritten {
    /// Whether somebody else owns the generation.
    pub(crate) fn is_fenced(&self) -> bool {
        match self {
            Self::Append(_) | Self::Publish(_) | Self::Proof(_) => false,
            Self::Commit(error) => error.fate() == Fate::Stop,
            Self::Over => true,
        }
    }
}

/// A batch and where it goes.
pub(crate) struct Writing {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) buses: Arc<Buses>,
    pub(crate) read_model: Arc<dyn ReadModel>,
    pub(crate) timers: Option<Arc<timers::Shared>>,
    pub(crate) lease: Lease,
    pub(crate) tenure: Tenure,
    pub(crate) batch: Batch,
    pub(crate) outbound: Outbound,
}

impl Writing {
    /// Appends, publishes, then commits. Says how many events were emitted.
    pub(crate) async fn write(mut self) -> Result<u64, Unwritten> {
        // The commit is fenced by itself, what goes out is not.
        if !self.tenure.holds() {
            return Err(Unwritten::Over);
        }
        let emitted = emit(&*self.log, &self.outbound.emitted).await?;
        messages::publish(&self.buses, &self.outbound.posts, self.batch.trace.as_ref()).await?;
        if self.batch.last_event.is_none() && self.batch.until > self.batch.from {
            self.batch.last_event = event_at(&*self.log, self.batch.until).await?;
        }
        match &self.timers {
            Some(timers) if !self.batch.schedules.is_empty() => timers.commit(&self.batch).await?,
            _ => self.read_model.commit(self.lease, &self.batch).await?,
        }
        Ok(emitted)
    }
}

/// Waits for the commit under way, if there is one, and takes it out.
pub(crate) async fn committed(in_flight: &mut Option<InFlight>) -> (InFlight, Result<u64, Unwritten>) {
    let result = match in_flight.as_mut() {
        Some(commit) => (&mut commit.task).await,
        None => std::future::pending().await,
    };
    match in_flight.take() {
        Some(commit) => (commit, ended(result)),
        None => std::future::pending().await,
    }
}

/// How the task of a commit ended.
pub(crate) fn ended(result: Result<Result<u64, Unwritten>, JoinError>) -> Result<u64, Unwritten> {
    result.unwrap_or_else(|_| Err(CommitError::Unavailable("the commit panicked".into()).into()))
}
