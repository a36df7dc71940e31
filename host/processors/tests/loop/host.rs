//! A host for tests: memory stores, a library of closures, a clock that is set by hand.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use lantern_core::{
    Append, Clock, Digest, Event, EventType, Expected, Filter, Grants, GuestThreads, Hosts, Identity, Incarnation,
    Journal, Kind, Log, Metadata, Name, NewEvent, Parked, Payload, Position, ReadModel, ReadModels, Subject, Timestamp,
    documents::Scan, journal::FailurePolicy, module::Limits,
};
use lantern_processors::{Configured, Deploy, Ports, Refusal, Start, Status, Supervisor};
use lantern_stores::memory;

use crate::{
    bus::Shaky,
    modules::Closures,
    storage::{Faulty, FaultyLog},
    upcasting::Chain,
};
pub(crate) use crate::{
    modules::{Closure, failing, note, noting, put},
    storage::Faults,
};

/// A clock that stands until it is set, or runs.
pub(crate) struct Hands {
    set: AtomicI64,
    running: OnceLock<Instant>,
}

impl Hands {
    pub(crate) fn set(&self, now: Timestamp) {
        self.set.store(now.0, Ordering::SeqCst);
    }

    pub(crate) fn run(&self) {
        self.running.get_or_init(Instant::now);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        let ran = self.running.get().map_or(Duration::ZERO, Instant::elapsed);
        Timestamp(self.set.load(Ordering::SeqCst)).plus(ran)
    }
}

/// What outlives a host: its stores, its modules, its clock.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) incarnation: Incarnation,
    pub(crate) read_models: Arc<dyn ReadModels>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) library: Arc<Closures>,
    pub(crate) clock: Arc<Hands>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) bus: Arc<Shaky>,
    pub(crate) faults: Arc<Faults>,
    /// The routes of every host.
    pub(crate) routes: Vec<Configured>,
}

impl World {
    pub(crate) fn new(faults: Arc<Faults>) -> Self {
        Self {
            log: Arc::new(memory::Log::new()),
            incarnation: Incarnation::new_v4(),
            read_models: Arc::new(memory::ReadModels::new()),
            journal: Arc::new(memory::Journal::new()),
            library: Arc::default(),
            clock: Arc::new(Hands { set: AtomicI64::new(1_000), running: OnceLock::new() }),
            chain: Arc::default(),
            bus: Shaky::new(faults.clone()),
            routes: Vec::new(),
            faults,
        }
    }

    /// Starts a host that has the stores for itself.
    pub(crate) async fn supervise(&self) -> Supervisor {
        self.supervise_with(self.routes.clone()).await
    }

    /// Starts a host that has the stores for itself, with routes.
    pub(crate) async fn supervise_with(&self, routes: Vec<Configured>) -> Supervisor {
        let ports = self.ports_of("alone", Arc::new(memory::Hosts::new()), Duration::from_secs(3_600));
        Supervisor::start(ports, routes).await.unwrap()
    }

    /// Starts a host among others.
    pub(crate) async fn join(
        &self,
        name: &str,
        hosts: Arc<dyn Hosts>,
        lease: Duration,
        routes: Vec<Configured>,
    ) -> Result<Supervisor, Refusal> {
        Supervisor::start(self.ports_of(name, hosts, lease), routes).await
    }

    fn ports_of(&self, name: &str, hosts: Arc<dyn Hosts>, lease: Duration) -> Ports {
        let (inner, faults) = (self.log.clone(), self.faults.clone());
        let log = Arc::new(FaultyLog { inner, incarnation: self.incarnation, faults });
        let (inner, faults) = (self.read_models.clone(), self.faults.clone());
        Ports {
            log,
            read_models: Arc::new(Faulty { inner, faults }),
            library: self.library.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            threads: Arc::new(GuestThreads::new().unwrap()),
            upcasting: self.chain.clone(),
            hosts,
            host: Identity {
                id: uuid::Uuid::new_v4(),
                name: name.into(),
                address: format!("http://{name}.example"),
                started_at: self.clock.now(),
            },
            lease,
            buses: self.bus.named(),
        }
    }

    /// Appends one event and says where it stands.
    pub(crate) async fn append(&self, stream: &str, event: NewEvent) -> Position {
        let append = Append { stream: stream.parse().unwrap(), expected: Expected::Any, events: vec![event] };
        self.log.append(vec![append]).await.unwrap()[0].position
    }

    /// All events.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let (mut events, mut after) = (Vec::new(), Position::START);
        loop {
            let page = self.log.read(after, &Filter::all(), usize::MAX).await.unwrap();
            if page.end == after {
                return events;
            }
            events.extend(page.events);
            after = page.end;
        }
    }
}

