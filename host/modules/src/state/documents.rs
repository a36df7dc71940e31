//! The documents as one call sees them: its own writes over what the read model shows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use lantern_core::{
    Document, Value, View, Write,
    batch::merge,
    documents::{MAX_KEY, MAX_SCAN, MAX_VALUE, Scan},
    module::{Failure, FailureKind},
    read_model::ReadModelError,
};
use serde_json::value::RawValue;

use super::{Deployment, Room, shown};

/// Up to so many writes are searched one by one; beyond that an index pays.
const FEW: usize = 16;

/// How many documents of a scan are read at a time, so that a scan which is too large is seen before all of it is here.
const PAGE: usize = 128;

/// The documents as one call sees them.
pub(crate) struct Documents {
    deployment: Arc<Deployment>,
    view: Option<Arc<dyn View>>,
    writes: Vec<Write>,
    // For each collection the places of its writes by key; empty while the writes are few.
    index: Vec<HashMap<Arc<str>, usize>>,
}

/// A collection the module declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collection(usize);

impl Documents {
    /// No documents: what there is before the first call.
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        Self { deployment, view: None, writes: Vec::new(), index: Vec::new() }
    }

    /// Begins a call on top of what a view shows.
    pub(crate) fn begin(&mut self, view: Arc<dyn View>) {
        self.view = Some(view);
    }

    /// Ends the call and takes its writes.
    pub(crate) fn end(&mut self) -> Vec<Write> {
        self.view = None;
        self.index.clear();
        std::mem::take(&mut self.writes)
    }

    /// The collection of a name, where the module declared it.
    pub(crate) fn collection(&self, name: &str) -> Result<Collection, Failure> {
        self.view()?;
        let found = self.deployment.collections.iter().position(|collection| **collection == *name);
        found.map(Collection).ok_or_else(|| {
            limit(format!(
                "the module used the collection `{}`, which its description does not declare; it declares {}",
                shown(name),
                listed(&self.deployment.collections),
            ))
        })
    }

    /// The document at a key.
    pub(crate) fn get(&self, collection: Collection, key: &str) -> Result<Option<Value>, Failure> {
        if let Some(place) = self.place(collection, key) {
            return Ok(self.writes[place].value.clone());
        }
        let name = self.name(collection);
        self.view()?.get(name, key).map_err(|error| host(name, &error))
    }

    /// Writes the document at a key.
    pub(crate) fn put(
        &mut self,
        room: &mut Room,
        collection: Collection,
        key: Arc<str>,
        value: Value,
    ) -> Result<(), Failure> {
        if value.len() > MAX_VALUE {
            let (name, key, length) = (self.name(collection), shown(&key), value.len());
            return Err(limit(format!(
                "the document `{key}` of the collection `{name}` has {length} bytes: at most {MAX_VALUE} are allowed; \
                 divide it into several documents"
            )));
        }
        if let Err(error) = serde_json::from_str::<&RawValue>(&value) {
            let (name, key) = (self.name(collection), shown(&key));
            return Err(limit(format!("the document `{key}` of the collection `{name}` is no JSON: {error}")));
        }
        self.write(room, collection, key, Some(value))
    }

    /// Removes the document at a key.
    pub(crate) fn delete(&mut self, room: &mut Room, collection: Collection, key: Arc<str>) -> Result<(), Failure> {
        self.write(room, collection, key, None)
    }

    /// Documents in ascending order of the bytes of their keys.
    pub(crate) fn scan(&self, collection: Collection, scan: Scan) -> Result<Vec<Document>, Failure> {
        let mut changes = BTreeMap::new();
        let own = &self.deployment.collections[collection.0];
        for write in self.writes.iter().filter(|write| Arc::ptr_eq(&write.collection, own) && scan.fits(&write.key)) {
            changes.insert(write.key.clone(), write.value.clone());
        }
        let limit = scan.limit.min(MAX_SCAN);
        // Each removed document may hide one of the read model, so that many more are asked for.
        let removed = changes.values().filter(|value| value.is_none()).count();
        let found = self.pages(collection, Scan { limit: limit + removed, ..scan })?;
        if changes.is_empty() {
            return Ok(found);
        }
        Ok(merge(found, changes, limit))
    }

    /// Reads a scan of the read model page by page.
    fn pages(&self, collection: Collection, mut scan: Scan) -> Result<Vec<Document>, Failure> {
        let (name, view) = (self.name(collection), self.view()?);
        let room = self.deployment.settings.limits.memory_bytes;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while scan.limit > 0 {
            let page = Scan { limit: scan.limit.min(PAGE), ..scan.clone() };
            let documents = view.scan(name, &page).map_err(|error| host(name, &error))?;
            bytes += documents.iter().map(|document| (document.key.len() + document.value.len()) as u64).sum::<u64>();
            if bytes > room {
                return Err(limit(format!(
                    "a scan of the collection `{name}` finds more than the {room} bytes of memory the module may have \
                     (`memory_bytes`); scan fewer documents at a time"
                )));
            }
            let full = documents.len() == page.limit;
            scan.limit -= documents.len().min(scan.limit);
            scan.after = documents.last().map(|document| document.key.clone());
            found.extend(documents);
            if !full {
                break;
            }
        }
        Ok(found)
    }

    fn write(
        &mut self,
        room: &mut Room,
        collection: Collection,
        key: Arc<str>,
        value: Option<Value>,
    ) -> Result<(), Failure> {
        self.charge(room, collection, &key, value.as_ref())?;
        if let Some(place) = self.place(collection, &key) {
            self.writes[place].value = value;
            return Ok(());
        }
        let place = self.writes.len();
        if place == FEW {
            self.build_index();
        }
        if let Some(places) = self.index.get_mut(collection.0) {
            places.insert(key.clone(), place);
        }
        self.writes.push(Write { collection: self.deployment.collections[collection.0].clone(), key, value });
        Ok(())
    }

    fn charge(&self, room: &mut Room, collection: Collection, key: &str, value: Option<&Value>) -> Result<(), Failure> {
        if key.len() > MAX_KEY {
            let (name, length, key) = (self.name(collection), key.len(), shown(key));
            return Err(limit(format!(
                "the key `{key}` of the collection `{name}` has {length} bytes: at most {MAX_KEY} are allowed"
            )));
        }
        room.take(key.len() + value.map_or(0, |value| value.len())).map_err(|allowed| {
            let (name, key) = (self.name(collection), shown(key));
            limit(format!(
                "with the document `{key}` of the collection `{name}` the call hands over more than {allowed} bytes \
                 (`host_call_bytes`)"
            ))
        })
    }

    /// Where the call's own write of a key is.
    fn place(&self, collection: Collection, key: &str) -> Option<usize> {
        if let Some(places) = self.index.get(collection.0) {
            return places.get(key).copied();
        }
        let own = &self.deployment.collections[collection.0];
        self.writes.iter().rposition(|write| *write.key == *key && Arc::ptr_eq(&write.collection, own))
    }

    fn build_index(&mut self) {
        self.index.resize_with(self.deployment.collections.len(), HashMap::new);
        for (place, write) in self.writes.iter().enumerate() {
            let own = |name: &Arc<str>| Arc::ptr_eq(name, &write.collection);
            if let Some(collection) = self.deployment.collections.iter().position(own) {
                self.index[collection].insert(write.key.clone(), place);
            }
        }
    }

    fn name(&self, collection: Collection) -> &str {
        &self.deployment.collections[collection.0]
    }

    fn view(&self) -> Result<&dyn View, Failure> {
        self.view
            .as_deref()
            .ok_or_else(|| limit("the module used documents without an event in hand: only `handle` may".into()))
    }
}

