//! A host for tests: memory stores, a library of accounts, a log and snapshots that fail on demand.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_aggregates::{Aggregates, Answer, Capacity, CommandError, Counters, Deploy, Ports, Refusal, Status};
use lantern_core::{
    AggregateModule, Append, Command, Digest, Event, EventType, Expected, GuestThreads, Journal, Library, Log,
    Metadata, Module, NewEvent, Payload, SystemClock, Timestamp, Version,
    journal::SnapshotPolicy,
    log::Range,
    module::{Kept, LibraryError, Limits, Settings},
    upcasting::UpcasterModule,
};
use lantern_stores::memory;
use uuid::Uuid;

use crate::{
    account::{Account, State},
    faults::{Faulty, Ledger, Older},
};

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
        self.library.0.lock().unwrap().insert(account.digest(), account.clone());
        account.digest()
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
