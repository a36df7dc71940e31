//! A host for tests: memory stores, a library of closures, a log and snapshots that fail on demand.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_aggregates::{Aggregates, Answer, Capacity, CommandError, Counters, Deploy, Ports, Refusal, Status};
use lantern_core::{
    AggregateInstance, AggregateModule, Append, Appended, Command, Decision, Digest, Draft, Event, EventId, EventType,
    Expected, Filter, GuestThreads, Journal, Library, Log, Metadata, Module, NewEvent, Page, Payload, Position,
    Rejection, Snapshot, Snapshots, StreamName, SystemClock, Timestamp, Upcasting, Version, Witness,
    aggregate::{AggregateDescription, Decide, Decided},
    journal::SnapshotPolicy,
    log::{AppendError, LogError, Range},
    module::{Failure, FailureKind, Kept, LibraryError, Limits, Settings},
    snapshot::SnapshotError,
    upcasting::{Accepted, UpcasterModule},
};
use lantern_stores::memory;
use tokio::sync::watch;
use uuid::Uuid;

/// What a module of a test does at an event beside folding it.
type OnEvent = dyn Fn(&Event) -> Result<(), Failure> + Send + Sync;

/// What it does before a decision.
type OnCommand = dyn Fn(&Command) -> Result<(), Failure> + Send + Sync;

/// A module that keeps an account.
///
/// `Add` n adds n; `Take` n takes n, or is rejected when there is not so much; `Split` n adds 1 n times; `Rest` does
/// nothing.
#[derive(Clone)]
pub(crate) struct Account {
    digest: Digest,
    description: AggregateDescription,
    behaviour: Arc<Behaviour>,
}

struct Behaviour {
    on_event: Box<OnEvent>,
    on_command: Box<OnCommand>,
    on_restore: Option<FailureKind>,
    memory: u64,
    living: Arc<AtomicU64>,
}

impl Account {
    pub(crate) fn new(name: &str) -> Self {
        let description = AggregateDescription {
            name: name.into(),
            version: "1".into(),
            commands: ["Add", "Take", "Split", "Rest"].map(String::from).into(),
            state_version: 1,
            schema_versions: Accepted::new(),
        };
        let behaviour = Behaviour {
            on_event: Box::new(|_| Ok(())),
            on_command: Box::new(|_| Ok(())),
            on_restore: None,
            memory: 100,
            living: Arc::default(),
        };
        Self { digest: Digest::of(name.as_bytes()), description, behaviour: Arc::new(behaviour) }
    }

    fn change(mut self, change: impl FnOnce(&mut Behaviour)) -> Self {
        change(Arc::get_mut(&mut self.behaviour).expect("nobody has it yet"));
        self
    }

    pub(crate) fn at_event(self, on_event: impl Fn(&Event) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        self.change(|own| own.on_event = Box::new(on_event))
    }

    pub(crate) fn at_command(
        self,
        on_command: impl Fn(&Command) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        self.change(|own| own.on_command = Box::new(on_command))
    }

    pub(crate) fn refusing_snapshots(self, kind: FailureKind) -> Self {
        self.change(|own| own.on_restore = Some(kind))
    }

    pub(crate) fn of_size(self, memory: u64) -> Self {
        self.change(|own| own.memory = memory)
    }

    pub(crate) fn state_version(mut self, version: u32) -> Self {
        self.description.state_version = version;
        self
    }

    pub(crate) fn accepting(mut self, event_type: &str, version: u32) -> Self {
        self.description.schema_versions.insert(event_type.into(), version);
        self
    }

