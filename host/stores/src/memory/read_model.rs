//! Read models in memory: one locked set of maps a generation.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lantern_core::{
    Batch, Checkpoint, Digest, Document, EventId, Generation, Lease, Migration, Parked, Position, Scheduled, SqlError,
    SqlValue, StreamName, Tables, TablesError, Value, View,
    digest::ReadModelDigest,
    documents::Scan,
    parked::Standing,
    read_model::{CommitError, ReadModelError},
    sql::{Budget, Rows},
};
use tokio::sync::Mutex as Turns;

use super::{schedules::Schedules, tables::Database};

/// All read models of a host, in memory.
#[derive(Default)]
pub struct ReadModels {
    generations: Mutex<HashMap<Generation, Arc<ReadModel>>>,
}

/// The read model of one generation.
struct ReadModel {
    generation: Generation,
    /// `None` when the generation has been removed.
    state: Mutex<Option<State>>,
    /// Whose turn it is to write: transactions stay open while guests run.
    turns: Arc<Turns<()>>,
}

struct State {
    checkpoint: Checkpoint,
    collections: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Value>>,
    schedules: Schedules,
    parked: BTreeMap<Position, Parked>,
    tables: Database,
}

impl ReadModels {
    /// No read models yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn generations(&self) -> MutexGuard<'_, HashMap<Generation, Arc<ReadModel>>> {
        // A map of handles is whole at every moment.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadModel {
    fn new(generation: Generation, start: Position, module: Digest) -> Self {
        let checkpoint =
            Checkpoint { position: start, event_id: None, incarnation: None, epoch: 0, module, handled: 0 };
        let state = State {
            checkpoint,
            collections: BTreeMap::new(),
            schedules: Schedules::default(),
            parked: BTreeMap::new(),
            tables: Database::default(),
        };
        Self { generation, state: Mutex::new(Some(state)), turns: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        // Nothing that can panic runs while the state is half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks what is committed.
    fn ask<T>(&self, question: impl FnOnce(&mut State) -> T) -> Result<T, ReadModelError> {
        self.state().as_mut().map(question).ok_or_else(|| ReadModelError::Unknown(self.generation.clone()))
    }
}

impl State {
    fn commit(&mut self, batch: &Batch) {
        for (collection, key, value) in batch.documents.iter() {
            let documents = self.collections.entry(collection.clone()).or_default();
            match value {
                Some(value) => documents.insert(key.clone(), value.clone()),
                None => documents.remove(key),
            };
        }
        for change in &batch.schedules {
            self.schedules.change(change);
        }
        for position in &batch.released {
            self.parked.remove(position);
        }
        for parked in &batch.parked {
            self.parked.insert(parked.position, parked.clone());
        }
        let checkpoint = &mut self.checkpoint;
        if batch.until != batch.from {
            checkpoint.event_id = batch.last_event;
            checkpoint.incarnation = batch.incarnation;
        }
        checkpoint.position = batch.until;
        checkpoint.module = batch.module;
        checkpoint.handled += batch.handled;
    }

    fn get(&self, collection: &str, key: &str) -> Option<Value> {
        self.collections.get(collection)?.get(key).cloned()
    }

    fn scan(&self, collection: &str, scan: &Scan) -> Vec<Document> {
        let Some(documents) = self.collections.get(collection) else { return Vec::new() };
        let first = match scan.after.as_deref() {
            Some(after) if after >= scan.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(scan.prefix.as_str()),
        };
        documents
            .range::<str, _>((first, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&scan.prefix))
            .take(scan.limit)
            .map(|(key, value)| Document { key: key.as_ref().into(), value: value.clone() })
            .collect()
    }

    fn digest(&self) -> Result<(Position, Digest), ReadModelError> {
        let mut digest = ReadModelDigest::default();
        for (collection, documents) in &self.collections {
            for (key, value) in documents {
                digest.add(collection, key, value);
            }
        }
        self.tables.digest(&mut digest)?;
        Ok((self.checkpoint.position, digest.finish()))
    }
}

impl View for ReadModel {
    fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        self.ask(|state| state.get(collection, key))
    }

    fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        self.ask(|state| state.scan(collection, scan))
    }
}

/// A handle to a generation. What is asked of it goes to the one read model behind it.
struct Handle(Arc<ReadModel>);

#[async_trait]
impl lantern_core::ReadModel for Handle {
    async fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError> {
        self.0.ask(|state| {
            // What the owner before has not committed is not to be.
            state.tables.give_up();
            state.checkpoint.epoch += 1;
            (Lease { epoch: state.checkpoint.epoch }, state.checkpoint.clone())
        })
    }

