//! The log in a SQLite file: one writer on a thread of its own, and a few readers that never wait for it.

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use lantern_core::{
    Append, Appended, Event, EventId, Filter, Incarnation, Page, Position, StreamName, Version,
    log::{AppendError, LogError, Range},
};
use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{
    answers::Answered,
    connection::{self, Absent, OpenError},
    damage::Damage,
    ledger::Memory,
    names::Names,
    readers::{Reader, Readers},
    reads, schema,
    sequencer::Sequencer,
};
use crate::{
    decide,
    page::Stretch,
    waiting::{self, Request},
};

/// How many reads run at a time.
const READERS: usize = 4;

/// How much of the file the writer and a reader keep in memory, in KiB.
const WRITER_CACHE: u32 = 32 * 1024;
const READER_CACHE: u32 = 4 * 1024;

/// A log in a SQLite file. An append is on disk before it is acknowledged.
///
/// Dropping it waits until all that was accepted is written.
pub struct Log {
    /// `None` only while it is dropped.
    requests: Option<mpsc::Sender<Request<Answered>>>,
    /// `None` only while it is dropped.
    writer: Option<JoinHandle<()>>,
    readers: Readers<Names>,
    head: watch::Receiver<Position>,
    incarnation: Incarnation,
}

impl Log {
    /// Opens the log at a path, or begins one there. Only one `Log` may write to a file.
    ///
    /// # Errors
    ///
    /// The file is no log of Lantern, is from another version, or cannot be used.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let unusable = |reason: String| OpenError::Unusable { path: path.into(), reason };
        let connection = connection::open(path, &schema::LOG, Absent::Create, |_| Ok(()))?;
        let settled = connection::set_cache(&connection, WRITER_CACHE)
            .and_then(|()| connection::own_checkpoints(&connection))
            .and_then(|()| Ok((Memory::load(&connection)?, incarnation(&connection)?)));
        let (memory, incarnation) = settled.map_err(|error| unusable(error.to_string()))?;
        let (moved, head) = watch::channel(memory.head());
        let (requests, waiting) = mpsc::channel(waiting::MOST);
        let sequencer = Sequencer::new(connection, memory, waiting, moved);
        let writer = thread::Builder::new()
            .name("log-writer".into())
            .spawn(|| sequencer.run())
            .map_err(|error| unusable(error.to_string()))?;
        let readers = Readers::new(path, Arc::new(Semaphore::new(READERS)), READER_CACHE, Names::new);
        Ok(Self { requests: Some(requests), writer: Some(writer), readers, head, incarnation })
    }

    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Reader<Names>) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        self.readers.read(read, LogError::Unavailable).await
    }

    async fn read_page(
        &self,
        start: Position,
        stretch: fn(Position, Position, &Filter) -> Stretch,
        filter: &Filter,
        limit: usize,
    ) -> Result<Page, LogError> {
        let stretch = stretch(start, *self.head.borrow(), filter);
        if stretch.is_empty() || limit == 0 {
            return Ok(Page { events: Vec::new(), end: start });
        }
        let filter = filter.clone();
        self.read_with(move |reader| reads::page(reader, stretch, &filter, limit)).await
    }
}

fn incarnation(connection: &Connection) -> rusqlite::Result<Incarnation> {
    connection.query_row("select incarnation from log", (), |row| row.get(0).map(Incarnation::from_bytes))
}

impl Drop for Log {
    fn drop(&mut self) {
        // The writer ends when there is nobody left to ask it anything.
        drop(self.requests.take());
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of the log panicked");
        }
    }
}

#[async_trait]
impl lantern_core::Log for Log {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        decide::check_size(&appends)?;
        let stopped = || AppendError::Unavailable("its writer has stopped; restart the host".into());
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(stopped)?;
        requests.send(Request { appends, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?.answer
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.read_page(after, Stretch::forward, filter, limit).await
    }

    async fn read_backward(&self, before: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.read_page(before, Stretch::backward, filter, limit).await
    }

    async fn read_stream(&self, stream: &StreamName, range: Range) -> Result<Vec<Event>, LogError> {
        let stream = stream.clone();
        self.read_with(move |reader| reads::stream(reader, &stream, range)).await
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, LogError> {
        let stream = stream.clone();
        let failed = |error| Damage::File(error).at(Position::START);
        self.read_with(move |reader| reads::stream_version(&reader.connection, &stream).map_err(failed)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, LogError> {
        self.read_with(move |reader| reads::event(reader, id)).await
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }
}
