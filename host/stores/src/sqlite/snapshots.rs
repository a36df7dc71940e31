//! The snapshots of aggregates in a SQLite file. A lost one is harmless, so that writing one costs no flush.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use lantern_core::{Digest, Snapshot, StreamName, Timestamp, Version, snapshot::SnapshotError};
use rusqlite::{Connection, OptionalExtension, Row};
use tokio::sync::Semaphore;

use super::{
    blocking::blocking,
    connection::{self, Absent, OpenError},
    readers::Readers,
    schema,
};

/// How much of the file the writer and a reader keep in memory, in KiB.
const WRITER_CACHE: u32 = 1024;
const READER_CACHE: u32 = 512;

/// How many snapshots are read at a time.
const READERS: usize = 4;

const GET: &str = "select version, state, state_version, module, taken_at from snapshot where stream = ?1";

const PUT: &str = "
    insert into snapshot (stream, category, version, state_version, module, taken_at, state)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    on conflict (stream) do update set
        version = excluded.version,
        state_version = excluded.state_version,
        module = excluded.module,
        taken_at = excluded.taken_at,
        state = excluded.state
    where excluded.version >= snapshot.version";

/// The snapshots of a host, in a SQLite file.
pub struct Snapshots {
    file: Arc<File>,
    readers: Readers<()>,
    writing: Arc<Semaphore>,
}

struct File {
    path: PathBuf,
    writer: Mutex<Connection>,
}

impl Snapshots {
    /// Opens the file at a path, or makes it.
    ///
    /// # Errors
    ///
    /// The file holds something else, is from another version, or cannot be used.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let writer = connection::open(path, &schema::SNAPSHOTS, Absent::Create, |_| Ok(()))?;
        settle(&writer).map_err(|error| OpenError::Unusable { path: path.into(), reason: error.to_string() })?;
        let readers = Readers::new(path, Arc::new(Semaphore::new(READERS)), READER_CACHE, || ());
        let file = Arc::new(File { path: path.into(), writer: Mutex::new(writer) });
        Ok(Self { file, readers, writing: Arc::new(Semaphore::new(1)) })
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SnapshotError> {
        let file = self.file.clone();
        let work = move || {
            // Each write is one statement, which a panic cannot leave half done.
            let writer = file.writer.lock().unwrap_or_else(PoisonError::into_inner);
            write(&writer).map_err(|error| error.to_string())
        };
        let written = blocking(self.writing.clone(), work).await.and_then(|written| written);
        written.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &str) -> SnapshotError {
        SnapshotError(format!("{}: {error}", self.file.path.display()))
    }
}

fn settle(writer: &Connection) -> rusqlite::Result<()> {
    connection::set_cache(writer, WRITER_CACHE)?;
    writer.pragma_update(None, "synchronous", "normal")
}

#[async_trait]
impl lantern_core::Snapshots for Snapshots {
    async fn get(&self, stream: &StreamName) -> Result<Option<Snapshot>, SnapshotError> {
        let wanted = stream.clone();
        let read = self
            .readers
            .read(move |reader| get(&reader.connection, &wanted).map_err(|error| error.to_string()), |error| error);
        read.await.map_err(|error| self.failed(&error))
    }

    async fn put(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        self.write(move |connection| put(connection, &snapshot)).await
    }

    async fn delete(&self, stream: &StreamName) -> Result<bool, SnapshotError> {
        let stream = stream.clone();
        let delete = "delete from snapshot where stream = ?1";
        self.write(move |connection| Ok(connection.prepare_cached(delete)?.execute([stream.as_str()])? > 0)).await
    }

    async fn delete_category(&self, category: &str) -> Result<u64, SnapshotError> {
        let category = category.to_owned();
        let delete = "delete from snapshot where category = ?1";
        self.write(move |connection| Ok(connection.prepare_cached(delete)?.execute([category])? as u64)).await
    }
}

fn get(connection: &Connection, stream: &StreamName) -> rusqlite::Result<Option<Snapshot>> {
    let snapshot = |row: &Row<'_>| {
        Ok(Snapshot {
            stream: stream.clone(),
            version: Version(row.get::<_, i64>(0)?.cast_unsigned()),
            state: row.get::<_, Vec<u8>>(1)?.into(),
            state_version: row.get(2)?,
            module: Digest(row.get(3)?),
            taken_at: Timestamp(row.get(4)?),
        })
    };
    connection.prepare_cached(GET)?.query_row([stream.as_str()], snapshot).optional()
}

fn put(connection: &Connection, snapshot: &Snapshot) -> rusqlite::Result<()> {
    connection.prepare_cached(PUT)?.execute((
        snapshot.stream.as_str(),
        snapshot.stream.category(),
        snapshot.version.0.cast_signed(),
        snapshot.state_version,
        snapshot.module.0,
        snapshot.taken_at.0,
        &*snapshot.state,
    ))?;
    Ok(())
}
