//! Learns what other hosts wrote: listens to their notifications, and looks by itself now and then.
//!
//! A look goes over the connection that listens. So it is the net under notifications that were lost, it finds what was
//! written by programs that notify nobody, and it proves that the connection is alive: one that was cut silently would
//! stay silent for ever.

use std::time::Duration;

use sqlx::{Acquire, PgConnection, pool::PoolOptions, postgres::PgListener};
use tokio::time::{self, Instant};

use super::{connection, database::Database};

/// How long it is listened until the next look.
const LOOK: Duration = Duration::from_secs(1);

/// How long a look, or a connection, is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The shortest and the longest pause before another connection is tried.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is followed: something that grows, and whose length is a number.
pub(super) trait Followed: Send + Sync {
    /// The channel of the notifications.
    fn channel(&self) -> String;

    /// Looks how far it has grown.
    fn look(&self, connection: &mut PgConnection) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Takes note of what a notification said.
    fn heard(&self, length: u64);
}

/// Follows something for ever, over connection after connection.
pub(super) async fn run(database: Database, followed: impl Followed) {
    let mut pause = PAUSE;
    loop {
        let mut worked = false;
        let error = follow(&database, &followed, &mut worked).await;
        pause = if worked { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tracing::warn!(
            "the notifications of `{}` were lost: {}; trying again in {} ms",
            followed.channel(),
            connection::describe(&error),
            pause.as_millis()
        );
        time::sleep(pause).await;
    }
}

/// Follows over one connection until it breaks. `worked` is set when it was good for anything.
async fn follow(database: &Database, followed: &impl Followed, worked: &mut bool) -> sqlx::Error {
    let mut listener = match in_time(listen(database, &followed.channel())).await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    loop {
        if let Err(error) = in_time(look(&mut listener, followed)).await {
            return error;
        }
        *worked = true;
        let until = Instant::now() + LOOK;
        while let Ok(notification) = time::timeout_at(until, listener.try_recv()).await {
            match notification {
                Ok(Some(notification)) => followed.heard(notification.payload().parse().unwrap_or(0)),
                Ok(None) => return sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()),
                Err(error) => return error,
            }
        }
    }
}

/// Opens a connection that listens. It is the only one of a pool, which is how the driver wants it.
async fn listen(database: &Database, channel: &str) -> sqlx::Result<PgListener> {
    let pool = PoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with(database.options().clone())).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    Ok(listener)
}

async fn look(listener: &mut PgListener, followed: &impl Followed) -> sqlx::Result<()> {
    followed.look(listener.acquire().await?).await
}

async fn in_time<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    time::timeout(PATIENCE, work).await.map_err(late)?
}