/// A host for tests, with one processor.
pub(crate) struct Host {
    pub(crate) kind: Kind,
    pub(crate) world: World,
    pub(crate) supervisor: Supervisor,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(Arc::new(Faults::default())).await
    }

    pub(crate) async fn with(faults: Arc<Faults>) -> Self {
        Self::of(Kind::Projection, faults).await
    }

    /// A host whose processor is a handler.
    pub(crate) async fn of_handler() -> Self {
        Self::of(Kind::Handler, Arc::default()).await
    }

    pub(crate) async fn of(kind: Kind, faults: Arc<Faults>) -> Self {
        let world = World::new(faults);
        let supervisor = world.supervise().await;
        Self { kind, world, supervisor }
    }

    /// Ends every run and starts again from the same stores.
    pub(crate) async fn restart(&mut self) {
        self.supervisor.shutdown().await;
        self.supervisor = self.world.supervise().await;
    }

    /// Puts the log aside and goes on with another one.
    pub(crate) async fn replace_log(&mut self) {
        self.world.incarnation = Incarnation::new_v4();
        self.set_log_back().await;
    }

    /// Goes on with the log as it was when it had no events.
    pub(crate) async fn set_log_back(&mut self) {
        self.world.log = Arc::new(memory::Log::new());
        self.restart().await;
    }

    pub(crate) fn add(&self, closure: Closure) -> Digest {
        self.world.library.add(closure)
    }

    pub(crate) async fn deploy(&self, closure: Closure) -> Status {
        self.deploy_with(closure, FailurePolicy::default()).await.unwrap()
    }

    pub(crate) async fn deploy_with(&self, closure: Closure, policy: FailurePolicy) -> Result<Status, Refusal> {
        let module = self.add(closure);
        self.supervisor.deploy(deployment(self.kind, module, &policy)).await
    }

    /// Appends one event to a stream and says where it stands.
    pub(crate) async fn append(&self, stream: &str, data: &str) -> Position {
        self.world.append(stream, noted(data)).await
    }

    /// Waits until everything that is in the log is processed.
    pub(crate) async fn caught_up(&self) -> Status {
        let head = *self.world.log.head().borrow();
        bounded(self.supervisor.wait(self.kind, &name(), head)).await.unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        self.supervisor.status(self.kind, &name()).unwrap()
    }

    /// Waits until the status is as wished.
    pub(crate) async fn until(&self, wished: impl Fn(&Status) -> bool) -> Status {
        bounded(async {
            loop {
                let status = self.status();
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
        let read_model = self.supervisor.read_model(self.kind, &name(), Some("counts")).await.unwrap();
        let noted = read_model.get("counts", stream).await.unwrap();
        noted.map_or_else(String::new, |noted| noted.to_string())
    }

    pub(crate) async fn parked(&self) -> Vec<Parked> {
        let read_model = self.supervisor.read_model(self.kind, &name(), None).await.unwrap();
        read_model.parked(Position::START, usize::MAX).await.unwrap()
    }

    /// What the documents must be: the positions of each stream's events, in the order of the log.
    pub(crate) async fn expected(&self) -> BTreeMap<String, String> {
        noted_all(&self.world.events().await)
    }

    /// All documents.
    pub(crate) async fn documents(&self) -> BTreeMap<String, String> {
        documents(&*self.supervisor.read_model(self.kind, &name(), Some("counts")).await.unwrap()).await
    }
}

/// How the processor of a test is deployed.
pub(crate) fn deployment(kind: Kind, module: Digest, policy: &FailurePolicy) -> Deploy {
    Deploy {
        kind,
        name: name(),
        module,
        start: Start::Beginning,
        config: BTreeMap::new(),
        limits: Limits::default(),
        failure_policy: FailurePolicy { backoff_ms: 1, ..policy.clone() },
        grants: Grants::default(),
    }
}

/// An event with this data.
pub(crate) fn noted(data: &str) -> NewEvent {
    NewEvent {
        id: uuid::Uuid::now_v7(),
        event_type: EventType::new("Noted").unwrap(),
        schema_version: 1,
        time: Timestamp(0),
        data: Payload::Json(data.into()),
        metadata: Metadata::default(),
    }
}

/// The documents of a module that notes every one of some events.
pub(crate) fn noted_all<'e>(events: impl IntoIterator<Item = &'e Event>) -> BTreeMap<String, String> {
    let mut positions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        positions.entry(event.stream.to_string()).or_default().push(event.position.to_string());
    }
    positions.into_iter().map(|(stream, positions)| (stream, format!("[{}]", positions.join(",")))).collect()
}

/// All documents of a read model.
pub(crate) async fn documents(read_model: &dyn ReadModel) -> BTreeMap<String, String> {
    let scan = Scan { limit: usize::MAX, ..Scan::default() };
    let documents = read_model.scan("counts", &scan).await.unwrap();
    documents.into_iter().map(|document| (document.key, document.value.to_string())).collect()
}

/// The name of the processor of every test.
pub(crate) fn name() -> Name {
    Name::new("noted").unwrap()
}

/// The projection of every test of projections.
pub(crate) fn subject() -> Subject {
    Subject { kind: Kind::Projection, name: name() }
}

/// Fails a test that hangs instead of letting it hang.
pub(crate) async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("this should have ended long ago")
}
