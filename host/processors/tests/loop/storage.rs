//! Storage for tests: it fails on demand, and the host can die at any write.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use lantern_core::{
    Append, Appended, Batch, Checkpoint, Digest, Document, Event, EventId, Filter, Generation, Incarnation, Lease, Log,
    Migration, Page, Parked, Position, ReadModel, ReadModels, Scheduled, SqlError, SqlValue, StreamName, Tables,
    TablesError, Value, Version, View,
    documents::Scan,
    log::{AppendError, LogError, Range},
    read_model::{CommitError, ReadModelError},
    sql::{Budget, Rows},
};
use tokio::sync::{Semaphore, watch};

/// How storage fails.
#[derive(Default)]
pub(crate) struct Faults {
    /// On average one write in so many fails; 0 for never.
    pub(crate) one_in: AtomicU64,
    seed: Mutex<fastrand::Rng>,
    /// Where it is there, each commit takes a permit of it and waits for one.
    pub(crate) gate: Option<Semaphore>,
    /// With so many writes more the host dies at the last one; 0 for never.
    pub(crate) writes_left: AtomicU64,
    /// The host has died: nothing is written or answered any more.
    pub(crate) died: watch::Sender<bool>,
}

enum Fault {
    None,
    /// The write does nothing and says so.
    Refused,
    /// The write takes effect, but the answer is lost.
    Unheard,
    /// The host dies before the write takes effect.
    DeathBefore,
    /// The host dies when the write has taken effect.
    DeathAfter,
}

impl Faults {
    pub(crate) fn seeded(seed: u64, one_in: u64) -> Arc<Self> {
        let seed = Mutex::new(fastrand::Rng::with_seed(seed));
        Arc::new(Self { one_in: AtomicU64::new(one_in), seed, ..Self::default() })
    }

    /// Storage on which no commit begins before it is let through.
    pub(crate) fn gated() -> Arc<Self> {
        Arc::new(Self { gate: Some(Semaphore::new(0)), ..Self::default() })
    }

    fn next(&self) -> Fault {
        let one_in = self.one_in.load(Ordering::Relaxed);
        let mut seed = self.seed.lock().unwrap();
        if *self.died.borrow() {
            return Fault::DeathBefore;
        }
        let left = self.writes_left.load(Ordering::Relaxed);
        self.writes_left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 {
            return if seed.bool() { Fault::DeathBefore } else { Fault::DeathAfter };
        }
        match one_in {
            0 => Fault::None,
            _ if seed.u64(..one_in) != 0 => Fault::None,
            _ if seed.bool() => Fault::Refused,
            _ => Fault::Unheard,
        }
    }

    /// Makes a write, which fails as it comes.
    pub(crate) async fn write<T, E>(
        &self,
        lost: impl FnOnce(String) -> E,
        write: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self.next() {
            Fault::None => write.await,
            Fault::Refused => Err(lost("a fault of the test".into())),
            Fault::Unheard => {
                write.await?;
                Err(lost("a fault of the test".into()))
            }
            Fault::DeathBefore => self.die().await,
            Fault::DeathAfter => {
                write.await?;
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.died.send_replace(true);
        std::future::pending().await
    }
}

/// A log whose appends fail on demand. It says by itself which log it is, as one that was put back from a copy.
pub(crate) struct FaultyLog {
    pub(crate) inner: Arc<dyn Log>,
    pub(crate) incarnation: Incarnation,
    pub(crate) faults: Arc<Faults>,
}

#[async_trait]
impl Log for FaultyLog {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        self.faults.write(AppendError::Unavailable, self.inner.append(appends)).await
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.inner.read(after, filter, limit).await
    }

    async fn read_backward(&self, before: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.inner.read_backward(before, filter, limit).await
    }

    async fn read_stream(&self, stream: &StreamName, range: Range) -> Result<Vec<Event>, LogError> {
        self.inner.read_stream(stream, range).await
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, LogError> {
        self.inner.stream_version(stream).await
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, LogError> {
        self.inner.event(id).await
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }
}

/// Read models whose commits fail on demand.
pub(crate) struct Faulty {
    pub(crate) inner: Arc<dyn ReadModels>,
    pub(crate) faults: Arc<Faults>,
}

struct FaultyModel {
    inner: Arc<dyn ReadModel>,
    faults: Arc<Faults>,
}

#[async_trait]
impl ReadModels for Faulty {
    async fn create(
        &self,
        generation: &Generation,
        start: Position,
        module: Digest,
    ) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        let inner = self.inner.create(generation, start, module).await?;
        Ok(Arc::new(FaultyModel { inner, faults: self.faults.clone() }))
    }

    async fn open(&self, generation: &Generation) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        self.inner.open(generation).await
    }

    async fn remove(&self, generation: &Generation) -> Result<(), ReadModelError> {
        self.inner.remove(generation).await
    }
}

#[async_trait]
impl ReadModel for FaultyModel {
    async fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError> {
        self.inner.take().await
    }

    async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        if let Some(gate) = &self.faults.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.faults.write(CommitError::Unavailable, self.inner.commit(lease, batch)).await
    }

    fn view(&self) -> Arc<dyn View> {
        self.inner.view()
    }

    async fn checkpoint(&self) -> Result<Checkpoint, ReadModelError> {
        self.inner.checkpoint().await
    }

    async fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        self.inner.get(collection, key).await
    }

    async fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        self.inner.scan(collection, scan).await
    }

    async fn tables(&self, migrations: &[Migration]) -> Result<Arc<dyn Tables>, TablesError> {
        self.inner.tables(migrations).await
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        self.inner.query(statement, parameters, budget).await
    }

    async fn digest(&self) -> Result<(Position, Digest), ReadModelError> {
        self.inner.digest().await
    }

    async fn parked(&self, after: Position, limit: usize) -> Result<Vec<Parked>, ReadModelError> {
        self.inner.parked(after, limit).await
    }

    async fn parked_at(&self, position: Position) -> Result<Option<Parked>, ReadModelError> {
        self.inner.parked_at(position).await
    }

    async fn scheduled(&self) -> Result<Vec<Scheduled>, ReadModelError> {
        self.inner.scheduled().await
    }

    async fn fired(&self, lease: Lease, events: &[EventId]) -> Result<(), CommitError> {
        self.faults.write(CommitError::Unavailable, self.inner.fired(lease, events)).await
    }

    async fn held_streams(&self) -> Result<Vec<(StreamName, u64)>, ReadModelError> {
        self.inner.held_streams().await
    }
}
