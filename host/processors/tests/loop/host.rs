//! A host for tests: memory stores, a library of closures, and storage that fails on demand.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    Append, Batch, Call, Checkpoint, Digest, Document, Effects, Event, EventType, Expected, Generation, Instance,
    Journal, Lease, Library, Log, Metadata, Module, Name, NewEvent, Outcome, Parked, Payload, Position, ReadModel,
    ReadModels, StreamName, SystemClock, Timestamp, Value, View, Write,
    documents::Scan,
    journal::FailurePolicy,
    module::{Description, Failure, FailureKind, Kept, LibraryError, Limits, Settings},
    read_model::{CommitError, ReadModelError},
};
use lantern_processors::{Deploy, Ports, Refusal, Start, Status, Supervisor};
use lantern_stores::memory;
use tokio::sync::Semaphore;

/// What a module of a test does with an event.
pub(crate) type Handle = dyn Fn(&Event, &dyn View) -> Result<Effects, Failure> + Send + Sync;

/// A module made of a closure.
#[derive(Clone)]
pub(crate) struct Closure {
    digest: Digest,
    description: Description,
    handle: Arc<Handle>,
}

impl Closure {
    pub(crate) fn new(
        name: &str,
        handle: impl Fn(&Event, &dyn View) -> Result<Effects, Failure> + Send + Sync + 'static,
    ) -> Self {
        let description = Description {
            name: name.into(),
            version: "1".into(),
            categories: Vec::new(),
            event_types: Vec::new(),
            collections: vec!["counts".into()],
        };
        Self { digest: Digest::of(name.as_bytes()), description, handle: Arc::new(handle) }
    }

    pub(crate) fn wanting(mut self, category: &str) -> Self {
        self.description.categories.push(category.into());
        self
    }
}

impl Module for Closure {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn instance(&self) -> Box<dyn Instance> {
        Box::new(self.clone())
    }
}

impl Instance for Closure {
    fn handle(&mut self, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome {
        (self.handle)(call.event, &**view).into()
    }
}

/// A document changed by a closure.
pub(crate) fn put(key: &str, value: impl Into<String>) -> Effects {
    let value: String = value.into();
    Effects { writes: vec![Write { collection: "counts".into(), key: key.into(), value: Some(value.into()) }] }
}

/// Appends the event's position to its stream's document: shows which events were handled and in which order.
pub(crate) fn note(event: &Event, view: &dyn View) -> Result<Effects, Failure> {
    let key = event.stream.as_str();
    let noted = view.get("counts", key).map_err(|error| Failure::new(FailureKind::Host, error.to_string()))?;
    let noted = noted.map_or_else(
        || event.position.to_string(),
        |noted| format!("{},{}", noted.trim_matches(['[', ']']), event.position),
    );
    Ok(put(key, format!("[{noted}]")))
}

/// The module that notes every event.
pub(crate) fn noting() -> Closure {
    Closure::new("noting", note)
}

/// The module that notes every event but fails those whose data is `failing`.
pub(crate) fn failing(name: &str, failing: &'static str, kind: FailureKind) -> Closure {
    Closure::new(name, move |event, view| {
        if event.data.as_bytes() == failing.as_bytes() {
            return Err(Failure::new(kind, format!("{failing} is bad")));
        }
        note(event, view)
    })
}

/// Modules by digest.
#[derive(Default)]
struct Closures(Mutex<HashMap<Digest, Closure>>);

#[async_trait]
impl Library for Closures {
    async fn push(&self, _: Bytes) -> Result<Kept, LibraryError> {
        Err(LibraryError::Refused("closures are added, not pushed".into()))
    }

    async fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        Ok(Vec::new())
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        self.0.lock().unwrap().remove(&digest).map(|_| ()).ok_or(LibraryError::Unknown(digest))
    }

