//! Read models in SQLite files: one file a generation, in a folder of its processor.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lantern_core::{
    Batch, Checkpoint, Digest, Document, EventId, Generation, Lease, Migration, Parked, Position, ReadModel, Scheduled,
    SqlError, SqlValue, StreamName, Tables, TablesError, Value, View,
    documents::Scan,
    read_model::{CommitError, ReadModelError},
    sql::{Budget, Rows},
};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{
    blocking::blocking,
    commit,
    connection::{OpenError, create_folder},
    documents,
    idle::Idle,
    parked, schedules,
    storage::{self, Storage},
    tables::Transaction,
};
use crate::tables::{self, Guard};

/// How many generations are written to at a time, and how many queries are answered. More would only wait for the disk.
const WRITERS: usize = 16;
const READERS: usize = 16;

/// The read models of a host, in SQLite files: `<folder>/<processor>/<generation>.db`.
pub struct ReadModels {
    shared: Arc<Shared>,
    _idle: Idle,
}

struct Shared {
    folder: PathBuf,
    generations: Mutex<HashMap<Generation, Arc<Storage>>>,
    writers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

impl ReadModels {
    /// Opens the folder the files are in, or makes it.
    ///
    /// # Errors
    ///
    /// The folder cannot be used.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        create_folder(folder)?;
        let shared = Arc::new(Shared {
            folder: folder.into(),
            generations: Mutex::default(),
            writers: Arc::new(Semaphore::new(WRITERS)),
            readers: Arc::new(Semaphore::new(READERS)),
        });
        let watched = shared.clone();
        let idle = Idle::watch(move || watched.rest());
        let idle = idle.map_err(|error| OpenError::Unusable { path: folder.into(), reason: error.to_string() })?;
        Ok(Self { shared, _idle: idle })
    }

    /// Does something with the files on a thread where blocking is allowed.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, ReadModelError> + Send + 'static,
    ) -> Result<T, ReadModelError> {
        let shared = self.shared.clone();
        blocking(self.shared.writers.clone(), move || work(&shared))
            .await
            .unwrap_or_else(|error| Err(ReadModelError::Unavailable(error)))
    }

    async fn handle(
        &self,
        generation: &Generation,
        begin: Option<(Position, Digest)>,
    ) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        let generation = generation.clone();
        let storage = self.work(move |shared| shared.open(&generation, begin)).await?;
        Ok(Arc::new(Handle { storage, writers: self.shared.writers.clone() }))
    }
}

impl Shared {
    fn generations(&self) -> MutexGuard<'_, HashMap<Generation, Arc<Storage>>> {
        // A map of handles is whole at every moment.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, generation: &Generation, begin: Option<(Position, Digest)>) -> Result<Arc<Storage>, ReadModelError> {
        // Opened under the lock, so that a generation has one storage, whose cache all its commits refresh.
        let mut generations = self.generations();
        if let Some(storage) = generations.get(generation) {
            return Ok(storage.clone());
        }
        let storage = Arc::new(Storage::open(&self.folder, generation, begin, self.readers.clone())?);
        generations.insert(generation.clone(), storage.clone());
        Ok(storage)
    }

    fn remove(&self, generation: &Generation) -> Result<(), ReadModelError> {
        let mut generations = self.generations();
        if let Some(storage) = generations.remove(generation) {
            storage.remove();
        }
        storage::remove(&self.folder, generation)
    }

    fn rest(&self) {
        let generations: Vec<_> = self.generations().values().cloned().collect();
        for storage in generations {
            storage.rest();
        }
    }
}

#[async_trait]
impl lantern_core::ReadModels for ReadModels {
    async fn create(
        &self,
        generation: &Generation,
        start: Position,
        module: Digest,
    ) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        self.handle(generation, Some((start, module))).await
    }

    async fn open(&self, generation: &Generation) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        self.handle(generation, None).await
    }

    async fn remove(&self, generation: &Generation) -> Result<(), ReadModelError> {
        let generation = generation.clone();
        self.work(move |shared| shared.remove(&generation)).await
    }
}

