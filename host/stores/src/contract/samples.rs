//! Events, appends and batches to try a store with.

use std::{collections::BTreeMap, sync::Arc};

use lantern_core::{
    Append, Appended, Batch, Digest, Documents, Event, EventId, EventType, Expected, Filter, Generation, Kind, Log,
    Metadata, NewEvent, Payload, Position, Scheduled, Snapshot, StreamName, Subject, Timestamp, TraceContext, Value,
    Version, View, log::AppendError, read_model::ReadModelError,
};

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// A new event of a type, with an id of its own.
pub(crate) fn event(event_type: &str) -> NewEvent {
    NewEvent {
        id: EventId::now_v7(),
        event_type: EventType::new(event_type).unwrap(),
        schema_version: 1,
        time: Timestamp(1_700_000_000_000_000_000),
        data: json("{}"),
        metadata: Metadata::default(),
    }
}

pub(crate) fn json(text: &str) -> Payload {
    Payload::Json(text.into())
}

/// An append to one stream.
pub(crate) fn to(name: &str, expected: Expected, events: Vec<NewEvent>) -> Append {
    Append { stream: stream(name), expected, events }
}

/// Appends events to one stream, whatever its version.
pub(crate) async fn append(log: &dyn Log, name: &str, events: Vec<NewEvent>) -> Vec<Appended> {
    log.append(vec![to(name, Expected::Any, events)]).await.unwrap()
}

/// Appends so many events to one stream.
pub(crate) async fn append_some(log: &dyn Log, name: &str, count: usize) -> Vec<Appended> {
    append(log, name, (0..count).map(|_| event("Counted")).collect()).await
}

/// Tries to append one event to one stream.
pub(crate) async fn try_append(
    log: &dyn Log,
    name: &str,
    expected: Expected,
    event: NewEvent,
) -> Result<Appended, AppendError> {
    log.append(vec![to(name, expected, vec![event])]).await.map(|places| places[0])
}

/// All events that fit, read in pages of at most `limit`.
pub(crate) async fn read_all(log: &dyn Log, filter: &Filter, limit: usize) -> Vec<Event> {
    let (mut events, mut at) = (Vec::new(), Position::START);
    loop {
        let page = log.read(at, filter, limit).await.unwrap();
        assert!(page.events.len() <= limit, "a page holds at most its limit");
        assert!(page.end >= at, "a read never goes back");
        if page.end == at {
            assert!(page.events.is_empty(), "a page at the head is empty");
            assert_eq!(at, head(log), "a read ends at the head");
            return events;
        }
        at = page.end;
        events.extend(page.events);
    }
}

pub(crate) fn head(log: &dyn Log) -> Position {
    *log.head().borrow()
}

pub(crate) fn positions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}

/// Asserts that a read met damage at a position, and gives the reason.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_corrupt<T: std::fmt::Debug>(read: Result<T, lantern_core::log::LogError>, wanted: u64) -> String {
    match read {
        Err(lantern_core::log::LogError::Corrupt { position, reason }) => {
            assert_eq!(position, Position(wanted), "{reason}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

/// Asserts that positions are 1, 2, 3 … and the versions of each stream too.
pub(crate) fn assert_dense(events: &[Event]) {
    let mut versions = std::collections::HashMap::<&StreamName, Version>::new();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.position, Position(index as u64 + 1), "positions are dense");
        let last = versions.entry(&event.stream).or_default();
        assert_eq!(event.version, last.next(), "versions are dense and in the order of positions");
        *last = event.version;
    }
}

pub(crate) fn generation(processor: &str, number: u32) -> Generation {
    Generation { processor: processor.parse().unwrap(), number }
}

pub(crate) fn subject(kind: Kind, name: &str) -> Subject {
    Subject { kind, name: name.parse().unwrap() }
}

/// A schedule of an event that carries all an event can.
pub(crate) fn scheduled(key: &str, due: i64, event: u128) -> Scheduled {
    let trace =
        TraceContext { trace_id: u128::MAX - 1, span_id: u64::MAX, flags: 1, state: Some("vendor=\u{e9}".into()) };
    let metadata = Metadata {
        source: Some("/handlers/reminders".into()),
        correlation_id: Some("corr".into()),
        causation_id: Some("cause".into()),
        tenant: Some("acme".into()),
        actor: Some("jane".into()),
        trace: Some(trace),
        extra: Some(Arc::new(BTreeMap::from([("key".into(), "\"value\"\0".into())]))),
    };
    let event = NewEvent {
        id: EventId::from_u128(event),
        event_type: EventType::new("Overdue").unwrap(),
        schema_version: u32::MAX,
        time: Timestamp(i64::MIN),
        data: json("{\"text\":\"\u{e9}\"}"),
        metadata,
    };
    Scheduled { key: key.into(), due: Timestamp(due), stream: stream("Order-a-b"), event }
}

pub(crate) fn snapshot(name: &str, version: u64) -> Snapshot {
    Snapshot {
        stream: stream(name),
        version: Version(version),
        state: format!("state at {version}\0\u{e9}").into(),
        state_version: u32::MAX,
        module: module("first"),
        taken_at: Timestamp(1_700_000_000_123_456_789),
    }
}

pub(crate) fn module(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A batch that moves the checkpoint, and writes nothing.
pub(crate) fn batch(from: u64, until: u64) -> Batch {
    Batch {
        from: Position(from),
        until: Position(until),
        incarnation: None,
        last_event: (until > from).then(|| EventId::from_u128(until.into())),
        module: module("first"),
        documents: Arc::default(),
        tables: None,
        schedules: Vec::new(),
        parked: Vec::new(),
        released: Vec::new(),
        handled: until - from,
        trace: None,
        started_at: Timestamp(0),
    }
}

/// A batch that writes documents of one collection.
pub(crate) fn writing(from: u64, until: u64, collection: &str, changes: &[(&str, Option<&str>)]) -> Batch {
    Batch { documents: Arc::new(documents(collection, changes)), ..batch(from, until) }
}

/// What a guest sees at a key, on a thread that may block.
pub(crate) fn look(view: &dyn View, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
    tokio::task::block_in_place(|| view.get(collection, key))
}

pub(crate) fn documents(collection: &str, changes: &[(&str, Option<&str>)]) -> Documents {
    let mut documents = Documents::default();
    for (key, value) in changes {
        documents.set(collection.into(), (*key).into(), value.map(Into::into));
    }
    documents
}
