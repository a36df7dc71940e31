//! The task that reads a group's entries while it holds the lease, and hands them over in batches.
//!
//! ```text
//!   no lease ──(free)──▶ what the last reader left, from the first ──▶ new entries ──▶ …
//!      ▲                                                                    │
//!      └──────────────────────── lease lost, connection lost ◀──────────────┘
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lantern_core::BusError;
use redis_client::{Cmd, Value, aio::MultiplexedConnection, cmd};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Settings,
    connection::Connections,
    entry::{self, Entry},
    scripts::{CLAIM, READ, RELEASE},
};

/// How many entries are read at once.
const COUNT: usize = 100;

/// The pause after a failure, doubled up to the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Makes a group, and its stream, when they are missing.
pub(super) async fn create_group(
    connections: &Connections,
    stream: &str,
    group: &str,
    from: &str,
) -> Result<(), BusError> {
    let mut create = cmd("XGROUP");
    create.arg("CREATE").arg(stream).arg(group).arg(from).arg("MKSTREAM");
    match connections.run::<()>(&create).await {
        Err(BusError::Unavailable { reason, .. }) if reason.contains("BUSYGROUP") => Ok(()),
        made => made,
    }
}

/// What the task hands over.
#[derive(Debug)]
pub(super) struct Batch {
    /// Which time it holds the lease, from 1.
    pub(super) session: u64,
    /// Whether the entries were delivered before.
    pub(super) again: bool,
    pub(super) entries: Vec<Entry>,
}

/// The task.
pub(super) struct Reader {
    pub(super) connections: Arc<Connections>,
    pub(super) settings: Settings,
    pub(super) stream: Arc<str>,
    pub(super) group: Arc<str>,
    pub(super) batches: mpsc::Sender<Result<Batch, BusError>>,
    /// Tells this reader from all others.
    token: String,
    session: u64,
}

/// Where a session stands.
struct Session {
    number: u64,
    /// After which of the unacknowledged entries to read; `None` when all of them were read.
    left: Option<(u64, u64)>,
    /// The last entry delivered to the group.
    last: String,
    claimed: Instant,
}

/// What a read came to.
enum Read {
    /// Another reader holds the lease for so long.
    Other(Duration),
    /// The lease was free and is taken; this entry is the last that was delivered to the group.
    Taken(String),
    /// Entries, and how many were trimmed before the group had them.
    Mine { entries: Vec<Entry>, trimmed: u64 },
}

/// Nobody wants the entries any more.
struct Gone;

/// Why a session ended.
enum End {
    Gone,
    Failed(BusError),
    /// Another reader has the lease.
    Lost,
}

impl From<Gone> for End {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<BusError> for End {
    fn from(error: BusError) -> Self {
        Self::Failed(error)
    }
}

impl Reader {
    pub(super) fn new(
        connections: Arc<Connections>,
        settings: Settings,
        (stream, group): (Arc<str>, Arc<str>),
        batches: mpsc::Sender<Result<Batch, BusError>>,
    ) -> Self {
        let token = Uuid::new_v4().to_string();
        Self { connections, settings, stream, group, batches, token, session: 0 }
    }

    /// Reads until nobody takes the entries any more, then gives the lease back.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE.0;
        loop {
            let began = self.session;
            match self.connected().await {
                Err(End::Gone) => break,
                Err(End::Lost) | Ok(()) => {}
                Err(End::Failed(error)) => {
                    if self.session > began {
                        pause = PAUSE.0;
                    }
                    if self.batches.send(Err(error)).await.is_err() {
                        break;
                    }
                    if self.pause(pause).await.is_err() {
                        break;
                    }
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
        // When the server is away, the lease ends by itself.
        let release = self.script(RELEASE, &[self.token.as_str()]);
        let _: Result<Value, _> = self.connections.run(&release).await;
    }

    /// Waits, but not when nobody takes the entries any more.
    async fn pause(&self, pause: Duration) -> Result<(), Gone> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.batches.closed() => Err(Gone),
        }
    }

    /// How long to wait at most before the lease is prolonged.
    fn breath(&self) -> Duration {
        self.settings.lease / 3
    }

