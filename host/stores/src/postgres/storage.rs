//! The storage of one generation: its schema, what its owner remembers, and the ways to ask it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lantern_core::{
    Batch, Checkpoint, Document, EventId, Generation, Lease, Position, Value, View,
    documents::Scan,
    read_model::{CommitError, ReadModelError},
};
use sqlx::PgConnection;
use tokio::{sync::Mutex, time};
use uuid::Uuid;

use super::{
    Database,
    commit::{self, Ended, Memory},
    connection::describe,
    documents,
    generation::{Found, Schema},
    lines::Lines,
    view::GuestView,
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
        lines: Arc<Lines>,
    ) -> Self {
        Self {
            generation,
            schema,
            identity,
            database,
            lines,
            view: GuestView::default(),
            memory: Mutex::default(),
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
        let mut memory = self.memory.lock().await;
        let taken = self.ask(async |connection, schema| commit::take(connection, schema, self.identity).await).await?;
        let checkpoint = taken.ok_or_else(|| self.unknown())?;
        // The owner before may have left changes behind whose fate it did not learn.
        *memory = Memory::at(&checkpoint);
        self.view.close();
        Ok((Lease { epoch: checkpoint.epoch }, checkpoint))
    }

    /// Commits a batch.
    pub(super) async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        let fenced = CommitError::Fenced { expected: batch.from, epoch: lease.epoch };
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
