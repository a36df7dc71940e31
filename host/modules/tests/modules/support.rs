//! Guests, events, a read model in memory, and a library that all tests share.

use std::{
    collections::BTreeMap,
    env, fs,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use lantern_core::{
    BatchView, Call, Cause, Digest, Document, Event, EventType, Grants, Instance, Kind, Library as _, Metadata, Module,
    Name, Outcome, Payload, Position, StreamName, SystemClock, Timestamp, Value, Version, View,
    documents::Scan,
    module::{Failure, Limits, Settings},
    read_model::ReadModelError,
};
use lantern_modules::Library;
use uuid::Uuid;

/// The component of a guest, by the name of its package.
#[track_caller]
pub(crate) fn guest(package: &str) -> Bytes {
    // <target>/debug/deps/modules-<hash>
    let test_binary = env::current_exe().unwrap();
    let target = test_binary.ancestors().nth(3).unwrap();
    let path = target.join(format!("guests/wasm32-wasip2/release/{}.wasm", package.replace('-', "_")));
    let missing = |_| panic!("{} is not built: run `cargo xtask guests`", path.display());
    Bytes::from(fs::read(&path).unwrap_or_else(missing))
}

/// A library all tests share: an engine reserves much address space, and many at once would not find room.
pub(crate) fn library() -> Library {
    static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::in_memory(Arc::new(SystemClock)).unwrap());
    LIBRARY.clone()
}

pub(crate) fn settings() -> Settings {
    Settings {
        kind: Kind::Projection,
        name: Name::new("tested").unwrap(),
        limits: Limits { deadline_ms: 10_000, ..Limits::default() },
        config: BTreeMap::new(),
        grants: Grants::default(),
    }
}

/// A guest, pushed and loaded.
pub(crate) async fn load(package: &str, settings: &Settings) -> Arc<dyn Module> {
    let kept = library().push(guest(package)).await.unwrap();
    library().load(kept.digest, settings).await.unwrap()
}

/// An instance of a guest with the limits of [`settings`].
pub(crate) async fn instance(package: &str) -> Box<dyn Instance> {
    load(package, &settings()).await.instance()
}

/// The event at a position, in the stream `Order-1`.
pub(crate) fn event(position: u64, data: &str) -> Event {
    Event {
        id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + u128::from(position)),
        event_type: EventType::new("OrderPlaced").unwrap(),
        schema_version: 1,
        stream: StreamName::new("Order-1").unwrap(),
        version: Version(position),
        position: Position(position),
        time: Timestamp(1_700_000_000_123_456_789 + position as i64),
        data: Payload::Json(data.into()),
        metadata: Metadata::default(),
    }
}

pub(crate) fn call(event: &Event) -> Call<'_> {
    Call { event, cause: Cause::Live, attempt: 1, trace: None }
}

/// A read model without documents.
pub(crate) struct Nothing;

impl View for Nothing {
    fn get(&self, _: &str, _: &str) -> Result<Option<Value>, ReadModelError> {
        Ok(None)
    }

    fn scan(&self, _: &str, _: &Scan) -> Result<Vec<Document>, ReadModelError> {
        Ok(Vec::new())
    }
}

pub(crate) fn nothing() -> Arc<dyn View> {
    Arc::new(Nothing)
}

/// Handles an event on a read model without documents.
pub(crate) fn handle(instance: &mut Box<dyn Instance>, event: &Event) -> Outcome {
    instance.handle(&call(event), &nothing())
}

/// Why handling an event fails.
#[track_caller]
pub(crate) fn failure(instance: &mut Box<dyn Instance>, event: &Event) -> Failure {
    handle(instance, event).result.unwrap_err()
}

/// Handles events one after another, each on top of what those before it wrote, and gives all documents of a
/// collection at the end.
#[track_caller]
pub(crate) fn project(instance: &mut Box<dyn Instance>, events: &[Event], collection: &str) -> BTreeMap<String, Value> {
    let model = Arc::new(BatchView::new(nothing(), None));
    for event in events {
        let view: Arc<dyn View> = model.clone();
        model.fold(instance.handle(&call(event), &view).result.unwrap().writes);
    }
    let all = Scan { limit: usize::MAX, ..Scan::default() };
    model.scan(collection, &all).unwrap().into_iter().map(|document| (document.key, document.value)).collect()
}

/// The digest of some bytes that are no module.
pub(crate) fn unknown() -> Digest {
    Digest::of(b"nobody pushed this")
}
