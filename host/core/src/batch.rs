//! A batch: the effects of many events, committed together, and the view of them while the batch grows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Digest, Document, Documents, EventId, Incarnation, Parked, Position, ScheduleChange, Tables, Timestamp,
    TraceContext, Value, View, Write, documents::Scan, read_model::ReadModelError,
};

/// The effects of the events `from+1 ..= until`, ready to be committed in one transaction.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The checkpoint the batch stands on.
    pub from: Position,
    /// The checkpoint after it.
    pub until: Position,
    /// The event at `until`; `None` when the batch moves over no event.
    pub last_event: Option<EventId>,
    /// The incarnation of the log its events are from; `None` where there is no log. It becomes that of the checkpoint when
    /// the batch moves it.
    pub incarnation: Option<Incarnation>,
    /// The module that handled it.
    pub module: Digest,
    /// Documents changed. Shared with the view of the batch that is handled while this one commits.
    pub documents: Arc<Documents>,
    /// The transaction in which the module changed SQL tables, if it did: the batch takes effect in it.
    pub tables: Option<Arc<dyn Tables>>,
    /// Changes to schedules, in order.
    pub schedules: Vec<ScheduleChange>,
    /// Events parked, skipped, or tried again without success: replaces what is recorded at their positions.
    pub parked: Vec<Parked>,
    /// Parked events that were handled after all: their records are removed.
    pub released: Vec<Position>,
    /// How many events were handled.
    pub handled: u64,
    /// The batch's own trace, where its events were handled as a replay.
    pub trace: Option<TraceContext>,
    /// When its first event was begun.
    pub started_at: Timestamp,
}

/// What a module sees while a batch grows: the batch's own effects, over those of the batch that is being
/// committed, over what is committed.
pub struct BatchView {
    growing: Mutex<Documents>,
    committing: Option<Arc<Documents>>,
    committed: Arc<dyn View>,
    /// Whether the module has SQL tables: most have none, and are not to wait for a lock.
    has_tables: bool,
    tables: Mutex<Option<Arc<dyn Tables>>>,
}

impl BatchView {
    /// A view for a new batch.
    pub fn new(committed: Arc<dyn View>, committing: Option<Arc<Documents>>) -> Self {
        Self { growing: Mutex::default(), committing, committed, has_tables: false, tables: Mutex::default() }
    }

    /// The same with the SQL tables of the module, where it has some.
    #[must_use]
    pub fn with_tables(self, tables: Option<Arc<dyn Tables>>) -> Self {
        Self { has_tables: tables.is_some(), tables: Mutex::new(tables), ..self }
    }

    /// Ends the use of the SQL tables and takes their transaction; `None` also when it was lost.
    pub fn take_tables(&self) -> Option<Arc<dyn Tables>> {
        let tables = self.transaction().take();
        tables.filter(|tables| tables.is_open())
    }

    /// Makes the documents a handled event wrote visible to the next.
    pub fn fold(&self, writes: Vec<Write>) {
        let mut growing = self.growing();
        for write in writes {
            growing.set(write.collection, write.key, write.value);
        }
    }

    /// How many bytes the batch has written.
    pub fn bytes(&self) -> usize {
        self.growing().bytes()
    }

    /// Ends the batch and takes its documents.
    pub fn take(&self) -> Documents {
        std::mem::take(&mut *self.growing())
    }

    fn transaction(&self) -> MutexGuard<'_, Option<Arc<dyn Tables>>> {
        // Each change is one assignment.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn growing(&self) -> MutexGuard<'_, Documents> {
        // A panic cannot leave the map half-changed in a way that matters: the batch is dropped with it.
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View for BatchView {
    fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        if let Some(change) = self.growing().get(collection, key) {
            return Ok(change.cloned());
        }
        if let Some(change) = self.committing.as_ref().and_then(|documents| documents.get(collection, key)) {
            return Ok(change.cloned());
        }
        self.committed.get(collection, key)
    }

    fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        let mut changes: BTreeMap<Arc<str>, Option<Value>> = BTreeMap::new();
        let growing = self.growing();
        for layer in self.committing.as_deref().into_iter().chain([&*growing]) {
            let wanted = layer.collection(collection).filter(|(key, _)| scan.fits(key));
            changes.extend(wanted.map(|(key, value)| (key.clone(), value.cloned())));
        }
        drop(growing);
        // Each removed document may hide a committed one, so that many more are asked for.
        let removed = changes.values().filter(|value| value.is_none()).count();
        let committed = Scan { limit: scan.limit.saturating_add(removed), ..scan.clone() };
        let committed = self.committed.scan(collection, &committed)?;
        Ok(merge(committed, changes, scan.limit))
    }

    fn tables(&self) -> Option<Arc<dyn Tables>> {
        if self.has_tables { self.transaction().clone() } else { None }
    }
}

/// Merges committed documents with changes to them, both in order of their keys.
pub fn merge(committed: Vec<Document>, changes: BTreeMap<Arc<str>, Option<Value>>, limit: usize) -> Vec<Document> {
    let mut merged: BTreeMap<Arc<str>, Option<Value>> =
        committed.into_iter().map(|document| (document.key.into(), Some(document.value))).collect();
    merged.extend(changes);
    let present =
        merged.into_iter().filter_map(|(key, value)| Some(Document { key: key.as_ref().into(), value: value? }));
    present.take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    /// A committed read model of fixed documents in one collection.
    struct Fixed(BTreeMap<&'static str, &'static str>);

    impl View for Fixed {
        fn get(&self, _: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
            Ok(self.0.get(key).map(|value| Value::from(*value)))
        }

        fn scan(&self, _: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
            let wanted = self.0.iter().filter(|(key, _)| scan.fits(key)).take(scan.limit);
            Ok(wanted.map(|(key, value)| Document { key: (*key).into(), value: Value::from(*value) }).collect())
        }
    }

    fn write(key: &str, value: Option<&str>) -> Vec<Write> {
        vec![Write { collection: "c".into(), key: key.into(), value: value.map(Value::from) }]
    }

    fn layered() -> BatchView {
        let mut committing = Documents::default();
        committing.set("c".into(), "b".into(), Some("2".into()));
        committing.set("c".into(), "c".into(), None);
        let committed = Fixed(BTreeMap::from([("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]));
        BatchView::new(Arc::new(committed), Some(Arc::new(committing)))
    }

    #[test]
    fn the_newest_layer_is_seen() {
        let view = layered();
        view.fold(write("a", Some("3")));
        let get = |key| view.get("c", key).unwrap();
        assert_eq!(get("a").as_deref(), Some("3"));
        assert_eq!(get("b").as_deref(), Some("2"));
        assert_eq!(get("c"), None);
        assert_eq!(get("d").as_deref(), Some("1"));
        assert_eq!(view.get("other", "b").unwrap().as_deref(), Some("1"), "the fixed layer ignores collections");
    }

    #[test]
    fn a_scan_merges_all_layers_and_fills_its_limit() {
        let view = layered();
        view.fold(write("a", None));
        view.fold(write("e", Some("3")));
        let keys = |limit, after: Option<&str>| {
            let scan = Scan { limit, after: after.map(Into::into), ..Scan::default() };
            let documents = view.scan("c", &scan).unwrap();
            documents.into_iter().map(|document| document.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(2, None), ["b", "d"]);
        assert_eq!(keys(9, None), ["b", "d", "e"]);
        assert_eq!(keys(9, Some("b")), ["d", "e"]);
    }
}
