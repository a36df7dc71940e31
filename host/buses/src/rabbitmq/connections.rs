//! Connections to a broker, and its errors in the words of the port.

use std::{fmt, time::Duration};

use lantern_core::BusError;
use lapin::{
    Connection, ConnectionProperties, Error, ErrorKind,
    tcp::OwnedTLSConfig,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use tokio::time::timeout;

use super::NAME;
use crate::address::{Address, Secret};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(8);

/// How long any other answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Seconds between two signs of life; a broker that gives none for twice as long is gone.
const HEARTBEAT: u16 = 10;

/// How to connect to a broker.
pub(super) struct Connections {
    /// One for each host; they have the password.
    uris: Vec<AMQPUri>,
    ca: Option<String>,
    /// The bus and its address, for texts.
    name: String,
    servers: String,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(address: &Address, tls: bool, ca: Option<String>) -> Self {
        let uri = |(host, port): &(String, u16)| AMQPUri {
            scheme: if tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    // What a broker has that nobody has set up.
                    username: address.user.clone().unwrap_or_else(|| "guest".into()),
                    password: address.password.as_ref().map_or("guest", Secret::expose).into(),
                },
                host: host.clone(),
                port: *port,
            },
            vhost: address.path.clone().unwrap_or_else(|| "/".into()),
            query: AMQPQueryString { heartbeat: Some(HEARTBEAT), ..AMQPQueryString::default() },
        };
        let servers = address.servers();
        let uris = address.servers.iter().map(uri).collect();
        Self { uris, ca, name: format!("{NAME} at {servers}"), servers }
    }

    /// The bus and its address, for texts.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses.
    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    /// Connects to the first host that answers. `what` is the name of the connection, for operators.
    pub(super) async fn connect(&self, what: &str) -> Result<Connection, BusError> {
        let mut failed = None;
        for uri in &self.uris {
            let properties = ConnectionProperties::default().with_connection_name(format!("lantern {what}").into());
            let tls = OwnedTLSConfig { identity: None, cert_chain: self.ca.clone() };
            let runtime = lapin::runtime::default_runtime().map_err(|error| self.error(&error))?;
            let connecting = Connection::connect_uri_with_config(uri.clone(), properties, tls, runtime);
            match timeout(CONNECT, connecting).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failed = Some(self.error(&error)),
                Err(_) => failed = Some(self.silent()),
            }
        }
        Err(failed.unwrap_or_else(|| self.silent()))
    }

    /// Waits for an answer of the broker, but not for ever.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = Result<T, Error>>) -> Result<T, BusError> {
        match timeout(ANSWER, question).await {
            Ok(answer) => answer.map_err(|error| self.error(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// The broker does not answer.
    pub(super) fn silent(&self) -> BusError {
        BusError::Unreachable { bus: self.name.clone(), reason: "no answer came in time".into() }
    }

    /// Something that trying again may mend.
    pub(super) fn unavailable(&self, reason: impl Into<String>) -> BusError {
        BusError::Unavailable { bus: self.name.clone(), reason: reason.into() }
    }

    /// An error in the words of the port.
    pub(super) fn error(&self, error: &Error) -> BusError {
        let bus = self.name.clone();
        match error.kind() {
            ErrorKind::ProtocolError(error) => {
                let reason = error.get_message().as_str().to_owned();
                match error.get_id() {
                    403 if reason.contains("Login was refused") => BusError::Credentials { bus, reason },
                    403 | 530 => BusError::Forbidden { bus, reason },
                    // A queue or exchange is there with other arguments than ours.
                    406 if reason.contains("inequivalent") => {
                        let reason = format!("{reason}; delete it, or ask for what is there in the URL of the bus");
                        BusError::Unsupported { bus, reason }
                    }
                    320 => BusError::Unreachable { bus, reason },
                    _ => BusError::Unavailable { bus, reason },
                }
            }
            ErrorKind::IOError(error) if is_tls(&error.to_string()) => BusError::Tls { bus, reason: error.to_string() },
            ErrorKind::IOError(_)
            | ErrorKind::RuntimeShutdownError(_)
            | ErrorKind::MissingHeartbeatError
            | ErrorKind::InvalidChannel(_)
            | ErrorKind::InvalidChannelState(..)
            | ErrorKind::InvalidConnectionState(_) => BusError::Unreachable { bus, reason: error.to_string() },
            _ => BusError::Unavailable { bus, reason: error.to_string() },
        }
    }
}

/// Whether an error of the network is about TLS.
fn is_tls(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["certificate", "tls", "handshake", "corrupt message"].iter().any(|word| reason.contains(word))
}
