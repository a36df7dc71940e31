//! What a guest has read of its read model, remembered: documents by collection and key, and which keys have none.
//!
//! It is true because the only writer is the owner of the lease, whose commits tell it what they changed, and because a
//! new owner begins with an empty one.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use lantern_core::{Documents, Value};
use quick_cache::{Equivalent, Weighter, unsync::Cache};

/// How much it holds: keys, documents and what it costs to keep them, in bytes.
const CAPACITY: u64 = 16 * 1024 * 1024;

/// What it costs to keep an entry, beside its texts, in bytes.
const ENTRY: u64 = 128;

/// Documents that were read or written lately.
pub(crate) struct DocumentCache {
    /// The place of a collection in the list is part of the keys.
    collections: Vec<Arc<str>>,
    documents: Cache<Key, Option<Value>, Bytes>,
}

impl DocumentCache {
    /// Nothing is remembered yet.
    pub(crate) fn new() -> Self {
        let items = usize::try_from(CAPACITY / (4 * ENTRY)).unwrap_or(usize::MAX);
        Self { collections: Vec::new(), documents: Cache::with_weighter(items, CAPACITY, Bytes) }
    }

    /// What is known of a key: `None` when that is nothing, `Some(None)` when it has no document.
    pub(crate) fn get(&self, collection: &str, key: &str) -> Option<Option<Value>> {
        let collection = self.collections.iter().position(|name| &**name == collection)?;
        self.documents.get(&Wanted { collection, key }).cloned()
    }

    /// Takes over what was read.
    pub(crate) fn remember(&mut self, collection: &str, key: &str, value: Option<Value>) {
        let collection = self.index(collection);
        self.documents.insert(Key { collection, key: key.into() }, value);
    }

    /// Takes over what a commit has changed.
    pub(crate) fn refresh(&mut self, changes: &Documents) {
        let mut last: Option<(&Arc<str>, usize)> = None;
        for (collection, key, value) in changes.iter() {
            let index = match last {
                Some((name, index)) if Arc::ptr_eq(name, collection) => index,
                _ => self.index(collection),
            };
            last = Some((collection, index));
            self.documents.insert(Key { collection: index, key: key.clone() }, value.cloned());
        }
    }

    /// The place of a collection in the list.
    fn index(&mut self, name: &str) -> usize {
        let index = self.collections.iter().position(|collection| &**collection == name);
        index.unwrap_or_else(|| {
            self.collections.push(name.into());
            self.collections.len() - 1
        })
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
