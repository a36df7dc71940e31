//! Apache Kafka.
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `sasl` | how user and password of the URL are sent: `plain`, `scram-sha-256` or `scram-sha-512` | `plain` |
//! | `tls` | whether the brokers are spoken to over TLS | `false` |
//! | `ca` | a file of PEM certificates to trust instead of the system's; with `tls=true` only | |
//! | `partitions` | partitions of a topic that is made because it is missing; `0` leaves it to the broker | 6 |
//! | `compression` | `none`, `gzip`, `lz4` or `zstd` | `lz4` |
//! | `linger` | milliseconds a message waits for others to go with it | 5 |
//! | `max-bytes` | the largest message that is sent, in bytes | 1000000 |
//! | `session` | milliseconds without a word after which a consumer counts as dead | 10000 |
//!
//! **Publishing** goes through one idempotent producer that waits for all replicas (`acks=all`); the key is the stream, so
//! that a stream is in one partition. What is not acknowledged in time is taken back as a whole, and the producer is made
//! anew: no later message can arrive while an earlier one of its stream failed.
//!
//! **Consuming** happens on a thread of its own, which is never blocked for long: it keeps the group informed however long
//! the caller works. Partitions come and go one by one (`cooperative-sticky`). Offsets are committed when they are settled
//! and at no other time, and only of partitions that are still this consumer's.
//!
//! **The lag** is asked for over the producer's connection: on the consumer's a question waits until the brokers have
//! answered a fetch, partition by partition, and while nothing comes that is long.

mod binding;
mod client;
mod consumer;
mod poller;
mod producer;
mod settings;
mod shares;
mod topics;

use std::sync::Arc;

use async_trait::async_trait;
use lantern_core::{Bus, BusError, Consumer, Destination, Message, Subscription, bus::Undecodable};

use self::{producer::Producer, settings::Settings, topics::Topics};
use crate::{
    address::{Address, AddressError, Options},
    again::read_again,
    reading::Reading,
};

/// What it is called in texts.
pub(crate) const NAME: &str = "Kafka";

/// The port when the URL has none.
pub(crate) const PORT: u16 = 9092;

/// A Kafka cluster.
#[derive(Debug)]
pub struct Kafka {
    settings: Arc<Settings>,
    topics: Topics,
    producer: Arc<Producer>,
}

impl Kafka {
    /// The bus of a URL.
    pub(crate) fn open(address: &Address, options: Options) -> Result<Self, AddressError> {
        let settings = Arc::new(Settings::read(address, options)?);
        let (topics, producer) = (Topics::new(settings.clone()), Arc::new(Producer::new(settings.clone())));
        Ok(Self { settings, topics, producer })
    }
}

#[async_trait]
impl Bus for Kafka {
    fn system(&self) -> &'static str {
        "kafka"
    }

    fn address(&self) -> &str {
        &self.settings.servers
    }

    fn leaves_offsets(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<(), BusError> {
        self.producer.check().await
    }

    async fn publish(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        self.topics.ensure(&destination.topic, &self.producer).await?;
        self.producer.send(destination, messages).await
    }

    fn read(&self, message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable> {
        read_again(message, category)
    }

    async fn consume(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BusError> {
        let reading = Reading::of(subscription, &self.settings.name)?;
        reading.refuse_pattern(subscription, &self.settings.name)?;
        self.topics.ensure(&subscription.topic, &self.producer).await?;
        let member = consumer::Member::join(self.settings.clone(), subscription, reading, self.producer.clone())?;
        Ok(Box::new(member))
    }
}

#[cfg(test)]
mod tests;