    async fn load(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn Module>, LibraryError> {
        let closure = self.0.lock().unwrap().get(&digest).cloned().ok_or(LibraryError::Unknown(digest))?;
        Ok(Arc::new(closure))
    }
}

/// How storage fails: on average one commit in so many, 0 for never.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) one_in: AtomicU64,
    seed: Mutex<fastrand::Rng>,
    /// Where it is there, each commit takes a permit of it and waits for one.
    pub(crate) gate: Option<Semaphore>,
}

enum Fault {
    None,
    /// The commit does nothing and says so.
    Refused,
    /// The commit takes effect, but the answer is lost.
    Unheard,
}

impl Faults {
    pub(crate) fn seeded(seed: u64, one_in: u64) -> Arc<Self> {
        let seed = Mutex::new(fastrand::Rng::with_seed(seed));
        Arc::new(Self { one_in: AtomicU64::new(one_in), seed, gate: None })
    }

    /// Storage on which no commit begins before it is let through.
    pub(crate) fn gated() -> Arc<Self> {
        Arc::new(Self { gate: Some(Semaphore::new(0)), ..Self::default() })
    }

    fn next(&self) -> Fault {
        let one_in = self.one_in.load(Ordering::Relaxed);
        let mut seed = self.seed.lock().unwrap();
        match one_in {
            0 => Fault::None,
            _ if seed.u64(..one_in) != 0 => Fault::None,
            _ if seed.bool() => Fault::Refused,
            _ => Fault::Unheard,
        }
    }
}

/// Read models whose commits fail on demand.
struct Faulty {
    inner: Arc<dyn ReadModels>,
    faults: Arc<Faults>,
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
        let lost = || Err(CommitError::Unavailable("a fault of the test".into()));
        if let Some(gate) = &self.faults.gate {
            gate.acquire().await.unwrap().forget();
        }
        match self.faults.next() {
            Fault::None => self.inner.commit(lease, batch).await,
            Fault::Refused => lost(),
            Fault::Unheard => {
                self.inner.commit(lease, batch).await?;
                lost()
            }
        }
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

    async fn digest(&self) -> Result<(Position, Digest), ReadModelError> {
        self.inner.digest().await
    }

    async fn parked(&self, after: Position, limit: usize) -> Result<Vec<Parked>, ReadModelError> {
        self.inner.parked(after, limit).await
    }

    async fn parked_at(&self, position: Position) -> Result<Option<Parked>, ReadModelError> {
        self.inner.parked_at(position).await
    }

    async fn held_streams(&self) -> Result<Vec<(StreamName, u64)>, ReadModelError> {
        self.inner.held_streams().await
    }
}

