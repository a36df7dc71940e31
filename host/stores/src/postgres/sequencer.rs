//! The writer of a log on this host: takes the appends that wait, writes them in one transaction, and has them answered
//! when they are durable. Other hosts have a writer of their own; the log's row is the turn they take.
//!
//! ```text
//!  appends ─▶ bounded channel ─▶ decide, insert, commit ─▶ bounded channel ─▶ flush ─▶ head ─▶ answers ─▶ notify
//!                                one transaction for all    the next is written meanwhile
//!                                that wait
//!                                         └ alone: durable ─▶ head ─▶ answers ─▶ notify
//! ```
//!
//! The two halves have a connection each, opened and given up together: see `head.rs` for why a flush proves nothing
//! about what was committed before its connection was there. Nothing is ever tried again: whoever appends knows the ids.

use std::{sync::Arc, time::Duration};

use lantern_core::{Position, log::AppendError};
use sqlx::{Connection, PgConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use super::{
    connection,
    damage::Damage,
    database::Database,
    head::{self, Head},
    ledger::{self, Writer, Written},
};
use crate::waiting::{Answer, Request, Size};

/// How many clients are a crowd, and how long the next appends of a crowd are waited for: less than a flush takes.
const CROWD: usize = 8;
const PATIENCE: Duration = Duration::from_millis(1);

/// How many transactions may wait for the disk, or to be told of.
const UNFLUSHED: usize = 64;

/// A connection that was idle for this long is tried out before it is used.
const TRUSTED: Duration = Duration::from_secs(1);

/// What holds for the connection that writes. A writer that stops in the middle of a transaction, because its host was
/// frozen or cut off, holds the others up for no longer than this.
const SETTINGS: [(&str, &str); 4] = [
    // Each statement sees what was committed before it, whatever the server's defaults.
    ("default_transaction_isolation", "read committed"),
    ("idle_in_transaction_session_timeout", "3s"),
    ("lock_timeout", "10s"),
    // The statistics of a young log are those of an empty one.
    ("enable_seqscan", "off"),
];

/// The writer of a log.
pub(super) struct Sequencer {
    database: Database,
    requests: mpsc::Receiver<Request>,
    head: Arc<Head>,
    session: Option<Session>,
    /// How many appends the last transaction had.
    last: usize,
}

/// The two connections of a writer.
struct Session {
    writer: Writer,
    used: Instant,
    flushing: mpsc::Sender<Committed>,
}

/// A transaction that is committed.
struct Committed {
    head: Position,
    /// Who waits for it to be on disk: nobody when it is.
    waiting: Vec<(oneshot::Sender<Answer>, Answer)>,
}

impl Sequencer {
    pub(super) fn new(database: Database, requests: mpsc::Receiver<Request>, head: Arc<Head>) -> Self {
        Self { database, requests, head, session: None, last: 0 }
    }

    /// Writes until nobody can append any more and all that was accepted is written.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.requests.recv().await {
            let batch = self.gather(first).await;
            self.serve(batch).await;
        }
    }

    /// Takes the appends that wait, up to what one transaction takes. When many clients were answered just now, their
    /// next appends are on the way: they are waited for a moment, since two transactions cost twice what one does.
    async fn gather(&mut self, first: Request) -> Vec<Request> {
        let mut size = Size::default();
        size.add(&first);
        let mut batch = vec![first];
        let patience = Instant::now() + PATIENCE;
        while size.has_room() {
            let next = match self.requests.try_recv() {
                Ok(request) => Some(request),
                Err(_) if self.last < CROWD || batch.len() >= self.last => None,
                Err(_) => time::timeout_at(patience, self.requests.recv()).await.ok().flatten(),
            };
            let Some(request) = next else { break };
            size.add(&request);
            batch.push(request);
        }
        self.last = batch.len();
        batch
    }

    async fn serve(&mut self, batch: Vec<Request>) {
        let error = match self.write(&batch).await {
            Ok(written) => return self.conclude(batch, written).await,
            Err(error) => error,
        };
        tracing::error!(appends = batch.len(), "appending failed: {error}");
        self.session = None;
        for request in batch {
            drop(request.answer.send(Err(error.clone())));
        }
    }

    async fn write(&mut self, batch: &[Request]) -> Result<Written, AppendError> {
        let trusted = match &mut self.session {
            Some(session) if session.used.elapsed() > TRUSTED => session.is_alive().await,
            session => session.is_some(),
        };
        if !trusted {
            self.session = None;
            let opened = Session::open(self.database.clone(), self.head.clone()).await;
            self.session = Some(opened.map_err(Damage::from).map_err(ledger::failed)?);
        }
        let Some(session) = &mut self.session else { return Err(unknown()) };
        let written = session.writer.write(&self.head, batch).await;
        session.used = Instant::now();
        written
    }

    /// Has the clients answered. What is durable is answered at once, and other hosts are told when there is time.
    async fn conclude(&mut self, batch: Vec<Request>, written: Written) {
        let Written { answers, head, is_durable } = written;
        let waiting = batch.into_iter().map(|request| request.answer).zip(answers).collect();
        let mut committed = Committed { head, waiting };
        if is_durable {
            // Before the answers, so that whoever has one can read what it appended.
            self.head.advance(head);
            committed.answer();
        } else if head <= self.head.position() {
            return committed.answer();
        }
        let refused = match &self.session {
            Some(session) => session.flushing.send(committed).await.err().map(|refused| refused.0),
            None => Some(committed),
        };
        if let Some(mut committed) = refused {
            self.session = None;
            committed.fail();
        }
    }
}

