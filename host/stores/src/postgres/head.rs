//! How far the log is durable, as this host knows, and how it comes to know it.
//!
//! The writer commits without waiting for the disk, so an event can be visible that a crash of the server would take back.
//! Nobody may act on it before it is durable. [`settle`] makes it so: PostgreSQL writes one sequence of records, and a
//! commit that waits for the disk takes all records before it along. What a connection has seen was committed before it
//! saw it; so, if the connection is the same, it is on disk when that commit returns. Were the server to crash in between,
//! the connection would be gone, and with it the proof.
//!
//! What is durable stays, unless somebody restores a backup under a host, or another server takes over that has less. Then
//! the log is not the one any more that the host has shown to others. Whoever notices says so in [`Head`], and from then on
//! the host reads and appends nothing.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lantern_core::{EventId, Position, log::LogError};
use sqlx::PgConnection;
use tokio::sync::watch;

use super::listener::Followed;

/// Waits for the disk whatever the server's defaults, without a lock and without a change to any table.
const FLUSH: &str = "select
    set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on'
        else current_setting('synchronous_commit') end, true),
    pg_logical_emit_message(true, 'lantern', '')";

/// What can be done about a log that went back.
const MEND: &str =
    "restore the log, or restart its hosts: what was made from the lost events halts then, and has to begin anew";

/// The durable head, watched. It never goes back.
pub(super) struct Head {
    position: watch::Sender<Position>,
    /// What was found when the log had gone back.
    lost: OnceLock<LogError>,
}

impl Head {
    pub(super) fn new(position: Position) -> Self {
        Self { position: watch::Sender::new(position), lost: OnceLock::new() }
    }

    pub(super) fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// Compares what was known to be durable with what was seen of the log afterwards.
    pub(super) fn confirm(&self, known: Position, seen: Position) -> Result<(), LogError> {
        if seen < known {
            self.lose(seen.next(), &format!("it went back in time: it ended at {known}, and now it ends at {seen}"));
        }
        self.check()
    }

    /// Takes note that the log has lost what stood at a position.
    fn lose(&self, position: Position, what: &str) {
        self.lost.get_or_init(|| {
            let lost = LogError::Corrupt { position, reason: format!("{what}; {MEND}") };
            tracing::error!("{lost}");
            lost
        });
    }

    /// Whether the log is still the one that this host has shown.
    pub(super) fn check(&self) -> Result<(), LogError> {
        self.lost.get().map_or(Ok(()), |lost| Err(lost.clone()))
    }

    /// Takes note that the log is durable up to a position.
    pub(super) fn advance(&self, position: Position) {
        self.position.send_if_modified(|head| {
            let forward = *head < position;
            *head = position.max(*head);
            forward
        });
    }

    pub(super) fn watch(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }
}

/// The head of a log as its host follows it: a notification is sent when what it tells of is durable.
pub(super) struct Shared {
    head: Arc<Head>,
    channel: String,
    /// The last event at the last look. It is where it was as long as the log has not gone back.
    mark: Mutex<Option<(Position, EventId)>>,
}

impl Shared {
    pub(super) fn new(head: Arc<Head>, channel: String) -> Self {
        Self { head, channel, mark: Mutex::default() }
    }

    /// Looks at the last event, and whether the last one before is where it was.
    async fn last(&self, connection: &mut PgConnection) -> sqlx::Result<Position> {
        const LAST: &str = "
            select position, id, (select id from event where position = $1) from event order by position desc limit 1";
        let (known, mark) = (self.head.position(), *self.mark());
        let marked = mark.map(|(position, _)| position.0.cast_signed());
        let found: Option<(i64, EventId, Option<EventId>)> =
            sqlx::query_as(LAST).bind(marked).fetch_optional(connection).await?;
        let last = found.map(|(position, id, _)| (Position(position.cast_unsigned()), id));
        let seen = last.map_or(Position::START, |(position, _)| position);
        if self.head.confirm(known, seen).is_ok()
            && let Some((position, id)) = mark
            && found.is_none_or(|(_, _, there)| there != Some(id))
        {
            self.head.lose(position, "it went back in time and was written anew: another event stands here now");
        }
        *self.mark() = last;
        Ok(seen)
    }

    fn mark(&self) -> MutexGuard<'_, Option<(Position, EventId)>> {
        // It is replaced as a whole.
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed for Shared {
    fn channel(&self) -> String {
        self.channel.clone()
    }

    async fn look(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let seen = self.last(connection).await?;
        settle(connection, seen, &self.head).await
    }

    fn heard(&self, length: u64) {
        self.head.advance(Position(length));
    }
}

/// The last position that a connection can see.
pub(super) async fn visible(connection: &mut PgConnection) -> sqlx::Result<Position> {
    let last: Option<i64> = sqlx::query_scalar("select max(position) from event").fetch_one(connection).await?;
    Ok(Position(last.unwrap_or(0).cast_unsigned()))
}

/// Makes durable what a connection has seen up to a position, unless it is known to be.
pub(super) async fn settle(connection: &mut PgConnection, seen: Position, head: &Head) -> sqlx::Result<()> {
    if seen > head.position() {
        flush(connection).await?;
        head.advance(seen);
    }
    Ok(())
}

/// Returns when all that this connection has seen is on disk.
pub(super) async fn flush(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(FLUSH).execute(connection).await.map(drop)
}
