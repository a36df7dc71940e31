//! A small pool of reading connections. Reads run on threads where blocking is allowed, a connection each.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{blocking::blocking, connection::open_reader};

/// How many connections wait to be used again.
const KEPT: usize = 4;

/// Reading connections of one file, opened when they are wanted.
pub(super) struct Readers<S> {
    permits: Arc<Semaphore>,
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    path: PathBuf,
    cache_kib: u32,
    start: fn() -> S,
    idle: Mutex<Vec<Reader<S>>>,
}

/// A reading connection and what goes with it.
pub(super) struct Reader<S> {
    pub(super) connection: Connection,
    pub(super) state: S,
}

impl<S: Send + 'static> Readers<S> {
    /// A pool whose reads take a permit each, which it may share with other pools. A connection has a page cache of so
    /// many KiB and a state of its own.
    pub(super) fn new(path: &Path, permits: Arc<Semaphore>, cache_kib: u32, start: fn() -> S) -> Self {
        let shared = Shared { path: path.into(), cache_kib, start, idle: Mutex::default() };
        Self { permits, shared: Arc::new(shared) }
    }

    /// Runs a read. A reader that failed is not used again. `unopened` makes the error of one that could not begin.
    pub(super) async fn read<T: Send + 'static, E: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Reader<S>) -> Result<T, E> + Send + 'static,
        unopened: fn(String) -> E,
    ) -> Result<T, E> {
        let shared = self.shared.clone();
        let work = move || {
            let mut reader = shared.take().map_err(|error| unopened(error.to_string()))?;
            let answer = read(&mut reader)?;
            shared.put(reader);
            Ok(answer)
        };
        blocking(self.permits.clone(), work).await.unwrap_or_else(|error| Err(unopened(error)))
    }

    /// Closes the connections that are not in use.
    pub(super) fn close_idle(&self) {
        self.shared.idle().clear();
    }
}

impl<S> Shared<S> {
    fn put(&self, reader: Reader<S>) {
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(reader);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader<S>>> {
        // A list of connections is whole at every moment.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> rusqlite::Result<Reader<S>> {
        if let Some(reader) = self.idle().pop() {
            return Ok(reader);
        }
        let connection = open_reader(&self.path, self.cache_kib)?;
        Ok(Reader { connection, state: (self.start)() })
    }
}
