//! The storage of one generation: its schema, what its owner remembers, and the ways to ask it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lantern_core::{
    Batch, Checkpoint, Document, EventId, Generation, Lease, Migration, Position, SqlError, SqlValue, Tables,
    TablesError, Value, View,
    documents::Scan,
    read_model::{CommitError, ReadModelError},
    sql::{Budget, Rows},
};
use sqlx::{PgConnection, PgPool};
use tokio::{sync::Mutex, time};
use uuid::Uuid;

use super::{
    Database,
    commit::{self, Ended, Memory},
    connection::describe,
    documents,
    generation::{Found, Schema},
    lines::Lines,
    tables::Kept,
    view::GuestView,
    work,
};

/// How long an answer is waited for, and the digest of all documents.
const PATIENCE: Duration = Duration::from_secs(30);
const LONG_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// The storage of one generation.
pub(super) struct Storage {
    generation: Generation,
    schema: Schema,
    identity: Uuid,
    database: Database,
    lines: Arc<Lines>,
    view: GuestView,
    /// Commits follow one another.
    memory: Mutex<Memory>,
    /// For the transactions of SQL tables, which last: they must not take the connections of all others.
    transactions: PgPool,
    tables: Kept,
    used: AtomicBool,
    removed: AtomicBool,
}

impl Storage {
    /// The storage of a generation whose tables are there.
    pub(super) fn new(
        generation: Generation,
        schema: Schema,
        identity: Uuid,
        database: Database,
        (lines, transactions): (Arc<Lines>, PgPool),
    ) -> Self {
        Self {
            generation,
            schema,
            identity,
            database,
            lines,
            view: GuestView::default(),
            memory: Mutex::default(),
            transactions,
            tables: Kept::default(),
            used: AtomicBool::new(true),
            removed: AtomicBool::new(false),
        }
    }

    /// Whether it is the storage of this build of the generation.
    pub(super) fn is_of(&self, found: &Found) -> bool {
        self.identity == found.identity
    }

    /// Takes the generation over.
    pub(super) async fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError> {
        // What the owner before has not committed is not to be.
        self.tables.give_up().await;
        let mut memory = self.memory.lock().await;
        let take = async |connection: &mut PgConnection, schema: &Schema| {
            commit::end_abandoned(connection, schema).await?;
            commit::take(connection, schema, self.identity).await
        };
        let taken = self.ask(take).await?;
        let checkpoint = taken.ok_or_else(|| self.unknown())?;
        // The owner before may have left changes behind whose fate it did not learn.
        *memory = Memory::at(&checkpoint);
        self.view.close();
        Ok((Lease { epoch: checkpoint.epoch }, checkpoint))
    }

