//! Read models in PostgreSQL: a schema a generation, beside the schema of the log.
//!
//! `lantern$orders$1` holds the first generation of `orders`, if the log is in `lantern`. It has a view to be queried:
//!
//! ```sql
//! select key, value ->> 'status' from lantern$orders$1.lantern_documents where collection = 'orders';
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use lantern_core::{
    Batch, Checkpoint, Digest, Document, EventId, Generation, Lease, Migration, Parked, Position, ReadModel, Scheduled,
    SqlError, SqlValue, StreamName, Tables, TablesError, Value, View,
    documents::Scan,
    read_model::{CommitError, ReadModelError},
    sql::{Budget, Rows},
};
use sqlx::PgPool;
use tokio::time;

use super::{
    Database,
    connection::{self, describe},
    documents,
    generation::{self, Found, Schema},
    lines::Lines,
    parked, schedules,
    storage::Storage,
};

/// How long nothing has to be asked of a generation before it rests.
const PAUSE: Duration = Duration::from_secs(30);

/// The read models of the hosts that share a database.
pub struct ReadModels {
    database: Database,
    lines: Arc<Lines>,
    /// For the transactions of SQL tables, which last: they must not take the connections of all others.
    transactions: PgPool,
    generations: Arc<Generations>,
}

type Generations = Mutex<HashMap<Generation, Arc<Storage>>>;

impl ReadModels {
    /// The read models beside the log of a database. What a projection remembers is given back when it has nothing to
    /// do: a task of the runtime sees to that, as long as this is there.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let lines = Arc::new(Lines::new(database.options().clone()));
        let transactions = connection::pool(database.options().clone());
        let generations: Arc<Generations> = Arc::default();
        tokio::spawn(rest(Arc::downgrade(&generations)));
        Self { database, lines, transactions, generations }
    }

    fn schema(&self, generation: &Generation) -> Schema {
        Schema::new(self.database.schema(), generation)
    }

    /// Opens a generation that is there, or begins it.
    async fn handle(
        &self,
        generation: &Generation,
        begin: Option<(Position, Digest)>,
    ) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        let schema = self.schema(generation);
        let found = self.find(&schema, begin).await.map_err(|error| unavailable(generation, &error))?;
        let Some(found) = found else {
            // Another host may have removed it.
            self.forget(generation);
            return Err(ReadModelError::Unknown(generation.clone()));
        };
        if let Some(refusal) = found.refusal() {
            return Err(ReadModelError::Unavailable(format!("{generation}: {refusal}")));
        }
        Ok(Arc::new(Handle(self.storage(generation, schema, found))))
    }

    async fn find(&self, schema: &Schema, begin: Option<(Position, Digest)>) -> sqlx::Result<Option<Found>> {
        let mut connection = self.database.pool().acquire().await?;
        match (generation::find(&mut connection, schema).await?, begin) {
            (None, Some((start, module))) => {
                generation::find_or_make(&mut connection, schema, start, module).await.map(Some)
            }
            (Some(found), _) if !found.changes().is_empty() => generation::update(&mut connection, schema).await,
            (found, _) => Ok(found),
        }
    }

    /// The one storage of a generation in this host, whose cache all its commits refresh.
    fn storage(&self, generation: &Generation, schema: Schema, found: Found) -> Arc<Storage> {
        let mut generations = lock(&self.generations);
        let there = generations.get(generation).filter(|storage| storage.is_of(&found));
        if let Some(storage) = there {
            return storage.clone();
        }
        let (database, connections) = (self.database.clone(), (self.lines.clone(), self.transactions.clone()));
        let storage = Arc::new(Storage::new(generation.clone(), schema, found.identity, database, connections));
        if let Some(stale) = generations.insert(generation.clone(), storage.clone()) {
            stale.remove();
        }
        storage
    }

    fn forget(&self, generation: &Generation) {
        if let Some(storage) = lock(&self.generations).remove(generation) {
            storage.remove();
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
        self.forget(generation);
        let removed = async {
            let mut connection = self.database.pool().acquire().await?;
            generation::remove(&mut connection, &self.schema(generation)).await
        };
        removed.await.map_err(|error| unavailable(generation, &error))
    }
}

fn lock(generations: &Generations) -> MutexGuard<'_, HashMap<Generation, Arc<Storage>>> {
    // A map of handles is whole at every moment.
    generations.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets generations rest that have nothing to do, so that a host of a thousand projections pays only for the others.
async fn rest(generations: Weak<Generations>) {
    loop {
        time::sleep(PAUSE).await;
        let Some(generations) = generations.upgrade() else { return };
        lock(&generations).values().for_each(|storage| storage.rest());
    }
}

fn unavailable(generation: &Generation, error: &sqlx::Error) -> ReadModelError {
    ReadModelError::Unavailable(format!("{generation}: {}", describe(error)))
}

/// A handle to a generation.
struct Handle(Arc<Storage>);

#[async_trait]
impl ReadModel for Handle {
    async fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError> {
        self.0.take().await
    }

    async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        self.0.commit(lease, batch).await
    }

    fn view(&self) -> Arc<dyn View> {
        self.0.clone()
    }

    async fn checkpoint(&self) -> Result<Checkpoint, ReadModelError> {
        self.0.checkpoint().await
    }

    async fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        self.0.ask(async |connection, schema| documents::get(connection, schema, collection, key).await).await
    }

    async fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        self.0.ask(async |connection, schema| documents::scan(connection, schema, collection, scan).await).await
    }

    async fn tables(&self, migrations: &[Migration]) -> Result<Arc<dyn Tables>, TablesError> {
        self.0.tables(migrations).await
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        self.0.query(statement, parameters, budget).await
    }

    async fn digest(&self) -> Result<(Position, Digest), ReadModelError> {
        self.0.ask_at_length(async |connection, schema| documents::digest(connection, schema).await).await
    }

    async fn parked(&self, after: Position, limit: usize) -> Result<Vec<Parked>, ReadModelError> {
        self.0.ask(async |connection, schema| parked::after(connection, schema, after, limit).await).await
    }

    async fn parked_at(&self, position: Position) -> Result<Option<Parked>, ReadModelError> {
        self.0.ask(async |connection, schema| parked::at(connection, schema, position).await).await
    }

    async fn scheduled(&self) -> Result<Vec<Scheduled>, ReadModelError> {
        self.0.ask(async |connection, schema| schedules::all(connection, schema).await).await
    }

    async fn fired(&self, lease: Lease, events: &[EventId]) -> Result<(), CommitError> {
        self.0.fired(lease, events).await
    }

    async fn held_streams(&self) -> Result<Vec<(StreamName, u64)>, ReadModelError> {
        self.0.ask(async |connection, schema| parked::held(connection, schema).await).await
    }
}
