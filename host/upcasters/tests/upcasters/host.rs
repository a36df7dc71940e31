//! A host for tests: memory stores and a library of closures.

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
    AggregateModule, Append, Digest, Event, EventType, Expected, GuestThreads, Journal, Library, Log, Metadata, Module,
    Name, NewEvent, Payload, Position, Timestamp,
    log::Range,
    module::{Failure, FailureKind, Kept, LibraryError, Limits, Settings},
    upcasting::{Accepted, Form, Step, UpcasterDescription, UpcasterInstance, UpcasterModule},
};
use lantern_stores::memory;
use lantern_upcasters::{Deploy, Ports, Refusal, Status, Upcasters};

/// What a module of a test makes of a form.
type Make = dyn Fn(&Form) -> Result<Form, Failure> + Send + Sync;

/// A module made of a closure.
#[derive(Clone)]
pub(crate) struct Closure {
    digest: Digest,
    description: UpcasterDescription,
    make: Arc<Make>,
    /// How many instances were made.
    pub(crate) instances: Arc<AtomicU64>,
}

impl Closure {
    /// A module that takes these steps, each written as `Type version -> Type version`.
    pub(crate) fn new(
        name: &str,
        steps: &[&str],
        make: impl Fn(&Form) -> Result<Form, Failure> + Send + Sync + 'static,
    ) -> Self {
        let steps = steps.iter().map(|text| step(text)).collect();
        let description = UpcasterDescription { name: name.into(), version: "1".into(), steps };
        let digest = Digest::of(name.as_bytes());
        Self { digest, description, make: Arc::new(make), instances: Arc::default() }
    }

    /// A module that takes its steps as declared, and adds a note of its name to the data.
    pub(crate) fn noting(name: &str, steps: &[&str]) -> Self {
        let (note, declared) = (name.to_owned(), steps.iter().map(|text| step(text)).collect::<Vec<_>>());
        Self::new(name, steps, move |form| {
            let taken = |step: &&Step| {
                step.event_type == form.event_type.as_str() && step.schema_version == form.schema_version
            };
            let step = declared.iter().find(taken).expect("only steps that were declared are asked for");
            Ok(Form { data: noted(&form.data, &note), ..to(step) })
        })
    }

    /// The module `noting`, which fails for the data `"bad"`.
    pub(crate) fn failing(name: &str, steps: &[&str], kind: FailureKind) -> Self {
        let noting = Self::noting(name, steps);
        Self::new(name, steps, move |form| {
            if form.data.as_bytes() == b"\"bad\"" {
                return Err(Failure { backtrace: Some("0: upcast".into()), ..Failure::new(kind, "it is bad") });
            }
            (noting.make)(form)
        })
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

impl UpcasterModule for Closure {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn description(&self) -> &UpcasterDescription {
        &self.description
    }

    fn instance(&self) -> Box<dyn UpcasterInstance> {
        self.instances.fetch_add(1, Ordering::Relaxed);
        Box::new(self.clone())
    }
}

impl UpcasterInstance for Closure {
    fn upcast(&mut self, _: &Event, form: &Form) -> Result<Form, Failure> {
        (self.make)(form)
    }
}

fn step(text: &str) -> Step {
    let words: Vec<&str> = text.split(' ').collect();
    let [event_type, version, "->", to_type, to_version] = words[..] else { panic!("`{text}` is no step") };
    Step {
        event_type: event_type.into(),
        schema_version: version.parse().unwrap(),
        to_type: to_type.into(),
        to_version: to_version.parse().unwrap(),
    }
}

/// The form a step declares, without data.
fn to(step: &Step) -> Form {
    let event_type = EventType::new(step.to_type.as_str()).unwrap();
    Form { event_type, schema_version: step.to_version, data: Payload::Json("null".into()) }
}

/// `"a"` noted by `b` is `"a b"`; bytes grow by their last one.
fn noted(data: &Payload, note: &str) -> Payload {
    match data {
        Payload::Json(text) => Payload::Json(format!("\"{} {note}\"", text.trim_matches('"')).into()),
        Payload::Bytes { content_type, data } => {
            let grown = [&data[..], note.as_bytes()].concat();
            Payload::Bytes { content_type: content_type.clone(), data: grown.into() }
        }
    }
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
        Err(LibraryError::Unknown(digest))
    }

    async fn load(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn Module>, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }

    async fn load_aggregate(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn AggregateModule>, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }

    async fn load_upcaster(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn UpcasterModule>, LibraryError> {
        let closure = self.0.lock().unwrap().get(&digest).cloned().ok_or(LibraryError::Unknown(digest))?;
        Ok(Arc::new(closure))
    }
}

/// A host for tests.
pub(crate) struct Host {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) journal: Arc<dyn Journal>,
    library: Arc<Closures>,
    pub(crate) upcasters: Upcasters,
}

impl Host {
    pub(crate) async fn start() -> Self {
        let log: Arc<dyn Log> = Arc::new(memory::Log::new());
        let journal: Arc<dyn Journal> = Arc::new(memory::Journal::new());
        let library = Arc::new(Closures::default());
        let upcasters = upcasters(&log, &journal, &library).await;
        Self { log, journal, library, upcasters }
    }