fn limit(message: String) -> Failure {
    Failure::new(FailureKind::Limit, message)
}

fn host(collection: &str, error: &ReadModelError) -> Failure {
    Failure::new(FailureKind::Host, format!("the collection `{collection}` could not be read: {error}"))
}

fn listed(collections: &[Arc<str>]) -> String {
    if collections.is_empty() {
        return "none".into();
    }
    collections.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use lantern_core::{
        Grants, Kind, Name, SystemClock,
        module::{Limits, Settings},
    };

    use super::*;

    /// A read model of one collection, `c`, with the keys `k0000` to `k0999`.
    struct Thousand;

    impl View for Thousand {
        fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
            Ok(self
                .scan(collection, &Scan { prefix: key.into(), after: None, limit: 1 })?
                .pop()
                .map(|found| found.value))
        }

        fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
            assert!(scan.limit <= PAGE, "a page at a time");
            let keys = (0..1_000).filter(|_| collection == "c").map(|number| format!("k{number:04}"));
            let found = keys.filter(|key| scan.fits(key)).take(scan.limit);
            Ok(found.map(|key| Document { key, value: "0".into() }).collect())
        }
    }

    fn documents(memory_bytes: u64) -> Documents {
        let settings = Settings {
            kind: Kind::Projection,
            name: Name::new("p").unwrap(),
            limits: Limits { memory_bytes, ..Limits::default() },
            config: BTreeMap::new(),
            grants: Grants::default(),
        };
        let collections = ["c".to_owned(), "d".to_owned()];
        let mut documents = Documents::new(Arc::new(Deployment::new(settings, &collections, Arc::new(SystemClock))));
        documents.begin(Arc::new(Thousand));
        documents
    }

    /// Room that is never short.
    fn room() -> Room {
        Room::new(u64::MAX)
    }

    fn scan(prefix: &str, after: Option<&str>, limit: usize) -> Scan {
        Scan { prefix: prefix.into(), after: after.map(Into::into), limit }
    }

    #[test]
    fn own_writes_are_seen_be_they_few_or_many() {
        let mut documents = documents(1 << 20);
        let (c, d) = (documents.collection("c").unwrap(), documents.collection("d").unwrap());
        for count in 1..=10 * FEW {
            let key: Arc<str> = format!("k{count:04}").into();
            documents.put(&mut room(), c, key.clone(), "1".into()).unwrap();
            documents.put(&mut room(), c, key.clone(), count.to_string().into()).unwrap();
            documents.delete(&mut room(), d, key.clone()).unwrap();
            assert_eq!(documents.get(c, &key).unwrap().as_deref(), Some(count.to_string().as_str()));
            assert_eq!(documents.get(c, "k0001").unwrap().as_deref(), Some("1"));
            assert_eq!(documents.get(d, &key).unwrap(), None);
            assert_eq!(documents.get(c, "k0999").unwrap().as_deref(), Some("0"), "the read model's");
        }
        assert_eq!(documents.end().len(), 2 * 10 * FEW, "one write a key");
        documents.begin(Arc::new(Thousand));
        assert_eq!(documents.get(c, "k0001").unwrap().as_deref(), Some("0"), "the next call begins anew");
    }

    #[test]
    fn a_scan_shows_own_writes_in_their_places() {
        let mut documents = documents(1 << 20);
        let c = documents.collection("c").unwrap();
        documents.put(&mut room(), c, "k0001x".into(), "1".into()).unwrap();
        documents.delete(&mut room(), c, "k0000".into()).unwrap();
        documents.put(&mut room(), c, "k0002".into(), "2".into()).unwrap();
        let found = documents.scan(c, scan("k", None, 3)).unwrap();
        let found = found.iter().map(|document| (document.key.as_str(), &*document.value)).collect::<Vec<_>>();
        assert_eq!(found, [("k0001", "0"), ("k0001x", "1"), ("k0002", "2")]);
        assert_eq!(documents.scan(c, scan("k", Some("k0998"), 9)).unwrap().len(), 1);
        let d = documents.collection("d").unwrap();
        assert_eq!(documents.scan(d, scan("", None, 9)).unwrap(), []);
    }

    #[test]
    fn a_scan_is_read_in_pages_and_bounded() {
        let roomy = documents(1 << 20);
        let c = roomy.collection("c").unwrap();
        for limit in [0, 1, PAGE, PAGE + 1, 999, 1_000, 5_000] {
            assert_eq!(roomy.scan(c, scan("", None, limit)).unwrap().len(), limit.min(MAX_SCAN), "{limit}");
        }
        let refused = documents(2_000).scan(c, scan("", None, 1_000)).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Limit);
        assert!(refused.message.contains("`c`") && refused.message.contains("memory_bytes"), "{refused}");
    }

    #[test]
    fn without_an_event_there_are_no_documents() {
        let mut documents = documents(1 << 20);
        documents.end();
        assert!(documents.collection("c").unwrap_err().message.contains("only `handle` may"));
    }
}
