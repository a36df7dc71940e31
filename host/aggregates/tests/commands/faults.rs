//! Storage of the tests: a log and snapshots that fail on demand, and a chain of upcasters.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use lantern_core::{
    Append, Appended, Event, EventId, EventType, Filter, Incarnation, Log, Page, Position, Snapshot, Snapshots,
    StreamName, Upcasting, Version,
    log::{AppendError, LogError, Range},
    module::Failure,
    snapshot::SnapshotError,
    upcasting::Accepted,
};
use lantern_stores::memory;
use tokio::sync::watch;

/// A log whose answers get lost, and that counts what is read.
pub(crate) struct Ledger {
    pub(crate) inner: memory::Log,
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

    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
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
pub(crate) struct Older;

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
