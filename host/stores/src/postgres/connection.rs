//! Connections to PostgreSQL: the pool of a host, single ones for its tasks, and what it means when there is none.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time;

use super::{address::Address, nodelay};

/// Why a database could not be opened. Never shows more of its URL than host, port and the name of the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The URL is none.
    #[error("the URL of the database cannot be used: {0}; write `postgres://user:password@host:port/database`")]
    Url(String),
    /// The server is not there, or lets nobody in.
    #[error("PostgreSQL at {address} cannot be used: {reason}; check the URL, and that the server is running")]
    Unreachable {
        /// The server and the database.
        address: String,
        /// What the server or the system says.
        reason: String,
    },
    /// The tables were made by a later version of Lantern.
    #[error(
        "schema `{schema}` at {address} has version {found}, this Lantern knows {known}: use the version that wrote it, \
         or a later one"
    )]
    Newer {
        /// The server and the database.
        address: String,
        /// The schema.
        schema: String,
        /// The version of its tables.
        found: i32,
        /// The newest version this program knows.
        known: i32,
    },
    /// The tables could not be made or brought up to date.
    #[error("schema `{schema}` at {address} cannot be prepared: {reason}; check that the user may create in it")]
    Unprepared {
        /// The server and the database.
        address: String,
        /// The schema.
        schema: String,
        /// What the server says.
        reason: String,
    },
}

/// How many connections a pool holds at most. A host has one for reads of the log, one for transactions of SQL tables and
/// one for the rest; the tasks of the log have three of their own.
const CONNECTIONS: u32 = 16;

/// How long a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that was idle for this long is tried out before it is handed out.
const TRUSTED: Duration = Duration::from_secs(1);

/// Makes the options that hold for every connection of Lantern.
pub(super) fn settle(address: &Address) -> PgConnectOptions {
    let settings = [
        ("search_path", address.schema.as_str()),
        // Just-in-time compilation costs short statements far more than it saves.
        ("jit", "off"),
        // That a table is there already is no news.
        ("client_min_messages", "warning"),
        // A host that is frozen in the middle of a transaction must not keep what it has locked from the others.
        ("idle_in_transaction_session_timeout", "5s"),
        // The server learns within a minute, not within hours, that a machine is gone without a word.
        ("tcp_keepalives_idle", "20s"),
        ("tcp_keepalives_interval", "10s"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "50s"),
    ];
    let options = address.options.clone().application_name(&address.channel()).options(settings);
    sqlx::ConnectOptions::disable_statement_logging(options)
}

/// Opens a single connection.
pub(super) async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let timeout = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let connection = time::timeout(PATIENCE, PgConnection::connect_with(options)).await.map_err(timeout)??;
    nodelay::send_at_once(options);
    Ok(connection)
}

/// Makes the pool. It opens connections when they are needed, so that a server that restarts needs no restart here.
pub(super) fn pool(options: PgConnectOptions) -> PgPool {
    let connected = options.clone();
    PgPoolOptions::new()
        .after_connect(move |_, _| {
            nodelay::send_at_once(&connected);
            Box::pin(std::future::ready(Ok(())))
        })
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > TRUSTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// What a failure means, in words for people and without secrets.
pub(super) fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => format!("no connection within {} s", PATIENCE.as_secs()),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        error => error.to_string(),
    }
}