    /// One connection: waits for the lease and reads while it has it.
    async fn connected(&mut self) -> Result<(), End> {
        let mut connection = self.connections.own(self.breath()).await?;
        // A server that lost its data has lost the group too; what comes into the stream then is all new.
        create_group(&self.connections, &self.stream, &self.group, "0").await?;
        loop {
            match self.read(&mut connection, 0, ">").await? {
                Read::Other(left) => self.pause(left.clamp(Duration::from_millis(10), self.breath())).await?,
                Read::Taken(last) => {
                    self.session += 1;
                    let claimed = Instant::now();
                    let session = Session { number: self.session, left: Some((0, 0)), last, claimed };
                    match self.read_on(&mut connection, session).await {
                        Err(End::Lost) => {}
                        end => return end,
                    }
                }
                // The lease is left from a connection that broke; a session begins only when it is taken.
                Read::Mine { .. } => {
                    let release = self.script(RELEASE, &[self.token.as_str()]);
                    let _: Value = self.ask(&mut connection, &release).await?;
                }
            }
        }
    }

    /// One session.
    async fn read_on(&self, connection: &mut MultiplexedConnection, mut session: Session) -> Result<(), End> {
        let claimed = self.claim(connection).await?;
        tracing::debug!(stream = %self.stream, group = %self.group, claimed = claimed.len(), "reads for its group");
        loop {
            self.room(connection).await?;
            if let Some(after) = session.left {
                let entries = self.entries(connection, &format!("{}-{}", after.0, after.1)).await?;
                session.left = entries.last().map(|entry| entry.id);
                self.hand_over(&session, true, entries).await?;
                continue;
            }
            if session.claimed.elapsed() >= self.settings.claim {
                session.claimed = Instant::now();
                let claimed = self.claim(connection).await?;
                if !claimed.is_empty() {
                    self.hand_over(&session, true, claimed).await?;
                    continue;
                }
            }
            let entries = self.entries(connection, ">").await?;
            match entries.last() {
                Some(last) => {
                    session.last = last.offset().to_string();
                    self.hand_over(&session, false, entries).await?;
                }
                None => self.wait(connection, &session.last).await?,
            }
        }
    }

    /// Waits until there is room for a batch, and keeps the lease meanwhile.
    async fn room(&self, connection: &mut MultiplexedConnection) -> Result<(), End> {
        loop {
            tokio::select! {
                biased;
                permit = self.batches.reserve() => return permit.map(drop).map_err(|_| End::Gone),
                () = tokio::time::sleep(self.breath()) => {}
            }
            self.mine(self.read(connection, 0, ">").await?)?;
        }
    }

    async fn hand_over(&self, session: &Session, again: bool, entries: Vec<Entry>) -> Result<(), Gone> {
        if entries.is_empty() {
            return Ok(());
        }
        let batch = Batch { session: session.number, again, entries };
        self.batches.send(Ok(batch)).await.map_err(|_| Gone)
    }

    /// Waits for an entry after the last one, or until the lease wants to be prolonged.
    async fn wait(&self, connection: &mut MultiplexedConnection, last: &str) -> Result<(), End> {
        let mut read = cmd("XREAD");
        let milliseconds = u64::try_from(self.breath().as_millis()).unwrap_or(u64::MAX).max(1);
        read.arg("COUNT").arg(1).arg("BLOCK").arg(milliseconds).arg("STREAMS").arg(&*self.stream).arg(last);
        // What it answers is a hint; the group's own read is the truth.
        tokio::select! {
            answer = self.ask::<Value>(connection, &read) => answer.map(drop).map_err(End::from),
            () = self.batches.closed() => Err(End::Gone),
        }
    }

    async fn entries(&self, connection: &mut MultiplexedConnection, from: &str) -> Result<Vec<Entry>, End> {
        self.mine(self.read(connection, COUNT, from).await?)
    }

    fn mine(&self, read: Read) -> Result<Vec<Entry>, End> {
        match read {
            Read::Mine { entries, trimmed } => {
                if trimmed > 0 {
                    tracing::error!(stream = %self.stream, group = %self.group, trimmed,
                        "entries were trimmed before the group had them, it will never see them: raise `maxlen` in the \
                         URL of the bus that publishes");
                }
                Ok(entries)
            }
            // Somebody else may have read in between: what the group has left is to be read from the start.
            Read::Other(_) | Read::Taken(_) => Err(End::Lost),
        }
    }

