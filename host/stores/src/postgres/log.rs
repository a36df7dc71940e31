//! The log in PostgreSQL, shared by any number of hosts.

use std::sync::Arc;

use async_trait::async_trait;
use lantern_core::{
    Append, Appended, Event, EventId, Filter, Incarnation, Page, Position, StreamName, Version,
    log::{AppendError, LogError, Range},
};
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    connection::{self, OpenError},
    damage::Damage,
    database::Database,
    head::{self, Head, Shared},
    ledger, listener, reads,
    sequencer::Sequencer,
};
use crate::{
    decide,
    page::Stretch,
    waiting::{self, Request},
};

/// What holds for the connections that read. Every read follows an index and ends when it has enough. Left to itself the
/// planner thinks a young log small, since nobody has counted it yet, and sorts all of it for each page.
const READING: [(&str, &str); 3] = [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("enable_sort", "off")];

/// A log in PostgreSQL. An append is on disk before it is acknowledged, and nobody is shown an event before it is.
///
/// Several hosts may append at once. What one of them appends is known to the others within milliseconds, and within
/// seconds when notifications are lost.
pub struct Log {
    database: Database,
    readers: PgPool,
    requests: mpsc::Sender<Request>,
    listener: JoinHandle<()>,
    head: Arc<Head>,
}

impl Log {
    /// Opens the log of a database. Needs a runtime, whose tasks write what was accepted even after the log is dropped.
    ///
    /// # Errors
    ///
    /// The server cannot be used.
    pub async fn open(database: &Database) -> Result<Self, OpenError> {
        let head = Arc::new(Head::new(Position::START));
        let readers = connection::pool(database.options().clone().options(READING));
        let found = async {
            let mut connection = readers.acquire().await?;
            let seen = head::visible(&mut connection).await?;
            head::settle(&mut connection, seen, &head).await
        };
        found.await.map_err(|error| database.unreachable(&error))?;
        let (requests, waiting) = mpsc::channel(waiting::MOST);
        tokio::spawn(Sequencer::new(database.clone(), waiting, head.clone()).run());
        let shared = Shared::new(head.clone(), database.channel());
        let listener = tokio::spawn(listener::run(database.clone(), shared));
        Ok(Self { database: database.clone(), readers, requests, listener, head })
    }

    async fn connection(&self) -> Result<PoolConnection<Postgres>, LogError> {
        self.head.check()?;
        self.readers.acquire().await.map_err(unavailable)
    }

    /// Shows what a connection has read only when it is durable, so that it cannot be taken back.
    async fn settled<T>(&self, connection: &mut PgConnection, seen: Position, read: T) -> Result<T, LogError> {
        head::settle(connection, seen, &self.head).await.map_err(unavailable)?;
        Ok(read)
    }

    async fn read_page(
        &self,
        start: Position,
        stretch: fn(Position, Position, &Filter) -> Stretch,
        filter: &Filter,
        limit: usize,
    ) -> Result<Page, LogError> {
        self.head.check()?;
        let stretch = stretch(start, self.head.position(), filter);
        if stretch.is_empty() || limit == 0 {
            return Ok(Page { events: Vec::new(), end: start });
        }
        reads::page(&mut *self.connection().await?, stretch, filter, limit).await
    }
}

fn unavailable(error: sqlx::Error) -> LogError {
    Damage::Database(error).at(Position::START)
}

impl Drop for Log {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[async_trait]
impl lantern_core::Log for Log {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        decide::check_size(&appends)?;
        self.head.check().map_err(ledger::unavailable)?;
        let stopped = || AppendError::Unavailable("its writer has stopped; restart the host".into());
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { appends, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.read_page(after, Stretch::forward, filter, limit).await
    }

    async fn read_backward(&self, before: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.read_page(before, Stretch::backward, filter, limit).await
    }

    async fn read_stream(&self, stream: &StreamName, range: Range) -> Result<Vec<Event>, LogError> {
        let mut connection = self.connection().await?;
        let events = reads::stream(&mut connection, stream, range).await?;
        let seen = events.iter().map(|event| event.position).max().unwrap_or_default();
        self.settled(&mut connection, seen, events).await
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, LogError> {
        let mut connection = self.connection().await?;
        let (version, seen) = reads::last(&mut connection, stream).await.map_err(unavailable)?;
        self.settled(&mut connection, seen, version).await
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, LogError> {
        let mut connection = self.connection().await?;
        let event = reads::event(&mut connection, id).await?;
        let seen = event.as_ref().map_or(Position::START, |event| event.position);
        self.settled(&mut connection, seen, event).await
    }

    fn incarnation(&self) -> Incarnation {
        self.database.incarnation()
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.watch()
    }
}
