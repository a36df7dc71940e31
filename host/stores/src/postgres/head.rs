//! How far the log is durable, as this host knows, and how it comes to know it.
//!
//! The writer commits without waiting for the disk, so an event can be visible that a crash of the server would take back.
//! Nobody may act on it before it is durable. [`settle`] makes it so: PostgreSQL writes one sequence of records, and a
//! commit that waits for the disk takes all records before it along. What a connection has seen was committed before it
//! saw it; so, if the connection is the same, it is on disk when that commit returns. Were the server to crash in between,
//! the connection would be gone, and with it the proof.

use std::sync::Arc;

use lantern_core::Position;
use sqlx::PgConnection;
use tokio::sync::watch;

use super::listener::Followed;

/// Waits for the disk whatever the server's defaults, without a lock and without a change to any table.
const FLUSH: &str = "select
    set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on'
        else current_setting('synchronous_commit') end, true),
    pg_logical_emit_message(true, 'lantern', '')";

/// The durable head, watched. It never goes back.
pub(super) struct Head(watch::Sender<Position>);

impl Head {
    pub(super) fn new(position: Position) -> Self {
        Self(watch::Sender::new(position))
    }

    pub(super) fn position(&self) -> Position {
        *self.0.borrow()
    }

    /// Takes note that the log is durable up to a position.
    pub(super) fn advance(&self, position: Position) {
        self.0.send_if_modified(|head| {
            let forward = *head < position;
            *head = position.max(*head);
            forward
        });
    }

    pub(super) fn watch(&self) -> watch::Receiver<Position> {
        self.0.subscribe()
    }
}

/// The head of a log as its host follows it: a notification is sent when what it tells of is durable.
pub(super) struct Shared {
    pub(super) head: Arc<Head>,
    pub(super) channel: String,
}

impl Followed for Shared {
    fn channel(&self) -> String {
        self.channel.clone()
    }

    async fn look(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let seen = visible(connection).await?;
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