/// A host for tests.
pub(crate) struct Host {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) read_models: Arc<dyn ReadModels>,
    pub(crate) journal: Arc<dyn Journal>,
    library: Arc<Closures>,
    pub(crate) supervisor: Supervisor,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(Arc::new(Faults::default())).await
    }

    pub(crate) async fn with(faults: Arc<Faults>) -> Self {
        let log: Arc<dyn Log> = Arc::new(memory::Log::new());
        let journal: Arc<dyn Journal> = Arc::new(memory::Journal::new());
        let inner: Arc<dyn ReadModels> = Arc::new(memory::ReadModels::new());
        let read_models: Arc<dyn ReadModels> = Arc::new(Faulty { inner, faults });
        let library = Arc::new(Closures::default());
        let supervisor = supervise(&log, &read_models, &library, &journal).await;
        Self { log, read_models, journal, library, supervisor }
    }

    /// Ends every run and starts again from the same stores.
    pub(crate) async fn restart(&mut self) {
        self.supervisor.shutdown().await;
        self.supervisor = supervise(&self.log, &self.read_models, &self.library, &self.journal).await;
    }

    /// Puts the log aside and goes on with another one.
    pub(crate) async fn replace_log(&mut self) {
        self.log = Arc::new(memory::Log::new());
        self.restart().await;
    }

    pub(crate) fn add(&self, closure: Closure) -> Digest {
        let digest = closure.digest;
        self.library.0.lock().unwrap().insert(digest, closure);
        digest
    }

    pub(crate) async fn deploy(&self, closure: Closure) -> Status {
        self.deploy_with(closure, FailurePolicy::default()).await.unwrap()
    }

    pub(crate) async fn deploy_with(&self, closure: Closure, policy: FailurePolicy) -> Result<Status, Refusal> {
        let module = self.add(closure);
        let deploy = Deploy {
            name: name(),
            module,
            start: Start::Beginning,
            config: BTreeMap::new(),
            limits: Limits::default(),
            failure_policy: FailurePolicy { backoff_ms: 1, ..policy },
        };
        self.supervisor.deploy(deploy).await
    }

    /// Appends one event to a stream and says where it stands.
    pub(crate) async fn append(&self, stream: &str, data: &str) -> Position {
        let event = NewEvent {
            id: uuid::Uuid::now_v7(),
            event_type: EventType::new("Noted").unwrap(),
            schema_version: 1,
            time: Timestamp(0),
            data: Payload::Json(data.into()),
            metadata: Metadata::default(),
        };
        let append = Append { stream: stream.parse().unwrap(), expected: Expected::Any, events: vec![event] };
        self.log.append(vec![append]).await.unwrap()[0].position
    }

    /// Waits until everything that is in the log is processed.
    pub(crate) async fn caught_up(&self) -> Status {
        let head = *self.log.head().borrow();
        bounded(self.supervisor.wait(Kind::Projection, &name(), head)).await.unwrap()
    }

    /// Waits until the status is as wished.
    pub(crate) async fn until(&self, wished: impl Fn(&Status) -> bool) -> Status {
        bounded(async {
            loop {
                let status = self.supervisor.status(Kind::Projection, &name()).unwrap();
                if wished(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
    }

    /// What was noted of a stream: the positions in the order they were handled.
    pub(crate) async fn noted(&self, stream: &str) -> String {
        let read_model = self.supervisor.read_model(Kind::Projection, &name(), Some("counts")).unwrap();
        let noted = read_model.get("counts", stream).await.unwrap();
        noted.map_or_else(String::new, |noted| noted.to_string())
    }

    pub(crate) async fn parked(&self) -> Vec<Parked> {
        let read_model = self.supervisor.read_model(Kind::Projection, &name(), None).unwrap();
        read_model.parked(Position::START, usize::MAX).await.unwrap()
    }

    /// What the documents must be: the positions of each stream's events, in the order of the log.
    pub(crate) async fn expected(&self) -> BTreeMap<String, String> {
        let page = self.log.read(Position::START, &lantern_core::Filter::all(), usize::MAX).await.unwrap();
        let mut positions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in page.events {
            positions.entry(event.stream.to_string()).or_default().push(event.position.to_string());
        }
        positions.into_iter().map(|(stream, positions)| (stream, format!("[{}]", positions.join(",")))).collect()
    }

    /// All documents.
    pub(crate) async fn documents(&self) -> BTreeMap<String, String> {
        let read_model = self.supervisor.read_model(Kind::Projection, &name(), Some("counts")).unwrap();
        let scan = Scan { limit: usize::MAX, ..Scan::default() };
        let documents = read_model.scan("counts", &scan).await.unwrap();
        documents.into_iter().map(|document| (document.key, document.value.to_string())).collect()
    }
}

async fn supervise(
    log: &Arc<dyn Log>,
    read_models: &Arc<dyn ReadModels>,
    library: &Arc<Closures>,
    journal: &Arc<dyn Journal>,
) -> Supervisor {
    let ports = Ports {
        log: log.clone(),
        read_models: read_models.clone(),
        library: library.clone(),
        journal: journal.clone(),
        clock: Arc::new(SystemClock),
    };
    Supervisor::start(ports).await.unwrap()
}

/// The projection of every test.
pub(crate) fn name() -> Name {
    Name::new("noted").unwrap()
}

/// Fails a test that hangs instead of letting it hang.
pub(crate) async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("this should have ended long ago")
}