/// A handle to a generation.
struct Handle {
    storage: Arc<Storage>,
    writers: Arc<Semaphore>,
}

#[async_trait]
impl ReadModel for Handle {
    async fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError> {
        let storage = self.storage.clone();
        let taken = blocking(self.writers.clone(), move || storage.take()).await;
        taken.unwrap_or_else(|error| Err(ReadModelError::Unavailable(error)))
    }

    async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        // A batch with tables has the turn already, with their transaction.
        let turn = if batch.tables.is_some() { None } else { Some(self.storage.turn().await) };
        // The documents are shared, and the rest of a batch is small.
        let (storage, batch) = (self.storage.clone(), batch.clone());
        let work = move || {
            let _turn = turn;
            storage.commit(lease, &batch)
        };
        let committed = blocking(self.writers.clone(), work).await;
        committed.unwrap_or_else(|error| Err(CommitError::Unavailable(error)))
    }

    fn view(&self) -> Arc<dyn View> {
        self.storage.clone()
    }

    async fn checkpoint(&self) -> Result<Checkpoint, ReadModelError> {
        self.storage.ask(commit::checkpoint).await
    }

    async fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        let (collection, key) = (collection.to_owned(), key.to_owned());
        let question = move |connection: &_| match documents::collection(connection, &collection)? {
            Some(collection) => documents::get(connection, collection, &key),
            None => Ok(None),
        };
        self.storage.ask(question).await
    }

    async fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        let (collection, scan) = (collection.to_owned(), scan.clone());
        let question = move |connection: &_| match documents::collection(connection, &collection)? {
            Some(collection) => documents::scan(connection, collection, &scan),
            None => Ok(Vec::new()),
        };
        self.storage.ask(question).await
    }

    async fn tables(&self, migrations: &[Migration]) -> Result<Arc<dyn Tables>, TablesError> {
        let turn = self.storage.turn().await;
        let (storage, migrations) = (self.storage.clone(), migrations.to_vec());
        let opened = blocking(self.writers.clone(), move || Transaction::open(storage, &migrations, turn)).await;
        let opened = opened.map_err(ReadModelError::Unavailable)??;
        Ok(Arc::new(opened))
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        let (statement, parameters, budget) = (statement.to_owned(), parameters.to_vec(), *budget);
        let question = move |connection: &Connection, guard: &mut Option<Guard>| {
            let guard = match guard {
                Some(guard) => guard,
                none => none.insert(Guard::install(connection)?),
            };
            Ok(tables::query(connection, guard, &statement, &parameters, &budget))
        };
        let answer = self.storage.ask_guarded(question).await;
        answer.unwrap_or_else(|error| Err(SqlError::Unavailable(error.to_string())))
    }

    async fn digest(&self) -> Result<(Position, Digest), ReadModelError> {
        self.storage.ask(documents::digest).await
    }

    async fn parked(&self, after: Position, limit: usize) -> Result<Vec<Parked>, ReadModelError> {
        self.storage.ask(move |connection| parked::after(connection, after, limit)).await
    }

    async fn parked_at(&self, position: Position) -> Result<Option<Parked>, ReadModelError> {
        self.storage.ask(move |connection| parked::at(connection, position)).await
    }

    async fn scheduled(&self) -> Result<Vec<Scheduled>, ReadModelError> {
        self.storage.ask(schedules::all).await
    }

    async fn fired(&self, lease: Lease, events: &[EventId]) -> Result<(), CommitError> {
        let (storage, events) = (self.storage.clone(), events.to_vec());
        let removed = blocking(self.writers.clone(), move || storage.fired(lease, &events)).await;
        removed.unwrap_or_else(|error| Err(CommitError::Unavailable(error)))
    }

    async fn held_streams(&self) -> Result<Vec<(StreamName, u64)>, ReadModelError> {
        self.storage.ask(parked::held).await
    }
}
