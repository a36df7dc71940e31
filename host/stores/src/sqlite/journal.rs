//! The journal in a SQLite file. An entry is on disk before it is acknowledged.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use lantern_core::{Clock, Entry, Happening, Subject, Timestamp, journal::JournalError};
use rusqlite::{Connection, TransactionBehavior};
use tokio::task;

use super::{
    connection::{self, Absent, OpenError},
    schema,
};

/// How much of the file is kept in memory, in KiB: a journal is written seldom and read at the start.
const CACHE: u32 = 256;

/// A journal in a SQLite file.
pub struct Journal {
    file: Arc<JournalFile>,
    clock: Arc<dyn Clock>,
}

struct JournalFile {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Journal {
    /// Opens the journal at a path, or begins one there. Its entries carry the clock's time.
    ///
    /// # Errors
    ///
    /// The file is no journal of Lantern, is from another version, or cannot be used.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let connection = connection::open(path, &schema::JOURNAL, Absent::Create, |_| Ok(()))?;
        connection::set_cache(&connection, CACHE)
            .map_err(|error| OpenError::Unusable { path: path.into(), reason: error.to_string() })?;
        Ok(Self { file: Arc::new(JournalFile { path: path.into(), connection: Mutex::new(connection) }), clock })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, String> + Send + 'static,
    ) -> Result<T, JournalError> {
        let file = self.file.clone();
        let work = move || {
            // A transaction that a panic interrupts is rolled back.
            let mut connection = file.connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection).map_err(|error| JournalError(format!("{}: {error}", file.path.display())))
        };
        task::spawn_blocking(work).await.map_err(|error| JournalError(error.to_string()))?
    }
}

#[async_trait]
impl lantern_core::Journal for Journal {
    async fn append(&self, subject: &Subject, happening: Happening) -> Result<Entry, JournalError> {
        let (at, subject) = (self.clock.now(), subject.clone());
        self.with(move |connection| append(connection, at, subject, happening)).await
    }

    async fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        self.with(|connection| entries(connection)).await
    }
}

fn append(connection: &mut Connection, at: Timestamp, subject: Subject, happening: Happening) -> Result<Entry, String> {
    let failed = |error: rusqlite::Error| error.to_string();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let last: Option<i64> =
        transaction.query_row("select max(sequence) from entry", (), |row| row.get(0)).map_err(failed)?;
    let sequence = last.unwrap_or(0) + 1;
    let entry = Entry { sequence: sequence.cast_unsigned(), at, subject, happening };
    let text = serde_json::to_string(&entry).map_err(|error| error.to_string())?;
    transaction.execute("insert into entry (sequence, entry) values (?1, ?2)", (sequence, text)).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(entry)
}

fn entries(connection: &Connection) -> Result<Vec<Entry>, String> {
    let failed = |error: rusqlite::Error| error.to_string();
    let mut statement =
        connection.prepare_cached("select sequence, entry from entry order by sequence").map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let sequence: i64 = row.get(0).map_err(failed)?;
        let text: String = row.get(1).map_err(failed)?;
        let damaged = |error| format!("entry {sequence} cannot be read: {error}; restore the file from a backup");
        entries.push(serde_json::from_str(&text).map_err(damaged)?);
    }
    Ok(entries)
}
