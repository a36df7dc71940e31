//! The journal in PostgreSQL, one for all hosts of a database. An entry is on disk before it is acknowledged or followed.

use std::sync::Arc;

use async_trait::async_trait;
use lantern_core::{Clock, Entry, Happening, Subject, journal::JournalError};
use sqlx::{PgConnection, Row, postgres::PgRow};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    connection,
    database::Database,
    listener::{self, Followed},
};

/// Lets one writer at a time number an entry; readers are not held up. A commit here waits for the disk whatever the
/// server's defaults.
const TURN: &str = "begin; set local synchronous_commit = on; lock table entry in exclusive mode";

const LAST: &str = "select coalesce(max(sequence), 0) from entry";

const INSERT: &str = "
    with added as (insert into entry (sequence, entry) values ($1, $2))
    select pg_notify($3, $4)";

/// A journal in PostgreSQL.
pub struct Journal {
    database: Database,
    clock: Arc<dyn Clock>,
    end: Arc<End>,
    listener: JoinHandle<()>,
}

/// The sequence of the last entry, as this host knows.
struct End {
    channel: String,
    sequence: watch::Sender<u64>,
}

impl Journal {
    /// Opens the journal of a database. Its entries carry the clock's time. Needs a runtime, one of whose tasks follows
    /// what other hosts write.
    #[must_use]
    pub fn open(database: &Database, clock: Arc<dyn Clock>) -> Self {
        let channel = format!("{}:journal", database.channel());
        let end = Arc::new(End { channel, sequence: watch::Sender::new(0) });
        let listener = tokio::spawn(listener::run(database.clone(), end.clone()));
        Self { database: database.clone(), clock, end, listener }
    }

    /// Adds an entry, where `after` is given only when the journal ends there.
    async fn add(
        &self,
        after: Option<u64>,
        subject: &Subject,
        happening: Happening,
    ) -> Result<Option<Entry>, JournalError> {
        let mut transaction = self.database.pool().begin_with(TURN).await.map_err(|error| failed(&error))?;
        let last = last(&mut transaction).await.map_err(|error| failed(&error))?;
        if after.is_some_and(|after| after != last) {
            return Ok(None);
        }
        let entry = Entry { sequence: last + 1, at: self.clock.now(), subject: subject.clone(), happening };
        let text = serde_json::to_string(&entry).map_err(|error| JournalError(error.to_string()))?;
        let insert = sqlx::query(INSERT)
            .bind(entry.sequence.cast_signed())
            .bind(text)
            .bind(&self.end.channel)
            .bind(entry.sequence.to_string());
        insert.execute(&mut *transaction).await.map_err(|error| failed(&error))?;
        transaction.commit().await.map_err(|error| failed(&error))?;
        self.end.heard(entry.sequence);
        Ok(Some(entry))
    }
}

impl Followed for Arc<End> {
    fn channel(&self) -> String {
        self.channel.clone()
    }

    async fn look(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        self.heard(last(connection).await?);
        Ok(())
    }

    fn heard(&self, length: u64) {
        self.sequence.send_if_modified(|last| {
            let forward = *last < length;
            *last = length.max(*last);
            forward
        });
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.listener.abort();
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
        let entries = sqlx::query("select sequence, entry from entry where sequence > $1 order by sequence")
            .bind(i64::try_from(after).unwrap_or(i64::MAX));
        let rows = entries.fetch_all(self.database.pool()).await.map_err(|error| failed(&error))?;
        rows.iter().map(entry).collect()
    }

    fn end(&self) -> watch::Receiver<u64> {
        self.end.sequence.subscribe()
    }
}

/// The sequence of the last entry; 0 without entries.
async fn last(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let last: i64 = sqlx::query_scalar(LAST).fetch_one(connection).await?;
    Ok(last.cast_unsigned())
}

fn entry(row: &PgRow) -> Result<Entry, JournalError> {
    let sequence: i64 = row.try_get(0).map_err(|error| failed(&error))?;
    let text: &str = row.try_get(1).map_err(|error| failed(&error))?;
    let damaged = |error| format!("entry {sequence} cannot be read: {error}; restore the database from a backup");
    serde_json::from_str(text).map_err(|error| JournalError(damaged(error)))
}

fn failed(error: &sqlx::Error) -> JournalError {
    JournalError(connection::describe(error))
}
