//! The journal in a SQLite file. An entry is on disk before it is acknowledged.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use lantern_core::{Clock, Entry, Happening, Subject, Timestamp, journal::JournalError};
use rusqlite::{Connection, TransactionBehavior};
use tokio::{sync::watch, task};

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
    end: Arc<watch::Sender<u64>>,
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
        let unusable = |reason: String| OpenError::Unusable { path: path.into(), reason };
        let end = last(&connection).map_err(|error| unusable(error.to_string()))?;
        let file = Arc::new(JournalFile { path: path.into(), connection: Mutex::new(connection) });
        Ok(Self { file, clock, end: Arc::new(watch::Sender::new(end)) })
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

    /// Adds an entry, where `after` is given only when the journal ends there.
    async fn add(
        &self,
        after: Option<u64>,
        subject: &Subject,
        happening: Happening,
    ) -> Result<Option<Entry>, JournalError> {
        let (at, subject, end) = (self.clock.now(), subject.clone(), self.end.clone());
        self.with(move |connection| {
            let entry = append(connection, after, at, subject, happening)?;
            // While the connection is locked, so that the number never goes back.
            if let Some(entry) = &entry {
                end.send_replace(entry.sequence);
            }
            Ok(entry)
        })
        .await
    }
}

#[async_trait]
impl lantern_core::Journal for Journal {
    async fn append(&self, subject: &Subject, happening: Happening) -> Result<Entry, JournalError> {
        let entry = self.add(None, subject, happening).await?;
        entry.ok_or_else(|| JournalError("an entry without condition was not added".into()))
    }

    async fn append_after(
        &self,
        last: u64,
        subject: &Subject,
        happening: Happening,
    ) -> Result<Option<Entry>, JournalError> {
        self.add(Some(last), subject, happening).await
    }

    async fn entries_after(&self, after: u64) -> Result<Vec<Entry>, JournalError> {
        self.with(move |connection| entries(connection, after)).await
    }

    fn end(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }
}

/// The sequence of the last entry; 0 without entries.
fn last(connection: &Connection) -> rusqlite::Result<u64> {
    let last: Option<i64> = connection.query_row("select max(sequence) from entry", (), |row| row.get(0))?;
    Ok(last.unwrap_or(0).cast_unsigned())
}

fn append(
    connection: &mut Connection,
    after: Option<u64>,
    at: Timestamp,
    subject: Subject,
    happening: Happening,
) -> Result<Option<Entry>, String> {
    let failed = |error: rusqlite::Error| error.to_string();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let last = last(&transaction).map_err(failed)?;
    if after.is_some_and(|after| after != last) {
        return Ok(None);
    }
    let entry = Entry { sequence: last + 1, at, subject, happening };
    let text = serde_json::to_string(&entry).map_err(|error| error.to_string())?;
    let row = (entry.sequence.cast_signed(), text);
    transaction.execute("insert into entry (sequence, entry) values (?1, ?2)", row).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(Some(entry))
}

fn entries(connection: &Connection, after: u64) -> Result<Vec<Entry>, String> {
    let failed = |error: rusqlite::Error| error.to_string();
    let query = "select sequence, entry from entry where sequence > ?1 order by sequence";
    let mut statement = connection.prepare_cached(query).map_err(failed)?;
    let mut rows = statement.query((i64::try_from(after).unwrap_or(i64::MAX),)).map_err(failed)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let sequence: i64 = row.get(0).map_err(failed)?;
        let text: String = row.get(1).map_err(failed)?;
        let damaged = |error| format!("entry {sequence} cannot be read: {error}; restore the file from a backup");
        entries.push(serde_json::from_str(&text).map_err(damaged)?);
    }
    Ok(entries)
}
