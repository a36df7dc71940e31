//! The port of read models: one generation's documents, checkpoint and parked events, changed together or not at all.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Batch, Digest, Document, EventId, Fate, Incarnation, Migration, Name, Parked, Position, Scheduled, SqlError,
    SqlValue, StreamName, Tables, TablesError, Value,
    documents::Scan,
    sql::{Budget, Rows},
};

/// One build of one processor's read model, with storage of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// The processor.
    pub processor: Name,
    /// 1, 2, 3 … in the order they were begun.
    pub number: u32,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.processor, self.number)
    }
}

/// How far a generation has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last position fully processed, filtered events included.
    pub position: Position,
    /// The event at that position, as proof that the log is still the same; `None` before the first commit.
    pub event_id: Option<EventId>,
    /// The incarnation of the log it was processed from; `None` before the first commit that moved it, or without a log.
    pub incarnation: Option<Incarnation>,
    /// Who owns the generation: grows with every take-over.
    pub epoch: u64,
    /// The module that processed the last batch.
    pub module: Digest,
    /// How many events were handled since the generation began.
    pub handled: u64,
}

/// The right to commit to a generation, until the next owner takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The epoch of this owner.
    pub epoch: u64,
}

/// Why a read model could not be read or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadModelError {
    /// There is no such generation.
    #[error("there is no read model {0}")]
    Unknown(Generation),
    /// The storage failed.
    #[error("the read model failed: {0}")]
    Unavailable(String),
}

/// Why a batch was not committed. Nothing of it took effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The checkpoint is not where the batch began, or another owner has taken the generation.
    #[error("the read model has another owner: the checkpoint is not at {expected} in epoch {epoch} any more")]
    Fenced {
        /// Where the batch began.
        expected: Position,
        /// The epoch of the lease.
        epoch: u64,
    },
    /// The storage failed.
    #[error("the read model could not be written: {0}")]
    Unavailable(String),
}

impl CommitError {
    /// What becomes of the batch.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Fenced { .. } => Fate::Stop,
            Self::Unavailable(_) => Fate::Retry,
        }
    }
}

/// What a module may see of a read model during a call. Called on threads where blocking is allowed.
pub trait View: Send + Sync {
    /// The document at a key.
    fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError>;

    /// Documents in ascending order of the bytes of their keys.
    fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError>;

    /// The SQL tables; `None` unless the module imports `sql`.
    fn tables(&self) -> Option<Arc<dyn Tables>> {
        None
    }
}

/// What a store says that keeps no SQL tables.
const NO_TABLES: &str = "this store keeps no SQL tables";

/// The read model of one generation.
///
/// - `commit` applies the whole batch and moves the checkpoint in one transaction, or does nothing. A batch that has
///   tables takes effect in their transaction.
/// - The fence: a commit takes effect only while the checkpoint stands where the batch began and the epoch is the
///   lease's. So a batch is applied at most once and a stale owner changes nothing.
#[async_trait]
pub trait ReadModel: Send + Sync {
    /// Takes the generation over: raises the epoch, so that every earlier lease is worthless.
    async fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError>;

    /// Commits a batch.
    async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError>;

    /// What is committed, for the guest's reads. Only the owner of the lease uses it: it may cache, and a commit
    /// keeps the cache true.
    fn view(&self) -> Arc<dyn View>;

    /// How far the generation has come.
    async fn checkpoint(&self) -> Result<Checkpoint, ReadModelError>;

    /// The committed document at a key.
    async fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError>;

    /// Committed documents in ascending order of the bytes of their keys.
    async fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError>;

    /// Opens a transaction for the SQL tables of a module, and runs in it those of its migrations that were not run in this
    /// generation. One is open at a time: this waits until the one before is dropped. It is committed with a batch, or
    /// not at all. A store that keeps no tables says so.
    async fn tables(&self, migrations: &[Migration]) -> Result<Arc<dyn Tables>, TablesError> {
        let _ = migrations;
        Err(ReadModelError::Unavailable(NO_TABLES.into()).into())
    }

    /// Answers a query of an operator from what is committed: one statement that reads the tables of the module, or the
    /// view `lantern_documents` with the columns `collection`, `key` and `value`.
    async fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        let _ = (statement, parameters, budget);
        Err(SqlError::Unavailable(NO_TABLES.into()))
    }

    /// The digest of all documents and SQL tables and the position it belongs to, both of one moment.
    async fn digest(&self) -> Result<(Position, Digest), ReadModelError>;

    /// Events in the dead letters after a position, in order, at most `limit`; records of skipped ones included.
    async fn parked(&self, after: Position, limit: usize) -> Result<Vec<Parked>, ReadModelError>;

    /// One event in the dead letters.
    async fn parked_at(&self, position: Position) -> Result<Option<Parked>, ReadModelError>;

    /// What is scheduled, the first due first; of the same moment in order of the keys.
    async fn scheduled(&self) -> Result<Vec<Scheduled>, ReadModelError>;

    /// Removes schedules whose events were emitted: those with these event ids that are still there. Fenced by the epoch
    /// of the lease alone, since it moves no checkpoint.
    async fn fired(&self, lease: Lease, events: &[EventId]) -> Result<(), CommitError>;

    /// The streams that are held back, and how many of their events are parked.
    async fn held_streams(&self) -> Result<Vec<(StreamName, u64)>, ReadModelError>;
}

/// The storage of all read models.
#[async_trait]
pub trait ReadModels: Send + Sync {
    /// Begins a generation at a position with a module. One that is there already is opened as it is.
    async fn create(
        &self,
        generation: &Generation,
        start: Position,
        module: Digest,
    ) -> Result<Arc<dyn ReadModel>, ReadModelError>;

    /// Opens a generation.
    async fn open(&self, generation: &Generation) -> Result<Arc<dyn ReadModel>, ReadModelError>;

    /// Removes a generation and all it holds. One that is not there is no error.
    async fn remove(&self, generation: &Generation) -> Result<(), ReadModelError>;
}
