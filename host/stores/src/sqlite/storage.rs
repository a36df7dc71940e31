//! The file of one generation and the connections to it, each opened when it is wanted and closed when it rests.

use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use lantern_core::{
    Batch, Checkpoint, Digest, Document, EventId, Generation, Lease, Migration, Position, SqlError, TablesError, Value,
    View,
    documents::Scan,
    read_model::{CommitError, ReadModelError},
};
use rusqlite::Connection;
use tokio::sync::{Mutex as Turns, OwnedMutexGuard, Semaphore};

use super::{
    commit::{self, Writer},
    connection::{self, Absent, OpenError},
    readers::Readers,
    schema,
    tables::Committed,
    view::GuestView,
};
use crate::tables::{Guard, Work};

/// How much of the file the writer and a reader for queries keep in memory, in KiB.
const WRITER_CACHE: u32 = 4096;
const READER_CACHE: u32 = 1024;

/// How many pages the write-ahead log holds before a commit moves its content into the file. A document that is written
/// again and again is moved once.
const CHECKPOINT: u32 = 4000;

/// The storage of one generation.
pub(super) struct Storage {
    generation: Generation,
    path: PathBuf,
    /// `None` while it rests.
    writer: Mutex<Option<Writer>>,
    view: GuestView,
    readers: Readers<Option<Guard>>,
    /// Whose turn it is to write: transactions stay open while guests run.
    turns: Arc<Turns<()>>,
    used: AtomicBool,
    removed: AtomicBool,
}