    /// How many instances there are.
    pub(crate) fn living(&self) -> Arc<AtomicU64> {
        self.behaviour.living.clone()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

impl AggregateModule for Account {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn description(&self) -> &AggregateDescription {
        &self.description
    }

    fn instance(&self, stream: &StreamName) -> Box<dyn AggregateInstance> {
        self.behaviour.living.fetch_add(1, Ordering::Relaxed);
        Box::new(Instance { stream: stream.clone(), state: State::default(), behaviour: self.behaviour.clone() })
    }
}

struct Instance {
    stream: StreamName,
    state: State,
    behaviour: Arc<Behaviour>,
}

/// What is on an account, and how many events it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) sum: u64,
    pub(crate) events: u64,
}

impl State {
    pub(crate) fn fold(&mut self, event: &Event) {
        let amount = number(&event.data);
        match event.event_type.as_str() {
            "Added" => self.sum += amount,
            "Taken" => self.sum = self.sum.checked_sub(amount).expect("nothing is taken that is not there"),
            _ => {}
        }
        self.events += 1;
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (sum, events) = std::str::from_utf8(bytes).ok()?.split_once(',')?;
        Some(Self { sum: sum.parse().ok()?, events: events.parse().ok()? })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.behaviour.living.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AggregateInstance for Instance {
    fn restore(&mut self, state: &[u8]) -> Result<(), Failure> {
        if let Some(kind) = self.behaviour.on_restore {
            return Err(Failure::new(kind, "no snapshot, please"));
        }
        self.state = State::read(state).ok_or_else(|| Failure::new(FailureKind::Permanent, "this is no state"))?;
        Ok(())
    }

    fn evolve(&mut self, events: &[Event]) -> Result<(), Failure> {
        for event in events {
            assert_eq!(event.stream, self.stream, "an event of another stream");
            assert_eq!(event.version.0, self.state.events + 1, "events come in order, each once");
            (self.behaviour.on_event)(event)?;
            self.state.fold(event);
        }
        Ok(())
    }

    fn decide(&mut self, call: &Decide<'_>) -> Decided {
        let result = (self.behaviour.on_command)(call.command).map(|()| decide(self.state, call.command));
        Decided { result, witness: Witness::default(), trace: None }
    }

    fn snapshot(&mut self) -> Result<Bytes, Failure> {
        Ok(format!("{},{}", self.state.sum, self.state.events).into())
    }

    fn memory(&self) -> u64 {
        self.behaviour.memory
    }
}

pub(crate) fn decide(state: State, command: &Command) -> Decision {
    let amount = number(&command.data);
    let draft = |event_type: &str, amount: u64| Draft {
        event_type: EventType::new(event_type).unwrap(),
        schema_version: 1,
        data: Payload::Json(amount.to_string().into()),
        extra: None,
    };
    match command.command_type.as_str() {
        "Add" => Decision::Accepted(vec![draft("Added", amount)]),
        "Take" if amount > state.sum => Decision::Rejected(Rejection {
            code: "too-little".into(),
            message: format!("there is {}", state.sum),
            details: None,
        }),
        "Take" => Decision::Accepted(vec![draft("Taken", amount)]),
        "Split" => Decision::Accepted((0..amount).map(|_| draft("Added", 1)).collect()),
        _ => Decision::Accepted(Vec::new()),
    }
}

fn number(data: &Payload) -> u64 {
    std::str::from_utf8(data.as_bytes()).unwrap().parse().unwrap()
}

pub(crate) fn trap() -> Failure {
    Failure { backtrace: Some("at the test".into()), ..Failure::new(FailureKind::Trap, "a trap of the test") }
}

/// Modules by digest.
#[derive(Default)]
struct Accounts(Mutex<HashMap<Digest, Account>>);

#[async_trait]
impl Library for Accounts {
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
        Err(LibraryError::Unknown(digest))
    }

    async fn load_aggregate(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn AggregateModule>, LibraryError> {
        let account = self.0.lock().unwrap().get(&digest).cloned().ok_or(LibraryError::Unknown(digest))?;
        Ok(Arc::new(account))
    }

    async fn load_upcaster(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn UpcasterModule>, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }
}

/// A log whose answers get lost, and that counts what is read.
pub(crate) struct Ledger {
    inner: memory::Log,
    /// How many of the next appends take effect without an answer.
    pub(crate) unheard: AtomicU32,
    /// How many events of streams were read.
    pub(crate) read: AtomicU64,
}

#[async_trait]
impl Log for Ledger {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let places = self.inner.append(appends).await?;
        let lost = self.unheard.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if lost.is_ok() { Err(AppendError::Unavailable("a fault of the test".into())) } else { Ok(places) }
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.inner.read(after, filter, limit).await
    }

    async fn read_backward(&self, before: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.inner.read_backward(before, filter, limit).await
    }

    async fn read_stream(&self, stream: &StreamName, range: Range) -> Result<Vec<Event>, LogError> {
        let events = self.inner.read_stream(stream, range).await?;
        self.read.fetch_add(events.len() as u64, Ordering::Relaxed);
        Ok(events)
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, LogError> {
        self.inner.stream_version(stream).await
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, LogError> {
        self.inner.event(id).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }
}

/// Snapshots whose storage fails or stands still on demand.
#[derive(Default)]
pub(crate) struct Faulty {
    kept: Mutex<BTreeMap<StreamName, Snapshot>>,
    pub(crate) is_failing: AtomicBool,
    /// Held by a test, it stops writers.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

impl Faulty {
    pub(crate) fn of(&self, stream: &str) -> Option<Snapshot> {
        self.kept.lock().unwrap().get(&stream.parse().unwrap()).cloned()
    }

    pub(crate) fn change(&self, stream: &str, change: impl FnOnce(&mut Snapshot)) {
        change(self.kept.lock().unwrap().get_mut(&stream.parse().unwrap()).unwrap());
    }

    fn check(&self) -> Result<(), SnapshotError> {
        let is_failing = self.is_failing.load(Ordering::Relaxed);
        if is_failing { Err(SnapshotError("a fault of the test".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Snapshots for Faulty {
    async fn get(&self, stream: &StreamName) -> Result<Option<Snapshot>, SnapshotError> {
        self.check()?;
        Ok(self.kept.lock().unwrap().get(stream).cloned())
    }

    async fn put(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        drop(self.gate.lock().await);
        self.check()?;
        let mut kept = self.kept.lock().unwrap();
        if kept.get(&snapshot.stream).is_none_or(|there| there.version <= snapshot.version) {
            kept.insert(snapshot.stream.clone(), snapshot);
        }
        Ok(())
    }

    async fn delete(&self, stream: &StreamName) -> Result<bool, SnapshotError> {
        Ok(self.kept.lock().unwrap().remove(stream).is_some())
    }

    async fn delete_category(&self, category: &str) -> Result<u64, SnapshotError> {
        let mut kept = self.kept.lock().unwrap();
        let before = kept.len();
        kept.retain(|stream, _| stream.category() != category);
        Ok((before - kept.len()) as u64)
    }
}

/// A chain of one step: `Older` of version 1 becomes `Added` of version 2, if the reader accepts that much.
struct Older;

impl Upcasting for Older {
    fn widen(&self, filter: Filter) -> Filter {
        filter
    }

    fn upcast<'e>(&self, event: &'e Event, accepted: &Accepted) -> Result<Cow<'e, Event>, Failure> {
        if event.event_type.as_str() != "Older" || accepted.get("Added").is_some_and(|newest| *newest < 2) {
            return Ok(Cow::Borrowed(event));
        }
        let event_type = EventType::new("Added").unwrap();
        Ok(Cow::Owned(Event { event_type, schema_version: 2, ..event.clone() }))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

/// A host for tests.
pub(crate) struct Host {
    pub(crate) log: Arc<Ledger>,
    pub(crate) snapshots: Arc<Faulty>,
    journal: Arc<dyn Journal>,
    library: Arc<Accounts>,
    capacity: Capacity,
    pub(crate) aggregates: Aggregates,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(Capacity::default()).await
    }

    pub(crate) async fn with(capacity: Capacity) -> Self {
        let inner = memory::Log::new();
        let log = Arc::new(Ledger { inner, unheard: AtomicU32::new(0), read: AtomicU64::new(0) });
        let snapshots = Arc::<Faulty>::default();
        let journal: Arc<dyn Journal> = Arc::new(memory::Journal::new());
        let library = Arc::new(Accounts::default());
        let aggregates = aggregates(&log, &snapshots, &journal, &library, capacity).await.unwrap();
        Self { log, snapshots, journal, library, capacity, aggregates }
    }

    /// Ends it and starts again from the same stores.
    pub(crate) async fn restart(&mut self) {
        bounded(self.aggregates.shutdown()).await;
        self.aggregates =
            aggregates(&self.log, &self.snapshots, &self.journal, &self.library, self.capacity).await.unwrap();
    }

    /// A second host on the same stores, which knows nothing of the first one.
    pub(crate) async fn other(&self) -> Aggregates {
        aggregates(&self.log, &self.snapshots, &self.journal, &self.library, self.capacity).await.unwrap()
    }

    /// Puts another log in the place of this one.
    pub(crate) async fn replace_log(&mut self) {
        let inner = memory::Log::new();
        self.log = Arc::new(Ledger { inner, unheard: AtomicU32::new(0), read: AtomicU64::new(0) });
        self.restart().await;
    }

    pub(crate) fn add(&self, account: &Account) -> Digest {
        self.library.0.lock().unwrap().insert(account.digest, account.clone());
        account.digest
    }

    pub(crate) fn forget_module(&self, digest: Digest) {
        self.library.0.lock().unwrap().remove(&digest);
    }

    pub(crate) async fn deploy(&self, account: &Account) -> Status {
        self.deploy_with(account, SnapshotPolicy::Never).await.unwrap()
    }

    pub(crate) async fn deploy_with(&self, account: &Account, snapshots: SnapshotPolicy) -> Result<Status, Refusal> {
        let module = self.add(account);
        let (name, config, limits) = ("Account".parse().unwrap(), BTreeMap::new(), Limits::default());
        self.aggregates.deploy(Deploy { name, module, config, limits, snapshots }).await
    }

    pub(crate) async fn send(&self, stream: &str, command: &str, amount: u64) -> Result<Answer, CommandError> {
        self.aggregates.send_fresh(self::command(Uuid::now_v7(), stream, command, amount), None).await
    }

    pub(crate) async fn add_to(&self, stream: &str, amount: u64) -> Answer {
        self.send(stream, "Add", amount).await.unwrap()
    }

    /// Appends events past the host.
    pub(crate) async fn outside(&self, stream: &str, event_type: &str, amount: u64) {
        let event = NewEvent {
            id: Uuid::now_v7(),
            event_type: EventType::new(event_type).unwrap(),
            schema_version: 1,
            time: Timestamp(0),
            data: Payload::Json(amount.to_string().into()),
            metadata: Metadata::default(),
        };
        let append = Append { stream: stream.parse().unwrap(), expected: Expected::Any, events: vec![event] };
        self.log.inner.append(vec![append]).await.unwrap();
    }

    pub(crate) fn counters(&self) -> Counters {
        self.aggregates.status(&name()).unwrap().counters
    }

    /// The state of an account by a fold of the log that has nothing to do with the host.
    pub(crate) async fn folded(&self, stream: &str) -> State {
        let mut state = State::default();
        for event in self.events(stream).await {
            state.fold(&event);
        }
        state
    }

    pub(crate) async fn events(&self, stream: &str) -> Vec<Event> {
        self.log.inner.read_stream(&stream.parse().unwrap(), Range::default()).await.unwrap()
    }

    /// The state of an account as the host shows it.
    pub(crate) async fn shown(&self, stream: &str, version: Option<u64>) -> Result<State, Refusal> {
        let shown = self.aggregates.show(&stream.parse().unwrap(), version.map(Version)).await?;
        Ok(State::read(&shown.state).unwrap())
    }

    /// Waits until the counters are as wished.
    pub(crate) async fn until(&self, wished: impl Fn(&Counters) -> bool) -> Counters {
        bounded(async {
            loop {
                let counters = self.counters();
                if wished(&counters) {
                    return counters;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
    }
}

async fn aggregates(
    log: &Arc<Ledger>,
    snapshots: &Arc<Faulty>,
    journal: &Arc<dyn Journal>,
    library: &Arc<Accounts>,
    capacity: Capacity,
) -> Result<Aggregates, Refusal> {
    let ports = Ports {
        log: log.clone(),
        snapshots: snapshots.clone(),
        library: library.clone(),
        journal: journal.clone(),
        clock: Arc::new(SystemClock),
        upcasting: Arc::new(Older),
        threads: Arc::new(GuestThreads::new().unwrap()),
    };
    Aggregates::start(ports, capacity).await
}

/// The aggregate of every test.
pub(crate) fn name() -> lantern_core::Name {
    "Account".parse().unwrap()
}

pub(crate) fn command(id: Uuid, stream: &str, command_type: &str, amount: u64) -> Command {
    Command {
        id,
        stream: stream.parse().unwrap(),
        command_type: EventType::new(command_type).unwrap(),
        data: Payload::Json(amount.to_string().into()),
        received_at: Timestamp(1),
        metadata: Metadata::default(),
    }
}

pub(crate) fn every(events: u64) -> SnapshotPolicy {
    SnapshotPolicy::Every(events.try_into().unwrap())
}

/// Fails a test that hangs instead of letting it hang.
pub(crate) async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("this should have ended long ago")
}