    async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        let fenced = CommitError::Fenced { expected: batch.from, epoch: lease.epoch };
        // A batch with tables has the turn already, with their transaction.
        let _turn = if batch.tables.is_some() { None } else { Some(self.0.turns.lock().await) };
        let mut state = self.0.state();
        let Some(state) = state.as_mut() else { return Err(fenced) };
        if state.checkpoint.position != batch.from || state.checkpoint.epoch != lease.epoch {
            return Err(fenced);
        }
        if let Some(tables) = &batch.tables
            && !state.tables.commit(tables.id()).map_err(CommitError::Unavailable)?
        {
            return Err(CommitError::Unavailable("the transaction of its tables was lost".into()));
        }
        state.commit(batch);
        Ok(())
    }

    fn view(&self) -> Arc<dyn View> {
        self.0.clone()
    }

    async fn checkpoint(&self) -> Result<Checkpoint, ReadModelError> {
        self.0.ask(|state| state.checkpoint.clone())
    }

    async fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        View::get(&*self.0, collection, key)
    }

    async fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        View::scan(&*self.0, collection, scan)
    }

    async fn tables(&self, migrations: &[Migration]) -> Result<Arc<dyn Tables>, TablesError> {
        let turn = self.0.turns.clone().lock_owned().await;
        Ok(Arc::new(self.0.ask(|state| state.tables.begin(migrations, turn))??))
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        let answer = self.0.ask(|state| {
            let documents = state.collections.iter().flat_map(|(collection, documents)| {
                documents.iter().map(|(key, value)| [collection.as_ref(), key.as_ref(), value.as_ref()])
            });
            state.tables.query(documents, (statement, parameters), budget)
        });
        answer.unwrap_or_else(|error| Err(SqlError::Unavailable(error.to_string())))
    }

    async fn digest(&self) -> Result<(Position, Digest), ReadModelError> {
        self.0.ask(|state| state.digest())?
    }

    async fn parked(&self, after: Position, limit: usize) -> Result<Vec<Parked>, ReadModelError> {
        let later = (Bound::Excluded(after), Bound::Unbounded);
        self.0.ask(|state| state.parked.range(later).take(limit).map(|(_, parked)| parked.clone()).collect())
    }

    async fn parked_at(&self, position: Position) -> Result<Option<Parked>, ReadModelError> {
        self.0.ask(|state| state.parked.get(&position).cloned())
    }

    async fn scheduled(&self) -> Result<Vec<Scheduled>, ReadModelError> {
        self.0.ask(|state| state.schedules.all())
    }

    async fn fired(&self, lease: Lease, events: &[EventId]) -> Result<(), CommitError> {
        let fenced = |expected| Err(CommitError::Fenced { expected, epoch: lease.epoch });
        let mut state = self.0.state();
        let Some(state) = state.as_mut() else { return fenced(Position::START) };
        if state.checkpoint.epoch != lease.epoch {
            return fenced(state.checkpoint.position);
        }
        state.schedules.fired(events);
        Ok(())
    }

    async fn held_streams(&self) -> Result<Vec<(StreamName, u64)>, ReadModelError> {
        self.0.ask(|state| {
            let holding = state.parked.values().filter(|parked| parked.standing != Standing::Skipped);
            let mut streams: BTreeMap<StreamName, u64> = BTreeMap::new();
            for parked in holding {
                *streams.entry(parked.stream.clone()).or_insert(0) += 1;
            }
            streams.into_iter().collect()
        })
    }
}

#[async_trait]
impl lantern_core::ReadModels for ReadModels {
    async fn create(
        &self,
        generation: &Generation,
        start: Position,
        module: Digest,
    ) -> Result<Arc<dyn lantern_core::ReadModel>, ReadModelError> {
        let mut generations = self.generations();
        let model = generations
            .entry(generation.clone())
            .or_insert_with(|| Arc::new(ReadModel::new(generation.clone(), start, module)));
        Ok(Arc::new(Handle(model.clone())))
    }

    async fn open(&self, generation: &Generation) -> Result<Arc<dyn lantern_core::ReadModel>, ReadModelError> {
        match self.generations().get(generation) {
            Some(model) => Ok(Arc::new(Handle(model.clone()))),
            None => Err(ReadModelError::Unknown(generation.clone())),
        }
    }

    async fn remove(&self, generation: &Generation) -> Result<(), ReadModelError> {
        if let Some(model) = self.generations().remove(generation) {
            *model.state() = None;
        }
        Ok(())
    }
}
