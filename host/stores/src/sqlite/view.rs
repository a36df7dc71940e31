//! What a guest reads of a generation: a connection of its own, and a cache of documents before it.
//!
//! The cache also remembers which keys have no document. It is true because the only writer is the owner of the lease,
//! whose commits tell it what they changed, and because a new owner begins with an empty one.

use std::{
    hash::{Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lantern_core::{Document, Documents, Value, documents::Scan};
use quick_cache::{Equivalent, Weighter, unsync::Cache};
use rusqlite::Connection;

use super::{connection::open_reader, documents};

/// How much the cache holds: keys, documents and what it costs to keep them, in bytes.
const CACHE: u64 = 16 * 1024 * 1024;

/// What it costs to keep an entry, beside its texts, in bytes.
const ENTRY: u64 = 128;

/// How much of the file the connection keeps in memory, in KiB.
const PAGES: u32 = 2048;

/// What a guest reads.
pub(super) struct GuestView {
    path: PathBuf,
    /// `None` while nothing is read.
    open: Mutex<Option<Open>>,
}

struct Open {
    connection: Connection,
    collections: Vec<Collection>,
    cache: Cache<Key, Option<Value>, Bytes>,
}

/// A collection the guest has asked for. Its place in the list is part of the keys of the cache.
struct Collection {
    name: Arc<str>,
    /// Its number in the file; `None` while it has never had a document.
    number: Option<i64>,
}

impl GuestView {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::default() }
    }

    pub(super) fn get(&self, collection: &str, key: &str) -> rusqlite::Result<Option<Value>> {
        self.read(|open| open.get(collection, key))
    }

    pub(super) fn scan(&self, collection: &str, scan: &Scan) -> rusqlite::Result<Vec<Document>> {
        self.read(|open| {
            let index = open.index(collection);
            match open.number(index)? {
                Some(number) => documents::scan(&open.connection, number, scan),
                None => Ok(Vec::new()),
            }
        })
    }

    /// Takes over what a commit has changed.
    pub(super) fn refresh(&self, documents: &Documents) {
        // A view that is closed remembers nothing that could be wrong.
        let Some(open) = &mut *self.lock() else { return };
        let mut last: Option<(&Arc<str>, usize)> = None;
        for (collection, key, value) in documents.iter() {
            let index = match last {
                Some((name, index)) if Arc::ptr_eq(name, collection) => index,
                _ => open.index(collection),
            };
            last = Some((collection, index));
            open.cache.insert(Key { collection: index, key: key.clone() }, value.cloned());
        }
    }

    /// Closes the connection and forgets everything.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // A panic between two steps of a read leaves nothing wrong behind: the cache is only ever told what was read.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads under the lock, so that a commit's changes reach the cache after what was read before them.
    fn read<T>(&self, read: impl FnOnce(&mut Open) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let mut open = self.lock();
        let open = match &mut *open {
            Some(open) => open,
            closed => closed.insert(Open::new(&self.path)?),
        };
        read(open)
    }
}

impl Open {
    fn new(path: &std::path::Path) -> rusqlite::Result<Self> {
        let items = usize::try_from(CACHE / (4 * ENTRY)).unwrap_or(usize::MAX);
        let cache = Cache::with_weighter(items, CACHE, Bytes);
        Ok(Self { connection: open_reader(path, PAGES)?, collections: Vec::new(), cache })
    }

    fn get(&mut self, collection: &str, key: &str) -> rusqlite::Result<Option<Value>> {
        let index = self.index(collection);
        if let Some(known) = self.cache.get(&Wanted { collection: index, key }) {
            return Ok(known.clone());
        }
        let found = match self.number(index)? {
            Some(number) => documents::get(&self.connection, number, key)?,
            None => None,
        };
        self.cache.insert(Key { collection: index, key: key.into() }, found.clone());
        Ok(found)
    }

    /// The place of a collection in the list.
    fn index(&mut self, name: &str) -> usize {
        let index = self.collections.iter().position(|collection| &*collection.name == name);
        index.unwrap_or_else(|| {
            self.collections.push(Collection { name: name.into(), number: None });
            self.collections.len() - 1
        })
    }

    /// The number of a collection in the file.
    fn number(&mut self, index: usize) -> rusqlite::Result<Option<i64>> {
        let Collection { name, number } = &mut self.collections[index];
        if number.is_none() {
            *number = documents::collection(&self.connection, name)?;
        }
        Ok(*number)
    }
}

/// The place of a document.
#[derive(PartialEq, Eq)]
struct Key {
    collection: usize,
    key: Arc<str>,
}

/// The place of a document that is looked for.
struct Wanted<'a> {
    collection: usize,
    key: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Wanted { collection: self.collection, key: &self.key }.hash(state);
    }
}

impl Hash for Wanted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.collection.hash(state);
        self.key.hash(state);
    }
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.collection == key.collection && self.key == &*key.key
    }
}

/// Weighs the entries of the cache.
#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Option<Value>> for Bytes {
    fn weight(&self, key: &Key, value: &Option<Value>) -> u64 {
        ENTRY + (key.key.len() + value.as_ref().map_or(0, |value| value.len())) as u64
    }
}
