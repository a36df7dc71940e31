//! Modules for tests: closures, and the library that keeps them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    AggregateModule, Call, Digest, Draft, Effects, Emission, Event, EventType, Instance, Library, Migration, Module,
    Outcome, Payload, Timer, Timestamp, View, Write,
    module::{Described, Description, Failure, FailureKind, Kept, LibraryError, Settings},
    upcasting::UpcasterModule,
};

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
            schema_versions: BTreeMap::new(),
            migrations: Vec::new(),
            has_tables: false,
        };
        Self { digest: Digest::of(name.as_bytes()), description, handle: Arc::new(handle) }
    }

    pub(crate) fn wanting(mut self, category: &str) -> Self {
        self.description.categories.push(category.into());
        self
    }

    /// The same with SQL tables.
    pub(crate) fn with_tables(mut self, migrations: Vec<Migration>) -> Self {
        (self.description.migrations, self.description.has_tables) = (migrations, true);
        self
    }

    /// What it does with an event.
    pub(crate) fn handle_directly(&self, event: &Event, view: &dyn View) -> Result<Effects, Failure> {
        (self.handle)(event, view)
    }

    pub(crate) fn of_type(mut self, event_type: &str) -> Self {
        self.description.event_types.push(event_type.into());
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
    let write = Write { collection: "counts".into(), key: key.into(), value: Some(value.into()) };
    Effects { writes: vec![write], ..Effects::default() }
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
pub(crate) struct Closures(Mutex<HashMap<Digest, Closure>>);

#[async_trait]
impl Library for Closures {
    async fn push(&self, _: Bytes) -> Result<Kept, LibraryError> {
        Err(LibraryError::Refused("closures are added, not pushed".into()))
    }

    async fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        Ok(Vec::new())
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        let closures = self.0.lock().unwrap();
        let closure = closures.get(&digest).ok_or(LibraryError::Unknown(digest))?;
        Ok(Kept {
            digest,
            size: 0,
            pushed_at: Timestamp(0),
            description: Described::Projection(closure.description.clone()),
            world: "projection".into(),
            imports: Vec::new(),
            exports: Vec::new(),
        })
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        self.0.lock().unwrap().remove(&digest).map(|_| ()).ok_or(LibraryError::Unknown(digest))
    }

    async fn load(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn Module>, LibraryError> {
        let closure = self.0.lock().unwrap().get(&digest).cloned().ok_or(LibraryError::Unknown(digest))?;
        Ok(Arc::new(closure))
    }

    async fn load_aggregate(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn AggregateModule>, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }

    async fn load_upcaster(&self, digest: Digest, _: &Settings) -> Result<Arc<dyn UpcasterModule>, LibraryError> {
        Err(LibraryError::Unknown(digest))
    }
}

impl Closures {
    pub(crate) fn add(&self, closure: Closure) -> Digest {
        let digest = closure.digest;
        self.0.lock().unwrap().insert(digest, closure);
        digest
    }
}

/// An event for a stream, of type `Told`.
pub(crate) fn told(stream: &str, data: impl Into<String>) -> Emission {
    let data: String = data.into();
    let event = Draft {
        event_type: EventType::new("Told").unwrap(),
        schema_version: 1,
        data: Payload::Json(data.into()),
        extra: None,
    };
    Emission { stream: stream.parse().unwrap(), event }
}

/// An event scheduled for a time, of type `Told`, for the stream `Due-KEY`.
pub(crate) fn due(key: &str, due: Timestamp, data: impl Into<String>) -> Timer {
    Timer::Set { key: key.into(), due, emission: told(&format!("Due-{key}"), data) }
}
