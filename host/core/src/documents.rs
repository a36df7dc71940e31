//! Documents: JSON values by collection and key, and a set of changes to them.

use std::{collections::HashMap, sync::Arc};

/// A document's content: JSON text. Cheap to clone.
pub type Value = Arc<str>;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;

/// The longest document, in bytes.
pub const MAX_VALUE: usize = 1024 * 1024;

/// The most documents one scan returns.
pub const MAX_SCAN: usize = 1000;

/// How the names of collections begin that are the host's own. No module can declare one, no query shows it, and the digest
/// of a read model leaves it out.
pub const OWN: &str = "lantern:";

/// A key and its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The key.
    pub key: String,
    /// The document, JSON text.
    pub value: Value,
}

/// Which documents of a collection to read, in ascending order of the bytes of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only keys after this one.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
}

impl Scan {
    /// Whether a key is wanted, the limit aside.
    #[must_use]
    pub fn fits(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && self.after.as_deref().is_none_or(|after| key > after)
    }
}

/// The changes to one collection, by key.
type Changes = HashMap<Arc<str>, Option<Value>>;

/// A set of changes: the last write of each key. A removed document is a change to nothing.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    // A module has a handful of collections, so a list is found through faster than a map.
    collections: Vec<(Arc<str>, Changes)>,
    bytes: usize,
}

impl Documents {
    /// The change to a key: `None` when there is none, `Some(None)` when the document is removed.
    #[must_use]
    pub fn get(&self, collection: &str, key: &str) -> Option<Option<&Value>> {
        let (_, documents) = self.collections.iter().find(|(name, _)| &**name == collection)?;
        documents.get(key).map(Option::as_ref)
    }

    /// Records a change.
    pub fn set(&mut self, collection: Arc<str>, key: Arc<str>, value: Option<Value>) {
        self.bytes += collection.len() + key.len() + value.as_ref().map_or(0, |value| value.len());
        match self.collections.iter_mut().find(|(name, _)| *name == collection) {
            Some((_, documents)) => {
                documents.insert(key, value);
            }
            None => self.collections.push((collection, HashMap::from([(key, value)]))),
        }
    }

    /// All changes, in no order: collection, key, new content or nothing.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, Option<&Value>)> {
        self.collections.iter().flat_map(|(collection, documents)| {
            documents.iter().map(move |(key, value)| (collection, key, value.as_ref()))
        })
    }

    /// The changes to one collection, in no order.
    pub fn collection(&self, collection: &str) -> impl Iterator<Item = (&Arc<str>, Option<&Value>)> {
        let documents = self.collections.iter().find(|(name, _)| &**name == collection);
        documents.into_iter().flat_map(|(_, documents)| documents.iter().map(|(key, value)| (key, value.as_ref())))
    }

    /// How many keys are changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.collections.iter().map(|(_, documents)| documents.len()).sum()
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.collections.is_empty()
    }

    /// How many bytes were written, writes that were overwritten since included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