    async fn read(&self, connection: &mut MultiplexedConnection, count: usize, from: &str) -> Result<Read, BusError> {
        let lease = self.settings.lease.as_millis().to_string();
        let script = self.script(READ, &[&self.token, &lease, &self.group, &count.to_string(), from]);
        let (status, rest, trimmed): (String, Value, u64) = self.ask(connection, &script).await?;
        let read = match (status.as_str(), rest) {
            ("other", Value::Int(left)) => Some(Read::Other(Duration::from_millis(u64::try_from(left).unwrap_or(0)))),
            ("taken", Value::BulkString(last)) => {
                entry::id(&last).map(|(time, count)| Read::Taken(format!("{time}-{count}")))
            }
            ("mine", entries) => Entry::of_stream(entries).map(|entries| Read::Mine { entries, trimmed }),
            _ => None,
        };
        read.ok_or_else(|| self.strange())
    }

    async fn claim(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Entry>, BusError> {
        let idle = self.settings.claim.as_millis().to_string();
        let script = self.script(CLAIM, &[&self.token, &self.group, &idle, &COUNT.to_string()]);
        let entries: Value = self.ask(connection, &script).await?;
        Entry::list(entries).ok_or_else(|| self.strange())
    }

    fn script(&self, text: &str, arguments: &[&str]) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(text).arg(2).arg(format!("{}:{}:reader", self.stream, self.group)).arg(&*self.stream);
        for argument in arguments {
            command.arg(*argument);
        }
        command
    }

    async fn ask<T: redis_client::FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        command: &Cmd,
    ) -> Result<T, BusError> {
        command.query_async(connection).await.map_err(|error| self.connections.error(&error))
    }

    fn strange(&self) -> BusError {
        let reason = "it answered in a way that no Redis from 7.0 on does".into();
        BusError::Unavailable { bus: self.connections.name().into(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{Address, Options},
        contract::variable,
        redis::{NAME, PORT, Redis},
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_trimmed_before_the_group_had_it_is_told_once() {
        let url = variable("LANTERN_TEST_REDIS_URL");
        let address = Address::read(NAME, url.strip_prefix("redis://").unwrap(), PORT).unwrap();
        let Redis { connections, settings } = Redis::open(&address, false, Options::read(NAME, None).unwrap()).unwrap();
        let (stream, group): (Arc<str>, Arc<str>) = (format!("trimmed-{}", Uuid::new_v4()).into(), "behind".into());
        create_group(&connections, &stream, &group, "0").await.unwrap();
        let add = async |count: u64| {
            for _ in 0..count {
                connections.run::<()>(cmd("XADD").arg(&*stream).arg("*").arg("field").arg(1)).await.unwrap();
            }
        };
        let trim = async |left: u64| {
            connections.run::<()>(cmd("XTRIM").arg(&*stream).arg("MAXLEN").arg("=").arg(left)).await.unwrap();
        };
        let (batches, _waiting) = mpsc::channel(1);
        let reader = Reader::new(connections.clone(), settings, (stream.clone(), group), batches);
        let mut connection = connections.own(Duration::from_secs(1)).await.unwrap();
        let mut read = async || match reader.read(&mut connection, COUNT, ">").await.unwrap() {
            Read::Mine { entries, trimmed } => (entries.len(), trimmed),
            Read::Taken(_) => (0, 0),
            Read::Other(_) => panic!("nobody else reads"),
        };
        read().await;
        add(5).await;
        assert_eq!(read().await, (5, 0));
        trim(2).await;
        add(4).await;
        assert_eq!(read().await, (4, 0), "what is gone was read");
        add(6).await;
        trim(2).await;
        assert_eq!(read().await, (2, 4), "four went before they were read");
        add(1).await;
        trim(1).await;
        assert_eq!(read().await, (1, 0), "it was told");
        connections.run::<()>(cmd("DEL").arg(&*stream)).await.unwrap();
    }
}
