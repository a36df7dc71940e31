//! Compiled components, in the engine of the host. Requests are refused: nothing leaves the test.

use crate::effects::{Effects, Scheduled};
use crate::native::{self, Setup};
use crate::{Sample, aggregate, event, upcaster};
use bytes::Bytes;
use lantern_core::documents::Scan;
use lantern_core::module::{Call, Cause, FailureKind, Library as _, Limits, Settings};
use lantern_core::read_model::ReadModelError;
use lantern_core::{
    AggregateInstance, BatchView, Clock, Decision, Digest, Document, Draft, Event, EventType, Grants, Instance, Kind,
    Metadata, Name, Payload, Position, Publication, Published, StreamName, SystemClock, Timer, Timestamp,
    Value as Text, Version, View,
    aggregate::{Command, Decide},
    upcasting::{Form, UpcasterInstance},
};
use lantern_guest::bindings::aggregate::exports::lantern::module::aggregates::Rejection;
use lantern_guest::bindings::lantern::module::types;
use lantern_guest::bindings::upcaster::exports::lantern::module::upcasters;
use lantern_guest::{Failure, Time};
use lantern_modules::Library;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// One for all tests of the process: an engine reserves much address space, and a component is compiled once.
static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Library::in_memory(clock).unwrap_or_else(|error| panic!("{error}"))
});

/// A projection or handler.
#[track_caller]
pub(crate) fn processor(path: &Path, kind: &str, setup: &Setup) -> impl native::Processor + use<> {
    let kind = if kind == "handler" { Kind::Handler } else { Kind::Projection };
    let mut settings = settings(kind, setup.config.clone());
    let topics = setup.topics.iter().map(|topic| topic.parse().unwrap_or_else(|error| panic!("{error}")));
    settings.grants.publish = topics.collect();
    let module = load(path, async |digest| LIBRARY.load(digest, &settings).await);
    Processor {
        categories: module.description().categories.clone(),
        instance: module.instance(),
        model: Arc::new(BatchView::new(Arc::new(Nothing), None)),
        position: 0,
        versions: BTreeMap::new(),
        asked: lantern_core::Effects::default(),
    }
}

/// An aggregate.
#[track_caller]
pub(crate) fn decider(path: &Path, stream: &str) -> impl aggregate::Decider + use<> {
    let settings = settings(Kind::Aggregate, BTreeMap::new());
    let module = load(path, async |digest| LIBRARY.load_aggregate(digest, &settings).await);
    let stream = StreamName::new(stream).unwrap_or_else(|error| panic!("{error}"));
    Decider { instance: module.instance(&stream), stream }
}

/// An upcaster.
#[track_caller]
pub(crate) fn stepper(path: &Path) -> impl upcaster::Stepper + use<> {
    let settings = settings(Kind::Upcaster, BTreeMap::new());
    let module = load(path, async |digest| LIBRARY.load_upcaster(digest, &settings).await);
    Stepper { steps: module.description().steps.clone(), instance: module.instance() }
}

#[track_caller]
fn load<M, E: std::fmt::Display>(path: &Path, load: impl AsyncFnOnce(Digest) -> Result<M, E>) -> M {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime could be started: {error}"));
    runtime.block_on(async {
        let kept = LIBRARY.push(Bytes::from(bytes)).await;
        let kept = kept.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        load(kept.digest).await.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    })
}

/// Everything is granted but real time, real randomness and any host that exists: a test sees the same in every run.
fn settings(kind: Kind, config: BTreeMap<String, String>) -> Settings {
    let mut grants = Grants::default();
    if kind == Kind::Handler {
        grants = Grants { emit: true, schedule: true, http: vec![nowhere()], ..grants };
    }
    let name = Name::new("tested").unwrap_or_else(|error| panic!("{error}"));
    Settings { kind, name, limits: Limits { deadline_ms: 10_000, ..Limits::default() }, config, grants }
}

/// No name ends in `invalid`.
fn nowhere() -> lantern_core::grants::Origin {
    "https://nowhere.invalid".parse().unwrap_or_else(|error| panic!("{error}"))
}