    /// A second host on the same stores.
    pub(crate) async fn other(&self) -> Self {
        let (log, journal, library) = (self.log.clone(), self.journal.clone(), self.library.clone());
        let upcasters = upcasters(&log, &journal, &library).await;
        Self { log, journal, library, upcasters }
    }

    /// Waits until an event is seen as wished.
    pub(crate) async fn until_seen(&self, event: &Event, wished: &str) {
        let waiting = async {
            while self.seen(event, &[]) != wished {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it should have been seen so long ago");
    }

    /// Starts again from the same stores.
    pub(crate) async fn restart(&mut self) {
        self.upcasters = upcasters(&self.log, &self.journal, &self.library).await;
    }

    pub(crate) fn add(&self, closure: Closure) -> Digest {
        let digest = closure.digest;
        self.library.0.lock().unwrap().insert(digest, closure);
        digest
    }

    pub(crate) async fn deploy(&self, name: &str, closure: Closure) -> Result<Status, Refusal> {
        let module = self.add(closure);
        let config = BTreeMap::from([("key".into(), "value".into())]);
        let deploy = Deploy { name: self::name(name), module, config, limits: Limits::default() };
        self.upcasters.deploy(deploy).await
    }

    /// Appends an event and reads it back.
    pub(crate) async fn append(&self, event_type: &str, schema_version: u32, data: Payload) -> Event {
        let event = NewEvent {
            id: uuid::Uuid::now_v7(),
            event_type: EventType::new(event_type).unwrap(),
            schema_version,
            time: Timestamp(7),
            data,
            metadata: Metadata { tenant: Some("acme".into()), ..Metadata::default() },
        };
        let append = Append { stream: "Order-1".parse().unwrap(), expected: Expected::Any, events: vec![event] };
        let version = self.log.append(vec![append]).await.unwrap()[0].version;
        let range = Range { from: version, ..Range::default() };
        self.log.read_stream(&"Order-1".parse().unwrap(), range).await.unwrap().remove(0)
    }

    /// The event as a reader sees it, as `Type version data`.
    pub(crate) fn seen(&self, event: &Event, accepted: &[(&str, u32)]) -> String {
        match self.upcasters.upcasting().upcast(event, &self::accepted(accepted)) {
            Ok(event) => {
                let data = String::from_utf8_lossy(event.data.as_bytes()).replace('"', "");
                format!("{} {} {data}", event.event_type, event.schema_version)
            }
            Err(failure) => format!("{:?}: {failure}", failure.kind),
        }
    }

    /// Appends an event with the data `"raw"` and says how a reader sees it.
    pub(crate) async fn shows(&self, event_type: &str, schema_version: u32, accepted: &[(&str, u32)]) -> String {
        let event = self.append(event_type, schema_version, json("\"raw\"")).await;
        self.seen(&event, accepted)
    }

    pub(crate) fn head(&self) -> Position {
        *self.log.head().borrow()
    }
}

async fn upcasters(log: &Arc<dyn Log>, journal: &Arc<dyn Journal>, library: &Arc<Closures>) -> Upcasters {
    let ports = Ports {
        library: library.clone(),
        journal: journal.clone(),
        log: log.clone(),
        threads: Arc::new(GuestThreads::new().unwrap()),
    };
    Upcasters::start(ports).await.unwrap()
}

pub(crate) fn accepted(versions: &[(&str, u32)]) -> Accepted {
    versions.iter().map(|(event_type, version)| ((*event_type).into(), *version)).collect()
}

pub(crate) fn json(text: &str) -> Payload {
    Payload::Json(text.into())
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
