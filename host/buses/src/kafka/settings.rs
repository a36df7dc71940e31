//! What the URL says, as settings of the client.

use std::{fmt, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use super::NAME;
use crate::address::{Address, AddressError, Options, Secret};

/// How to reach a cluster.
pub(super) struct Settings {
    /// The bus and its address, for texts.
    pub(super) name: String,
    /// The brokers, as users write them.
    pub(super) servers: String,
    /// Partitions of a topic that is made; -1 leaves it to the broker.
    pub(super) partitions: i32,
    compression: String,
    linger: Duration,
    max_bytes: u32,
    session: Duration,
    /// What all clients have in common; it has the password.
    common: ClientConfig,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn read(address: &Address, mut options: Options) -> Result<Self, AddressError> {
        let part = |what: &str| AddressError::Part { bus: NAME, what: what.into() };
        let mechanisms = ["plain", "scram-sha-256", "scram-sha-512"];
        let needed = "`plain`, `scram-sha-256` and `scram-sha-512` are possible";
        let sasl = options.read_as("sasl", needed, |text| mechanisms.contains(&text).then(|| text.to_uppercase()))?;
        let tls = options.flag("tls")?.unwrap_or(false);
        let ca = options.path("ca");
        let partitions: u16 = options.number("partitions", 0)?.unwrap_or(6);
        let needed = "`none`, `gzip`, `lz4` and `zstd` are possible";
        let known = |text: &str| ["none", "gzip", "lz4", "zstd"].contains(&text).then(|| text.to_owned());
        let compression = options.read_as("compression", needed, known)?.unwrap_or_else(|| "lz4".into());
        let linger = Duration::from_millis(options.number("linger", 0)?.unwrap_or(5));
        let max_bytes = options.number("max-bytes", 1_000)?.unwrap_or(1_000_000);
        let session = Duration::from_millis(options.number("session", 1_000)?.unwrap_or(10_000));
        options.done()?;
        if address.path.is_some() {
            return Err(part("a path, which Kafka has no use for"));
        }
        let mut common = ClientConfig::new();
        // What it logs says why a broker cannot be reached; the error itself does not.
        common.set_log_level(RDKafkaLogLevel::Warning);
        let servers = address.servers();
        common.set("bootstrap.servers", &servers).set("client.id", "lantern");
        common.set("socket.timeout.ms", "10000").set("socket.connection.setup.timeout.ms", "5000");
        common.set("reconnect.backoff.ms", "100").set("reconnect.backoff.max.ms", "2000");
        if let Some(ca) = ca {
            if !tls {
                return Err(part("a `ca` without `tls=true`"));
            }
            common.set("ssl.ca.location", ca.display().to_string());
        }
        let protocol = match (&address.user, tls) {
            (None, false) => "plaintext",
            (None, true) => "ssl",
            (Some(_), false) => "sasl_plaintext",
            (Some(_), true) => "sasl_ssl",
        };
        common.set("security.protocol", protocol);
        match (&address.user, &address.password, sasl) {
            (Some(user), Some(password), sasl) => {
                common.set("sasl.mechanism", sasl.unwrap_or_else(|| "PLAIN".into()));
                common.set("sasl.username", user).set("sasl.password", Secret::expose(password));
            }
            (None, None, None) => {}
            (_, _, Some(_)) => return Err(part("`sasl`, but not both user and password")),
            _ => return Err(part("a user without password or a password without user")),
        }
        let partitions = if partitions == 0 { -1 } else { i32::from(partitions) };
        let name = format!("{NAME} at {servers}");
        Ok(Self { name, servers, partitions, compression, linger, max_bytes, session, common })
    }

    /// Settings of a client that only asks and makes topics.
    pub(super) fn admin(&self) -> ClientConfig {
        self.common.clone()
    }

    /// Settings of the producer.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.common.clone();
        config.set("enable.idempotence", "true").set("acks", "all");
        // A message is given up with all others of its call, and not alone: see `producer.rs`.
        config.set("message.timeout.ms", "0");
        config.set("compression.type", &self.compression);
        config.set("linger.ms", self.linger.as_millis().to_string());
        config.set("message.max.bytes", self.max_bytes.to_string());
        config.set("queue.buffering.max.messages", "100000").set("queue.buffering.max.kbytes", "262144");
        // The same partition as the Java clients choose for a key.
        config.set("partitioner", "murmur2_random");
        config
    }

    /// Settings of a consumer. `newest`: a group without offsets begins with what comes next.
    pub(super) fn consumer(&self, group: &str, newest: bool) -> ClientConfig {
        let mut config = self.common.clone();
        config.set("group.id", group);
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("auto.offset.reset", if newest { "latest" } else { "earliest" });
        config.set("session.timeout.ms", self.session.as_millis().to_string());
        config.set("heartbeat.interval.ms", (self.session.as_millis() / 4).to_string());
        config.set("isolation.level", "read_committed");
        // A message may be as large as the broker lets it be; this is how much is fetched ahead.
        config.set("queued.max.messages.kbytes", "65536").set("fetch.wait.max.ms", "250");
        config
    }
}