/// A read model without documents, below those of the test.
struct Nothing;

impl View for Nothing {
    fn get(&self, _: &str, _: &str) -> Result<Option<Text>, ReadModelError> {
        Ok(None)
    }

    fn scan(&self, _: &str, _: &Scan) -> Result<Vec<Document>, ReadModelError> {
        Ok(Vec::new())
    }
}

struct Processor {
    categories: Vec<String>,
    instance: Box<dyn Instance>,
    model: Arc<BatchView>,
    position: u64,
    versions: BTreeMap<String, u64>,
    /// What the last call asked for.
    asked: lantern_core::Effects,
}

impl native::Processor for Processor {
    fn put(&mut self, collection: &str, key: &str, document: &Value) {
        let value = Some(document.to_string().into());
        self.model.fold(vec![lantern_core::Write { collection: collection.into(), key: key.into(), value }]);
    }

    fn handle(&mut self, stream: &str, event: &Sample, schema_version: u32, time: Time) -> Result<(), Failure> {
        self.position += 1;
        let version = self.versions.entry(stream.to_owned()).or_default();
        *version += 1;
        self.asked = lantern_core::Effects::default();
        let stream = StreamName::new(stream).unwrap_or_else(|error| panic!("{error}"));
        if !self.categories.is_empty() && !self.categories.iter().any(|own| own == stream.category()) {
            return Ok(());
        }
        let event = core_event(&stream, event, schema_version, *version, self.position, time);
        let call = Call { event: &event, cause: Cause::Live, attempt: 1, trace: None };
        let view: Arc<dyn View> = self.model.clone();
        let mut effects = self.instance.handle(&call, &view).result.map_err(|failure| match failure.kind {
            FailureKind::Transient => Failure::transient(failure),
            _ => Failure::permanent(failure),
        })?;
        self.model.fold(std::mem::take(&mut effects.writes));
        self.asked = effects;
        Ok(())
    }

    fn documents(&self, collection: &str) -> BTreeMap<String, Value> {
        let all = Scan { limit: usize::MAX, ..Scan::default() };
        let documents = self.model.scan(collection, &all).unwrap_or_else(|error| panic!("{error}"));
        documents.into_iter().map(|document| (document.key, parse(&document.value))).collect()
    }

    fn effects(&self) -> Effects {
        let mut effects = Effects::default();
        let emitted = self.asked.emitted.iter();
        effects.emitted = emitted.map(|own| (own.stream.as_str().to_owned(), sample(&own.event))).collect();
        for Publication { bus, destination, content } in &self.asked.published {
            if let Published::Draft(own) = content {
                let (bus, topic) = (bus.to_string(), destination.topic.to_string());
                effects.published.push((bus, topic, own.stream.as_str().to_owned(), sample(&own.event)));
            }
        }
        for timer in &self.asked.timers {
            match timer {
                Timer::Set { key, due, emission } => effects.scheduled.push(Scheduled {
                    key: key.to_string(),
                    time: Time::from_nanoseconds(due.0),
                    stream: emission.stream.as_str().to_owned(),
                    event: sample(&emission.event),
                }),
                Timer::Cancel { key } => effects.cancelled.push(key.to_string()),
            }
        }
        effects
    }
}

struct Decider {
    instance: Box<dyn AggregateInstance>,
    stream: StreamName,
}

impl aggregate::Decider for Decider {
    fn evolve(&mut self, event: &Sample, schema_version: u32, version: u64, time: Time) -> Result<(), String> {
        let event = core_event(&self.stream, event, schema_version, version, version, time);
        self.instance.evolve(&[event]).map_err(|failure| failure.message)
    }

