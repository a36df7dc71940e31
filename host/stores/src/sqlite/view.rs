//! What a guest reads of a generation: a connection of its own, and a cache of documents before it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lantern_core::{Document, Documents, Value, documents::Scan};
use rusqlite::Connection;

use super::{connection::open_reader, documents};
use crate::cache::DocumentCache;

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
    /// The numbers the collections have in the file. One that has never had a document has none yet.
    numbers: Vec<(Arc<str>, i64)>,
    cache: DocumentCache,
}

impl GuestView {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::default() }
    }

    pub(super) fn get(&self, collection: &str, key: &str) -> rusqlite::Result<Option<Value>> {
        self.read(|open| open.get(collection, key))
    }

    pub(super) fn scan(&self, collection: &str, scan: &Scan) -> rusqlite::Result<Vec<Document>> {
        self.read(|open| match open.number(collection)? {
            Some(number) => documents::scan(&open.connection, number, scan),
            None => Ok(Vec::new()),
        })
    }

    /// Takes over what a commit has changed.
    pub(super) fn refresh(&self, documents: &Documents) {
        // A view that is closed remembers nothing that could be wrong.
        if let Some(open) = &mut *self.lock() {
            open.cache.refresh(documents);
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
    fn new(path: &Path) -> rusqlite::Result<Self> {
        Ok(Self { connection: open_reader(path, PAGES)?, numbers: Vec::new(), cache: DocumentCache::new() })
    }

    fn get(&mut self, collection: &str, key: &str) -> rusqlite::Result<Option<Value>> {
        if let Some(known) = self.cache.get(collection, key) {
            return Ok(known);
        }
        let found = match self.number(collection)? {
            Some(number) => documents::get(&self.connection, number, key)?,
            None => None,
        };
        self.cache.remember(collection, key, found.clone());
        Ok(found)
    }

    /// The number of a collection in the file.
    fn number(&mut self, collection: &str) -> rusqlite::Result<Option<i64>> {
        if let Some((_, number)) = self.numbers.iter().find(|(name, _)| &**name == collection) {
            return Ok(Some(*number));
        }
        let number = documents::collection(&self.connection, collection)?;
        self.numbers.extend(number.map(|number| (collection.into(), number)));
        Ok(number)
    }
}
