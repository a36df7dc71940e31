//! Ports of core, watched by the benchmarks: when each call began and ended. Production code knows nothing of it.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    AggregateModule, Append, Appended, Batch, Call, Checkpoint, Digest, Document, Event, EventId, Filter, Generation,
    Incarnation, Instance, Lease, Library, Log, Migration, Module, Outcome, Page, Parked, Position, ReadModel,
    ReadModels, Scheduled, SqlError, SqlValue, StreamName, Tables, TablesError, Value, Version, View,
    documents::Scan,
    log::{AppendError, LogError, Range},
    module::{Description, Kept, LibraryError, Settings},
    read_model::{CommitError, ReadModelError},
    sql::{Budget, Rows},
    upcasting::UpcasterModule,
};
use tokio::sync::watch;

/// What is told about the calls of ports. Each method does nothing unless it is written.
pub(crate) trait Watch: Send + Sync {
    /// A page was read.
    fn read(&self, _page: &Page, _began: Instant) {}

    /// A guest was given a document that is committed, or was told that there is none.
    fn got(&self, _began: Instant) {}

    /// A module handled an event.
    fn handled(&self, _module: Digest, _call: &Call<'_>, _began: Instant) {}

    /// A batch was committed.
    fn committed(&self, _batch: &Batch, _began: Instant) {}
}

struct Watched<P: ?Sized> {
    inner: Arc<P>,
    watch: Arc<dyn Watch>,
}

struct WatchedInstance {
    inner: Box<dyn Instance>,
    module: Digest,
    watch: Arc<dyn Watch>,
}

/// Watches a log.
pub(crate) fn log(inner: Arc<dyn Log>, watch: &Arc<dyn Watch>) -> Arc<dyn Log> {
    Arc::new(Watched { inner, watch: watch.clone() })
}

/// Watches all read models.
pub(crate) fn read_models(inner: Arc<dyn ReadModels>, watch: &Arc<dyn Watch>) -> Arc<dyn ReadModels> {
    Arc::new(Watched { inner, watch: watch.clone() })
}

/// Watches a library, its modules and their instances.
pub(crate) fn library(inner: Arc<dyn Library>, watch: &Arc<dyn Watch>) -> Arc<dyn Library> {
    Arc::new(Watched { inner, watch: watch.clone() })
}

#[async_trait]
impl Log for Watched<dyn Log> {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        self.inner.append(appends).await
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        let began = Instant::now();
        let page = self.inner.read(after, filter, limit).await?;
        self.watch.read(&page, began);
        Ok(page)
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
        self.inner.incarnation()
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }
}

#[async_trait]
impl ReadModels for Watched<dyn ReadModels> {
    async fn create(
        &self,
        generation: &Generation,
        start: Position,
        module: Digest,
    ) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        let inner = self.inner.create(generation, start, module).await?;
        Ok(Arc::new(Watched { inner, watch: self.watch.clone() }))
    }

    async fn open(&self, generation: &Generation) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        let inner = self.inner.open(generation).await?;
        Ok(Arc::new(Watched { inner, watch: self.watch.clone() }))
    }

    async fn remove(&self, generation: &Generation) -> Result<(), ReadModelError> {
        self.inner.remove(generation).await
    }
}

#[async_trait]
impl ReadModel for Watched<dyn ReadModel> {
    async fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError> {
        self.inner.take().await
    }

    async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        let began = Instant::now();
        self.inner.commit(lease, batch).await?;
        self.watch.committed(batch, began);
        Ok(())
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::new(Watched { inner: self.inner.view(), watch: self.watch.clone() })
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
        self.inner.fired(lease, events).await
    }

    async fn held_streams(&self) -> Result<Vec<(StreamName, u64)>, ReadModelError> {
        self.inner.held_streams().await
    }
}

impl View for Watched<dyn View> {
    fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        let began = Instant::now();
        let found = self.inner.get(collection, key);
        self.watch.got(began);
        found
    }

    fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        self.inner.scan(collection, scan)
    }
}

#[async_trait]
impl Library for Watched<dyn Library> {
    async fn push(&self, bytes: Bytes) -> Result<Kept, LibraryError> {
        self.inner.push(bytes).await
    }

    async fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        self.inner.list().await
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        self.inner.inspect(digest).await
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        self.inner.remove(digest).await
    }

    async fn load(&self, digest: Digest, settings: &Settings) -> Result<Arc<dyn Module>, LibraryError> {
        let inner = self.inner.load(digest, settings).await?;
        Ok(Arc::new(Watched { inner, watch: self.watch.clone() }))
    }

    async fn load_aggregate(
        &self,
        digest: Digest,
        settings: &Settings,
    ) -> Result<Arc<dyn AggregateModule>, LibraryError> {
        self.inner.load_aggregate(digest, settings).await
    }

    async fn load_upcaster(
        &self,
        digest: Digest,
        settings: &Settings,
    ) -> Result<Arc<dyn UpcasterModule>, LibraryError> {
        self.inner.load_upcaster(digest, settings).await
    }
}

impl Module for Watched<dyn Module> {
    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn description(&self) -> &Description {
        self.inner.description()
    }

    fn instance(&self) -> Box<dyn Instance> {
        let (inner, module) = (self.inner.instance(), self.inner.digest());
        Box::new(WatchedInstance { inner, module, watch: self.watch.clone() })
    }
}

impl Instance for WatchedInstance {
    fn handle(&mut self, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome {
        let began = Instant::now();
        let outcome = self.inner.handle(call, view);
        self.watch.handled(self.module, call, began);
        outcome
    }
}
