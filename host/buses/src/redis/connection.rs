//! Connections to a server, made when they are needed and made anew when they broke; its errors in the words of the port.

use std::{fmt, time::Duration};

use lantern_core::BusError;
use redis_client::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::NAME;
use crate::address::{Address, Secret};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take, beyond what the command itself waits.
const ANSWER: Duration = Duration::from_secs(10);

/// How to connect to a server, and the connection that everybody shares.
pub(super) struct Connections {
    client: Client,
    /// The bus and its address, for texts.
    name: String,
    server: String,
    shared: Mutex<Option<MultiplexedConnection>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client has the password.
        f.debug_struct("Connections").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(
        address: &Address,
        (host, port): &(String, u16),
        database: i64,
        tls: bool,
        ca: Option<Vec<u8>>,
    ) -> Result<Self, String> {
        let mut settings = RedisConnectionInfo::default().set_db(database);
        if let Some(user) = &address.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &address.password {
            settings = settings.set_password(Secret::expose(password));
        }
        let target = if tls {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host.clone(), *port)
        };
        let wrong = |error: RedisError| error.to_string();
        let info = target.into_connection_info().map_err(wrong)?.set_redis_settings(settings);
        let client = if tls {
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: ca })
        } else {
            Client::open(info)
        };
        let server = address.servers();
        Ok(Self {
            client: client.map_err(wrong)?,
            name: format!("{NAME} at {server}"),
            server,
            shared: Mutex::default(),
        })
    }

    /// The bus and its address, for texts.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// A connection of its own for commands that wait as long as `wait`.
    pub(super) async fn own(&self, wait: Duration) -> Result<MultiplexedConnection, BusError> {
        let config = AsyncConnectionConfig::new();
        let config = config.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER + wait));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connection.map_err(|error| self.error(&error))
    }

    async fn shared(&self) -> Result<MultiplexedConnection, BusError> {
        let mut shared = self.shared.lock().await;
        match &*shared {
            Some(connection) => Ok(connection.clone()),
            None => Ok(shared.insert(self.own(Duration::ZERO).await?).clone()),
        }
    }

    /// Runs a command on the shared connection.
    pub(super) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BusError> {
        let mut connection = self.shared().await?;
        let answer = command.query_async(&mut connection).await;
        self.answered(answer).await
    }

    /// Runs commands on the shared connection, in their order.
    pub(super) async fn send(&self, pipeline: &Pipeline) -> Result<(), BusError> {
        let mut connection = self.shared().await?;
        let answer = pipeline.query_async(&mut connection).await;
        self.answered(answer).await
    }

    async fn answered<T>(&self, answer: Result<T, RedisError>) -> Result<T, BusError> {
        if let Err(error) = &answer
            && broke(error)
        {
            // Somebody may have made a new one meanwhile; one too many is made then.
            self.shared.lock().await.take();
        }
        answer.map_err(|error| self.error(&error))
    }

    /// An error in the words of the port.
    pub(super) fn error(&self, error: &RedisError) -> BusError {
        let (bus, reason) = (self.name.clone(), error.to_string());
        let code = error.code().unwrap_or_default();
        match error.kind() {
            ErrorKind::AuthenticationFailed => BusError::Credentials { bus, reason },
            _ if matches!(code, "NOAUTH" | "WRONGPASS") => BusError::Credentials { bus, reason },
            ErrorKind::Server(ServerErrorKind::NoPerm) => BusError::Forbidden { bus, reason },
            ErrorKind::Io if is_tls(&reason) => BusError::Tls { bus, reason },
            ErrorKind::Io => BusError::Unreachable { bus, reason },
            _ => BusError::Unavailable { bus, reason },
        }
    }
}

/// Whether a connection is of no use after this error.
pub(super) fn broke(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error()
}

/// Whether an error of the network is about TLS.
fn is_tls(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["certificate", "tls", "handshake", "corrupt message"].iter().any(|word| reason.contains(word))
}
