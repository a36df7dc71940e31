//! Redis Streams: a topic is a stream, a group is a consumer group of it.
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `maxlen` | about so many entries a stream keeps, whoever still needs the older ones; `0` keeps all | 1000000 |
//! | `lease` | milliseconds without a word after which the reader of a group counts as dead | 5000 |
//! | `claim` | milliseconds after which an entry that another client took and did not acknowledge is taken over | 60000 |
//! | `ca` | a file of PEM certificates to trust instead of the system's; with `rediss` only | |
//!
//! The path of the URL is the number of the database. An entry has a field for each header of the Kafka binding (`ce_id`,
//! `ce_type`, … and `content-type`) and the body in the field `data`.
//!
//! **Order.** A stream of Redis has one order, but a consumer group hands its entries to whoever asks. So one member of a
//! group reads at a time: it holds the key `<topic>:<group>:reader`, and each read checks and prolongs that in one step
//! on the server. When the reader goes, another one begins with what it left unacknowledged. All read as the consumer
//! `lantern`; what other clients took in the same group and left lying is claimed after a while.
//!
//! **Durability.** Redis acknowledges what is in its memory. Whether that survives a crash is the server's to decide:
//! `appendonly yes` with `appendfsync always` keeps every entry, `everysec` may lose the last second. Trimming drops
//! entries no matter who has read them, so `maxlen` is to be larger than any backlog; entries that went before a group had
//! them are counted and told in the log, as an error.

mod connection;
mod consumer;
mod entry;
mod reader;
mod scripts;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lantern_core::{
    Bus, BusError, Consumer, Destination, Message, Subscription,
    bus::{Keeper, Undecodable},
};
use redis_client::Pipeline;

use self::connection::Connections;
use crate::{
    address::{Address, AddressError, Options},
    again::read_again,
    reading::Reading,
};

/// What it is called in texts.
pub(crate) const NAME: &str = "Redis";

/// The port when the URL has none.
pub(crate) const PORT: u16 = 6379;

/// How many entries, and about how many bytes, are sent at once.
const BATCH: (usize, usize) = (500, 4 * 1024 * 1024);

/// Redis Streams on one server.
#[derive(Debug)]
pub struct Redis {
    connections: Arc<Connections>,
    settings: Settings,
}

/// What the options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// About how many entries a stream keeps; `None` keeps all.
    pub(crate) maxlen: Option<u64>,
    /// How long a reader may be silent.
    pub(crate) lease: Duration,
    /// How long other clients may hold an entry.
    pub(crate) claim: Duration,
}

impl Redis {
    /// The bus of a URL.
    pub(crate) fn open(address: &Address, tls: bool, mut options: Options) -> Result<Self, AddressError> {
        let part = |what: String| AddressError::Part { bus: NAME, what };
        let settings = Settings {
            maxlen: Some(options.number("maxlen", 0)?.unwrap_or(1_000_000)).filter(|maxlen| *maxlen > 0),
            lease: Duration::from_millis(options.number("lease", 100)?.unwrap_or(5_000)),
            claim: Duration::from_millis(options.number("claim", 100)?.unwrap_or(60_000)),
        };
        let ca = options.file("ca", "of PEM certificates")?;
        options.done()?;
        if ca.is_some() && !tls {
            return Err(part("a `ca`, which only `rediss://` has a use for".into()));
        }
        let [server] = address.servers.as_slice() else {
            return Err(part("several hosts: Redis Streams live on one server".into()));
        };
        let database = address.path.as_deref().map_or(Some(0), |path| path.parse().ok());
        let database = database.ok_or_else(|| part("a path that is no number of a database".into()))?;
        let connections = Connections::new(address, server, database, tls, ca.map(String::into_bytes)).map_err(part)?;
        Ok(Self { connections: Arc::new(connections), settings })
    }

    fn add(&self, pipeline: &mut Pipeline, destination: &Destination, message: &Message) -> usize {
        let command = pipeline.cmd("XADD").arg(destination.topic.as_ref());
        if let Some(maxlen) = self.settings.maxlen {
            command.arg("MAXLEN").arg("~").arg(maxlen);
        }
        command.arg("*");
        let size = entry::write(message, destination.form, |field, value| {
            command.arg(field).arg(value);
        });
        command.ignore();
        size
    }
}

#[async_trait]
impl Bus for Redis {
    fn system(&self) -> &'static str {
        "redis"
    }

    fn address(&self) -> &str {
        self.connections.server()
    }

    async fn check(&self) -> Result<(), BusError> {
        self.connections.run(&redis_client::cmd("PING")).await
    }

    async fn publish(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        let (mut pipeline, mut bytes) = (Pipeline::new(), 0);
        for message in messages {
            bytes += self.add(&mut pipeline, destination, message);
            if pipeline.len() >= BATCH.0 || bytes >= BATCH.1 {
                self.connections.send(&pipeline).await?;
                pipeline.clear();
                bytes = 0;
            }
        }
        if pipeline.is_empty() { Ok(()) } else { self.connections.send(&pipeline).await }
    }

    fn read(&self, message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable> {
        read_again(message, category)
    }

    async fn consume(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BusError> {
        let name = self.connections.name();
        let reading = Reading::of(subscription, name)?;
        reading.refuse_pattern(subscription, name)?;
        if subscription.keeper == Keeper::Caller {
            let reason = "a group of Redis keeps its place itself: ask for the bus as its keeper".into();
            return Err(BusError::Unsupported { bus: name.into(), reason });
        }
        let member = consumer::Member::join(self.connections.clone(), self.settings, subscription, reading).await?;
        Ok(Box::new(member))
    }
}

#[cfg(test)]
mod tests;