    #[track_caller]
    fn decide(&mut self, command: &Sample, time: Time) -> Result<Vec<Sample>, Rejection> {
        let state = self.instance.snapshot().unwrap_or_else(|failure| panic!("no snapshot: {failure}"));
        self.instance.restore(&state).unwrap_or_else(|failure| panic!("the snapshot cannot be read: {failure}"));
        let command = Command {
            id: Uuid::from_u128(1),
            stream: self.stream.clone(),
            command_type: event_type(&command.name),
            data: Payload::Json(command.data.to_string().into()),
            received_at: Timestamp(time.nanoseconds()),
            metadata: metadata(&command.metadata),
        };
        let decided = self.instance.decide(&Decide { news: &[], command: &command, attempt: 1, trace: None });
        match decided.result.unwrap_or_else(|failure| panic!("the command failed: {failure}")) {
            Decision::Accepted(events) => Ok(events.iter().map(sample).collect()),
            Decision::Rejected(rejection) => Err(Rejection {
                code: rejection.code,
                message: rejection.message,
                details: rejection.details.map(|details| details.to_string()),
            }),
        }
    }

    fn state(&mut self) -> Value {
        let state = self.instance.snapshot().unwrap_or_else(|failure| panic!("no snapshot: {failure}"));
        serde_json::from_slice(&state).unwrap_or(Value::Null)
    }
}

struct Stepper {
    steps: Vec<lantern_core::upcasting::Step>,
    instance: Box<dyn UpcasterInstance>,
}

impl upcaster::Stepper for Stepper {
    fn steps(&self) -> Vec<upcasters::Step> {
        let step = |step: &lantern_core::upcasting::Step| upcasters::Step {
            event_type: step.event_type.clone(),
            schema_version: step.schema_version,
            to_type: step.to_type.clone(),
            to_version: step.to_version,
        };
        self.steps.iter().map(step).collect()
    }

    fn step(&mut self, form: upcasters::Form) -> Result<upcasters::Form, String> {
        let types::Payload::Json(text) = form.data else { return Err("the data is not JSON".to_owned()) };
        let stream = StreamName::new("Older-1").unwrap_or_else(|error| panic!("{error}"));
        let older = event(form.event_type, parse(&text));
        let whole = core_event(&stream, &older, form.schema_version, 1, 1, crate::BEGIN);
        let form = Form {
            event_type: whole.event_type.clone(),
            schema_version: form.schema_version,
            data: whole.data.clone(),
        };
        let form = self.instance.upcast(&whole, &form).map_err(|failure| failure.message)?;
        Ok(upcasters::Form {
            event_type: form.event_type.as_str().to_owned(),
            schema_version: form.schema_version,
            content_type: None,
            data: types::Payload::Json(String::from_utf8_lossy(form.data.as_bytes()).into_owned()),
        })
    }
}

fn core_event(
    stream: &StreamName,
    event: &Sample,
    schema_version: u32,
    version: u64,
    position: u64,
    time: Time,
) -> Event {
    Event {
        id: Uuid::from_u128(position.into()),
        event_type: event_type(&event.name),
        schema_version,
        stream: stream.clone(),
        version: Version(version),
        position: Position(position),
        time: Timestamp(time.nanoseconds()),
        data: Payload::Json(event.data.to_string().into()),
        metadata: metadata(&event.metadata),
    }
}

fn event_type(name: &str) -> EventType {
    EventType::new(name).unwrap_or_else(|error| panic!("{error}"))
}

fn metadata(pairs: &[(String, String)]) -> Metadata {
    let mut metadata = Metadata::default();
    let mut extra = BTreeMap::new();
    for (key, value) in pairs {
        match key.as_str() {
            "correlation-id" => metadata.correlation_id = Some(value.as_str().into()),
            "causation-id" => metadata.causation_id = Some(value.as_str().into()),
            "tenant" => metadata.tenant = Some(value.as_str().into()),
            "actor" => metadata.actor = Some(value.as_str().into()),
            _ => {
                extra.insert(key.clone(), value.clone());
            }
        }
    }
    metadata.extra = (!extra.is_empty()).then(|| Arc::new(extra));
    metadata
}

fn sample(draft: &Draft) -> Sample {
    let data = match &draft.data {
        Payload::Json(text) => parse(text),
        Payload::Bytes { data, .. } => json!(data.to_vec()),
    };
    let extra = draft.extra.iter().flat_map(|extra| extra.iter());
    let metadata = extra.map(|(key, value)| (key.clone(), value.clone())).collect();
    Sample { metadata, ..event(draft.event_type.as_str(), data).version(draft.schema_version) }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
