//! Events, appends and batches to try a store with.

use std::sync::Arc;

use lantern_core::{
    Append, Appended, Batch, Digest, Documents, Event, EventId, EventType, Expected, Filter, Generation, Log, Metadata,
    NewEvent, Payload, Position, StreamName, Timestamp, Version, log::AppendError,
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

pub(crate) fn generation(projection: &str, number: u32) -> Generation {
    Generation { projection: projection.parse().unwrap(), number }
}

pub(crate) fn module(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A batch that moves the checkpoint, and writes nothing.
pub(crate) fn batch(from: u64, until: u64) -> Batch {
    Batch {
        from: Position(from),
        until: Position(until),
        last_event: (until > from).then(|| EventId::from_u128(until.into())),
        module: module("first"),
        documents: Arc::default(),
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

pub(crate) fn documents(collection: &str, changes: &[(&str, Option<&str>)]) -> Documents {
    let mut documents = Documents::default();
    for (key, value) in changes {
        documents.set(collection.into(), (*key).into(), value.map(Into::into));
    }
    documents
}