impl Session {
    async fn open(database: Database, head: Arc<Head>) -> sqlx::Result<Self> {
        // The one that flushes first: it has to be there before anything is committed.
        let mut flusher = connection::connect(database.options()).await?;
        flusher.ping().await?;
        let writer = Writer::new(connect(&database).await?, head.position());
        let (flushing, committed) = mpsc::channel(UNFLUSHED);
        tokio::spawn(flush(flusher, committed, head, database.channel()));
        Ok(Self { writer, used: Instant::now(), flushing })
    }

    async fn is_alive(&mut self) -> bool {
        !self.flushing.is_closed() && self.writer.is_alive().await
    }
}

/// Opens a connection for a writer.
pub(super) async fn connect(database: &Database) -> sqlx::Result<PgConnection> {
    connection::connect(&database.options().clone().options(SETTINGS)).await
}

impl Committed {
    fn answer(&mut self) {
        for (client, answer) in self.waiting.drain(..) {
            drop(client.send(answer));
        }
    }

    fn fail(&mut self) {
        for (client, _) in self.waiting.drain(..) {
            drop(client.send(Err(unknown())));
        }
    }
}

/// What an append is answered whose transaction may or may not be durable.
fn unknown() -> AppendError {
    AppendError::Unavailable("the connection was lost before the answer; the same ids can be sent again".into())
}

/// Flushes and answers what is committed, all that is there at once, and tells the other hosts. Ends with the session, or
/// with its connection.
async fn flush(
    mut connection: PgConnection,
    mut committed: mpsc::Receiver<Committed>,
    head: Arc<Head>,
    channel: String,
) {
    while let Some(first) = committed.recv().await {
        let mut taken = vec![first];
        while let Ok(more) = committed.try_recv() {
            taken.push(more);
        }
        let is_durable = taken.iter().all(|committed| committed.waiting.is_empty());
        if !is_durable && let Err(error) = head::flush(&mut connection).await {
            tracing::error!("appends could not be made durable: {}", connection::describe(&error));
            // From now on nothing is handed over; what was is answered.
            committed.close();
            while let Some(more) = committed.recv().await {
                taken.push(more);
            }
            taken.iter_mut().for_each(Committed::fail);
            return;
        }
        // Before the answers, so that whoever has one can read what it appended.
        let reached = taken.iter().map(|committed| committed.head).max().unwrap_or_default();
        head.advance(reached);
        taken.iter_mut().for_each(Committed::answer);
        if let Err(error) = notify(&mut connection, &channel, reached).await {
            tracing::warn!("other hosts could not be notified: {}", connection::describe(&error));
        }
    }
}

/// Tells the other hosts how far the log is durable. It need not wait for the disk, which it would do in the way of every
/// other notification of the server.
async fn notify(connection: &mut PgConnection, channel: &str, head: Position) -> sqlx::Result<()> {
    sqlx::query("select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)")
        .bind(channel)
        .bind(head.to_string())
        .execute(connection)
        .await
        .map(drop)
}