impl Storage {
    /// Opens a generation that is there, or begins it.
    pub(super) fn open(
        folder: &Path,
        generation: &Generation,
        begin: Option<(Position, Digest)>,
        permits: Arc<Semaphore>,
    ) -> Result<Self, ReadModelError> {
        let path = path(folder, generation);
        let absent = if begin.is_some() { Absent::Create } else { Absent::Refuse };
        let first = |new: &rusqlite::Transaction<'_>| match begin {
            Some((start, module)) => commit::begin(new, start, module),
            None => Ok(()),
        };
        let connection = match connection::open(&path, &schema::READ_MODEL, absent, first) {
            Ok(connection) => connection,
            Err(OpenError::Missing { .. }) => return Err(ReadModelError::Unknown(generation.clone())),
            Err(error) => return Err(ReadModelError::Unavailable(error.to_string())),
        };
        let writer =
            settled(connection).map_err(|error| ReadModelError::Unavailable(format!("{}: {error}", path.display())))?;
        Ok(Self {
            generation: generation.clone(),
            writer: Mutex::new(Some(writer)),
            view: GuestView::new(path.clone()),
            readers: Readers::new(&path, permits, READER_CACHE, || None),
            turns: Arc::default(),
            path,
            used: AtomicBool::new(true),
            removed: AtomicBool::new(false),
        })
    }

    /// Takes the generation over.
    pub(super) fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError> {
        let taken = self.write(Writer::take).map_err(|error| match error {
            Unwritten::Removed => ReadModelError::Unknown(self.generation.clone()),
            Unwritten::Failed(error) => self.unavailable(error),
        })?;
        // The owner before may have left changes behind whose fate it did not learn.
        self.view.close();
        Ok(taken)
    }

    /// Commits a batch.
    pub(super) fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        let fenced = CommitError::Fenced { expected: batch.from, epoch: lease.epoch };
        let unavailable = |error: &str| Err(CommitError::Unavailable(format!("{}: {error}", self.path.display())));
        let committed = self.write(|writer| match &batch.tables {
            Some(tables) => writer.commit_tables(lease, batch, tables.id()),
            None => Ok(if writer.commit(lease, batch)? { Committed::Yes } else { Committed::Fenced }),
        });
        match committed {
            Ok(Committed::Yes) => {
                self.view.refresh(&batch.documents);
                Ok(())
            }
            Ok(Committed::Fenced) | Err(Unwritten::Removed) => Err(fenced),
            Ok(Committed::Lost) => unavailable("the transaction of its tables was lost"),
            Err(Unwritten::Failed(error)) => unavailable(&error),
        }
    }

    /// Waits for the turn to write.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        self.turns.clone().lock_owned().await
    }

    /// Opens a transaction for the tables of a module, and says which.
    pub(super) fn begin(&self, migrations: &[Migration], alive: &Arc<()>) -> Result<u64, TablesError> {
        match self.write(|writer| writer.begin(migrations, alive)) {
            Ok(begun) => begun,
            Err(Unwritten::Removed) => Err(ReadModelError::Unknown(self.generation.clone()).into()),
            Err(Unwritten::Failed(error)) => Err(self.unavailable(error).into()),
        }
    }

    /// Does something in a transaction.
    pub(super) fn work<T>(
        &self,
        id: u64,
        work: impl FnOnce(&mut Work, &Connection, &Guard) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.used.store(true, Ordering::Relaxed);
        match &mut *self.writer() {
            Some(writer) => writer.work(id, work),
            None => Err(SqlError::Unavailable("the transaction has ended".into())),
        }
    }

    /// Removes the schedules of events that were emitted.
    pub(super) fn fired(&self, lease: Lease, events: &[EventId]) -> Result<(), CommitError> {
        let fenced = |expected| CommitError::Fenced { expected, epoch: lease.epoch };
        match self.write(|writer| writer.fired(lease, events)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(checkpoint)) => Err(fenced(checkpoint.position)),
            Err(Unwritten::Removed) => Err(fenced(Position::START)),
            Err(Unwritten::Failed(error)) => Err(CommitError::Unavailable(format!("{}: {error}", self.path.display()))),
        }
    }

    /// Asks a reader.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadModelError> {
        self.ask_guarded(move |connection, _| question(connection)).await
    }

    /// Asks a reader, with the guard of its connection.
    pub(super) async fn ask_guarded<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection, &mut Option<Guard>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadModelError> {
        self.present()?;
        let answer = self.readers.read(
            move |reader| question(&reader.connection, &mut reader.state).map_err(|error| error.to_string()),
            |error| error,
        );
        answer.await.map_err(|error| self.unavailable(error))
    }

    /// Closes everything if nothing was used since this was called the last time.
    pub(super) fn rest(&self) {
        let works = self.writer().as_ref().is_some_and(Writer::is_open);
        if self.used.swap(false, Ordering::Relaxed) || works {
            return;
        }
        self.close();
    }

    /// Closes everything for good: whoever still has a handle finds the generation unknown.
    pub(super) fn remove(&self) {
        self.removed.store(true, Ordering::SeqCst);
        self.close();
    }

    fn close(&self) {
        // The writer last: whoever closes the last connection moves the write-ahead log into the file.
        self.view.close();
        self.readers.close_idle();
        *self.writer() = None;
    }

    /// Writes, and opens the writer for it where necessary. A writer that failed is opened anew the next time.
    fn write<T>(&self, write: impl FnOnce(&mut Writer) -> rusqlite::Result<T>) -> Result<T, Unwritten> {
        self.used.store(true, Ordering::Relaxed);
        let mut writer = self.writer();
        // Under the lock, which a removal takes after it has said so.
        if self.removed.load(Ordering::SeqCst) {
            return Err(Unwritten::Removed);
        }
        let failed = |error: &dyn Display| Unwritten::Failed(error.to_string());
        let open = match &mut *writer {
            Some(open) => open,
            resting => {
                let connection = connection::open(&self.path, &schema::READ_MODEL, Absent::Refuse, |_| Ok(()));
                let connection = connection.map_err(|error| failed(&error))?;
                resting.insert(settled(connection).map_err(|error| failed(&error))?)
            }
        };
        let written = write(open).map_err(|error| failed(&error));
        if written.is_err() {
            *writer = None;
        }
        written
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        // A transaction that a panic interrupts is rolled back.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self) -> Result<(), ReadModelError> {
        self.used.store(true, Ordering::Relaxed);
        if self.removed.load(Ordering::SeqCst) { Err(ReadModelError::Unknown(self.generation.clone())) } else { Ok(()) }
    }

    fn unavailable(&self, error: impl Display) -> ReadModelError {
        ReadModelError::Unavailable(format!("{}: {error}", self.path.display()))
    }
}

/// Why nothing was written.
enum Unwritten {
    /// The generation has been removed.
    Removed,
    /// The storage failed.
    Failed(String),
}

/// Sets what holds for the writer of a generation.
fn settled(connection: Connection) -> rusqlite::Result<Writer> {
    connection::set_cache(&connection, WRITER_CACHE)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
    Writer::new(connection)
}

/// The file of a generation.
fn path(folder: &Path, generation: &Generation) -> PathBuf {
    folder.join(generation.processor.as_str()).join(format!("{}.db", generation.number))
}

/// Removes the files of a generation.
pub(super) fn remove(folder: &Path, generation: &Generation) -> Result<(), ReadModelError> {
    let path = path(folder, generation);
    remove_files(&path).map_err(|error| ReadModelError::Unavailable(format!("{}: {error}", path.display())))
}

/// Removes a file of SQLite, what SQLite keeps beside it, and the folder if nothing else is in it.
fn remove_files(path: &Path) -> io::Result<()> {
    for beside in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(beside);
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // Other generations of the processor may be in it still.
    if let Some(folder) = path.parent() {
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

impl View for Storage {
    fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        self.present()?;
        self.view.get(collection, key).map_err(|error| self.unavailable(error))
    }

    fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        self.present()?;
        self.view.scan(collection, scan).map_err(|error| self.unavailable(error))
    }
}