    /// Commits a batch.
    pub(super) async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        if let Some(tables) = &batch.tables {
            return self.commit_tables(lease, batch, tables.id()).await;
        }
        let fenced = CommitError::Fenced { expected: batch.from, epoch: lease.epoch };
        let _turn = self.tables.turn().await;
        let mut memory = self.memory.lock().await;
        let commit = async |connection: &mut PgConnection, schema: &Schema| {
            commit::commit(connection, schema, self.identity, &mut memory, lease, batch).await
        };
        match self.ask(commit).await {
            Ok(Ended::Committed) => {
                self.view.refresh(&batch.documents);
                Ok(())
            }
            Ok(Ended::WentBack(position)) => Err(CommitError::Unavailable(format!(
                "the server has lost commits in a crash: the checkpoint is at {position}, it was at {}",
                batch.from
            ))),
            Ok(Ended::Fenced) | Err(ReadModelError::Unknown(_)) => Err(fenced),
            Err(ReadModelError::Unavailable(reason)) => Err(CommitError::Unavailable(reason)),
        }
    }

    /// Commits a batch in the transaction of its tables.
    async fn commit_tables(&self, lease: Lease, batch: &Batch, id: u64) -> Result<(), CommitError> {
        let fenced = CommitError::Fenced { expected: batch.from, epoch: lease.epoch };
        let unavailable = |reason: String| CommitError::Unavailable(format!("{}: {reason}", self.generation));
        let Some(mut work) = self.tables.take(id).await else {
            let checkpoint = self.checkpoint().await.map_err(|error| unavailable(error.to_string()))?;
            let fits = checkpoint.position == batch.from && checkpoint.epoch == lease.epoch;
            return Err(if fits { unavailable("the transaction of its tables was lost".into()) } else { fenced });
        };
        let mut memory = self.memory.lock().await;
        let connection = work.as_host().await.map_err(|error| unavailable(error.to_string()))?;
        let ended = commit::commit(connection, &self.schema, self.identity, &mut memory, lease, batch).await;
        let ended = match ended {
            Ok(Ended::Committed) => work.commit().await.map(Ok),
            Ok(other) => Ok(Err(other)),
            Err(error) => Err(error),
        };
        match ended {
            Ok(Ok(ran)) => {
                self.tables.committed(ran);
                self.view.refresh(&batch.documents);
                Ok(())
            }
            Ok(Err(Ended::WentBack(position))) => Err(unavailable(format!(
                "the server has lost commits in a crash: the checkpoint is at {position}, it was at {}",
                batch.from
            ))),
            Ok(Err(_)) => Err(fenced),
            Err(error) => {
                // Nobody knows what is committed.
                *memory = Memory::default();
                Err(unavailable(describe(&error)))
            }
        }
    }

    /// Opens a transaction for the tables of a module.
    pub(super) async fn tables(&self, migrations: &[Migration]) -> Result<Arc<dyn Tables>, TablesError> {
        self.present()?;
        Ok(Arc::new(self.tables.open(&self.transactions, (&self.schema, self.identity), migrations).await?))
    }

    /// Answers a query of an operator.
    pub(super) async fn query(
        &self,
        statement: &str,
        parameters: &[SqlValue],
        budget: &Budget,
    ) -> Result<Rows, SqlError> {
        self.present().map_err(|error| SqlError::Unavailable(error.to_string()))?;
        self.tables.tidy().await;
        let of = (&self.schema, self.identity);
        work::query_as_module(&self.transactions, of, (statement, parameters), budget).await
    }

    /// Removes the schedules of events that were emitted.
    pub(super) async fn fired(&self, lease: Lease, events: &[EventId]) -> Result<(), CommitError> {
        let fenced = |expected| Err(CommitError::Fenced { expected, epoch: lease.epoch });
        let remove = async |connection: &mut PgConnection, schema: &Schema| {
            commit::fired(connection, schema, self.identity, lease, events).await
        };
        match self.ask(remove).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(position)) => fenced(position),
            Err(ReadModelError::Unknown(_)) => fenced(Position::START),
            Err(ReadModelError::Unavailable(reason)) => Err(CommitError::Unavailable(reason)),
        }
    }

    /// How far the generation has come.
    pub(super) async fn checkpoint(&self) -> Result<Checkpoint, ReadModelError> {
        let found = self.ask(async |connection, schema| commit::checkpoint(connection, schema, self.identity).await);
        found.await?.ok_or_else(|| self.unknown())
    }

    /// Asks on a connection of the host's pool.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut PgConnection, &Schema) -> sqlx::Result<T>,
    ) -> Result<T, ReadModelError> {
        self.ask_within(PATIENCE, question).await
    }

    /// Asks what takes its time.
    pub(super) async fn ask_at_length<T>(
        &self,
        question: impl AsyncFnOnce(&mut PgConnection, &Schema) -> sqlx::Result<T>,
    ) -> Result<T, ReadModelError> {
        self.ask_within(LONG_PATIENCE, question).await
    }

    async fn ask_within<T>(
        &self,
        patience: Duration,
        question: impl AsyncFnOnce(&mut PgConnection, &Schema) -> sqlx::Result<T>,
    ) -> Result<T, ReadModelError> {
        self.present()?;
        let mut connection = self.database.pool().acquire().await.map_err(|error| self.unavailable(&error))?;
        let asked = time::timeout(patience, question(&mut connection, &self.schema)).await;
        let answer = asked.unwrap_or_else(|_| {
            // Nobody knows what it waits for.
            connection.close_on_drop();
            Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
        });
        answer.map_err(|error| self.unavailable(&error))
    }

    /// Asks on a connection for threads that wait themselves.
    fn ask_here<T>(
        &self,
        question: &impl AsyncFn(&mut PgConnection, &Schema) -> sqlx::Result<T>,
    ) -> Result<T, ReadModelError> {
        let answer = self.lines.ask(&async |connection: &mut PgConnection| question(connection, &self.schema).await);
        answer.map_err(|error| self.unavailable(&error))
    }

    /// Forgets what guests have read if nothing was asked since this was called the last time.
    pub(super) fn rest(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            self.view.close();
        }
    }

    /// Whoever still has a handle finds the generation unknown.
    pub(super) fn remove(&self) {
        self.removed.store(true, Ordering::SeqCst);
        self.view.close();
    }

    fn present(&self) -> Result<(), ReadModelError> {
        self.used.store(true, Ordering::Relaxed);
        if self.removed.load(Ordering::SeqCst) { Err(self.unknown()) } else { Ok(()) }
    }

    fn unknown(&self) -> ReadModelError {
        ReadModelError::Unknown(self.generation.clone())
    }

    fn unavailable(&self, error: &sqlx::Error) -> ReadModelError {
        if is_gone(error) {
            return self.unknown();
        }
        ReadModelError::Unavailable(format!("{}: {}", self.generation, describe(error)))
    }
}

/// Whether an error says that there is no such schema or table: another host has removed the generation.
fn is_gone(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("3F000" | "42P01"))
}

impl View for Storage {
    fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        self.present()?;
        let are_none = || self.ask_here(&async |connection, schema| documents::are_none(connection, schema).await);
        let ask =
            || self.ask_here(&async |connection, schema| documents::get(connection, schema, collection, key).await);
        self.view.get(collection, key, are_none, ask)
    }

    fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        self.present()?;
        self.ask_here(&async |connection, schema| documents::scan(connection, schema, collection, scan).await)
    }
}
