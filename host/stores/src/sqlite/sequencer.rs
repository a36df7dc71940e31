//! The one writer of a log: takes the appends that wait, writes them in one transaction, and answers when it is durable.
//!
//! ```text
//!  appends ─▶ bounded channel ─▶ decide, insert ┐ … ┐ ─▶ commit (on disk) ─▶ head ─▶ answers
//!                                one transaction for all that wait
//! ```
//!
//! An append that is refused has written nothing, so its neighbours in the transaction do not notice. When SQLite fails,
//! the whole transaction is rolled back, every append in it is answered with the failure, and the next one starts from
//! what the file says: a disk that was full needs no restart.

use std::{
    thread,
    time::{Duration, Instant},
};

use lantern_core::{Position, log::AppendError};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, watch};

use super::{
    answers::{self, Answered},
    ledger::{Memory, Writing, unavailable},
};
use crate::{
    decide,
    waiting::{Answer, Request, Size},
};

/// How many clients are a crowd, and how long the next appends of a crowd are waited for: less than a transaction takes.
const CROWD: usize = 8;
const PATIENCE: Duration = Duration::from_micros(150);

/// How many pages the write-ahead log may hold before its content is moved into the file: at a moment when no append
/// waits; whether or not; and waiting for readers to let go of it, so that it does not grow without end.
const CHECKPOINT_IDLE: i64 = 1024;
const CHECKPOINT_BUSY: i64 = 4096;
const CHECKPOINT_FORCED: i64 = 16_384;

/// The writer of a log.
pub(super) struct Sequencer {
    connection: Connection,
    /// `None` when it has to be read anew.
    memory: Option<Memory>,
    requests: mpsc::Receiver<Request<Answered>>,
    head: watch::Sender<Position>,
    /// How many appends the last transaction answered.
    last: usize,
}

impl Sequencer {
    pub(super) fn new(
        connection: Connection,
        memory: Memory,
        requests: mpsc::Receiver<Request<Answered>>,
        head: watch::Sender<Position>,
    ) -> Self {
        Self { connection, memory: Some(memory), requests, head, last: 0 }
    }

    /// Writes until nobody can append any more and all that was accepted is written.
    pub(super) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let batch = self.gather(first);
            self.serve(batch);
            self.checkpoint();
        }
    }

    /// Takes the appends that wait, up to what one transaction takes. When many clients were answered just now, their
    /// next appends are on the way: they are waited for a moment, since two transactions cost twice what one does.
    fn gather(&mut self, first: Request<Answered>) -> Vec<Request<Answered>> {
        let mut size = Size::default();
        size.add(&first);
        let mut batch = vec![first];
        let patience = (self.last >= CROWD).then(Instant::now);
        while size.has_room() {
            if let Ok(request) = self.requests.try_recv() {
                size.add(&request);
                batch.push(request);
                continue;
            }
            if batch.len() >= self.last || patience.is_none_or(|since| since.elapsed() > PATIENCE) {
                break;
            }
            thread::yield_now();
        }
        self.last = batch.len();
        batch
    }

    fn serve(&mut self, batch: Vec<Request<Answered>>) {
        match self.write(&batch) {
            Ok((answers, head)) => {
                // Before the answers, so that whoever has one can read what it appended.
                self.head.send_if_modified(|last| std::mem::replace(last, head) != head);
                answers::send(batch.into_iter().map(|request| request.answer).zip(answers).collect());
            }
            Err(error) => {
                tracing::error!(appends = batch.len(), "appending failed: {error}");
                self.memory = None;
                answers::send(batch.into_iter().map(|request| (request.answer, Err(error.clone()))).collect());
            }
        }
    }

    /// Writes a batch in one transaction. An error means that nothing of it is written.
    fn write(&mut self, batch: &[Request<Answered>]) -> Result<(Vec<Answer>, Position), AppendError> {
        let failed = |error| unavailable(&error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let memory = match &mut self.memory {
            Some(memory) => memory,
            unknown => unknown.insert(Memory::load(&transaction).map_err(failed)?),
        };
        let mut writing = Writing::begin(&transaction, memory).map_err(failed)?;
        let mut answers = Vec::with_capacity(batch.len());
        for request in batch {
            answers.push(match decide::decide(&mut writing, &request.appends) {
                Ok(decision) => {
                    writing.write(&request.appends, &decision).map_err(failed)?;
                    Ok(decision.places)
                }
                Err(error @ AppendError::Unavailable(_)) => return Err(error),
                Err(refusal) => Err(refusal),
            });
        }
        let head = writing.end().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok((answers, head))
    }

    /// Moves the content of the write-ahead log into the file when it has grown. A failure costs only room: the content
    /// stays where it is, and the next commit tries again.
    fn checkpoint(&self) {
        let pages = |mode: &str| {
            let query = format!("pragma wal_checkpoint({mode})");
            self.connection.query_row(&query, (), |row| row.get::<_, i64>(1))
        };
        let checked = pages("noop").and_then(|held| match held {
            CHECKPOINT_FORCED.. => pages("restart"),
            CHECKPOINT_BUSY.. => pages("passive"),
            CHECKPOINT_IDLE.. if self.requests.is_empty() => pages("passive"),
            _ => Ok(held),
        });
        if let Err(error) = checked {
            tracing::warn!("the log's write-ahead file could not be moved into the log: {error}");
        }
    }
}
