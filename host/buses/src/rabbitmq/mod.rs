//! RabbitMQ: a topic is a topic exchange, a group is a queue bound to it.
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `queue` | what queues are made: `classic`, or `quorum`, which a cluster replicates | `classic` |
//! | `prefetch` | messages on their way to a consumer at once | 256 |
//! | `mandatory` | whether a message that no queue takes is an error | `false` |
//! | `prefix` | what the headers of attributes begin with: `cloudEvents_`, `cloudEvents:` or `ce-`. All three are read | `cloudEvents_` |
//! | `ca` | a file of PEM certificates to trust beside the system's; with `amqps` only | |
//!
//! The path of the URL is the virtual host, `/` when there is none. Several hosts are tried one after the other.
//!
//! **Publishing.** The exchange is durable and has the name of the topic. The routing key is `category.type`, cut off at
//! 255 bytes. Messages are persistent, and a call is answered when the broker has confirmed all of them. A queue to which
//! a policy gives `overflow: reject-publish` breaks the order of a stream when it is full: it refuses a message and takes
//! the next, and the first one comes again behind it.
//!
//! **Consuming.** The queue is durable and is called `<exchange>.<group>`. An exchange keeps nothing: a group gets what is
//! published after its queue was made, wherever its subscription would begin. Several consumers of a group take turns:
//! one is served at a time (`x-single-active-consumer`), so that the order of a stream holds. What is rejected goes over
//! the exchange `<exchange>_dlq` into the queue `<exchange>.<group>.dlq`.

mod binding;
mod connections;
mod consumer;
mod publisher;
mod session;

use std::sync::Arc;

use async_trait::async_trait;
use lantern_core::{
    Bus, BusError, Consumer, Destination, Message, Subscription,
    bus::{Keeper, Undecodable},
};

use self::{binding::Prefix, connections::Connections, publisher::Publisher};
use crate::{
    address::{Address, AddressError, Options},
    again::read_again,
    reading::Reading,
};

/// What it is called in texts.
pub(crate) const NAME: &str = "RabbitMQ";

/// The ports when the URL has none, without TLS and with it.
pub(crate) const PORTS: (u16, u16) = (5672, 5671);

/// A RabbitMQ broker.
#[derive(Debug)]
pub struct RabbitMq {
    connections: Arc<Connections>,
    settings: Settings,
    publisher: Publisher,
}

/// What the options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Whether queues are replicated.
    pub(crate) quorum: bool,
    pub(crate) prefetch: u16,
    pub(crate) mandatory: bool,
    pub(crate) prefix: Prefix,
}

impl RabbitMq {
    /// The bus of a URL.
    pub(crate) fn open(address: &Address, tls: bool, mut options: Options) -> Result<Self, AddressError> {
        let kinds = "`classic` and `quorum` are possible";
        let quorum = options.read_as("queue", kinds, |text| match text {
            "classic" => Some(false),
            "quorum" => Some(true),
            _ => None,
        })?;
        let settings = Settings {
            quorum: quorum.unwrap_or(false),
            prefetch: options.number("prefetch", 1)?.unwrap_or(256),
            mandatory: options.flag("mandatory")?.unwrap_or(false),
            prefix: options.read_as("prefix", Prefix::NEEDED, Prefix::read)?.unwrap_or_default(),
        };
        let ca = options.file("ca", "of PEM certificates")?;
        options.done()?;
        if ca.is_some() && !tls {
            let what = "a `ca`, which only `amqps://` has a use for".into();
            return Err(AddressError::Part { bus: NAME, what });
        }
        let connections = Arc::new(Connections::new(address, tls, ca));
        let publisher = Publisher::new(connections.clone(), settings);
        Ok(Self { connections, settings, publisher })
    }
}

#[async_trait]
impl Bus for RabbitMq {
    fn system(&self) -> &'static str {
        "rabbitmq"
    }

    fn address(&self) -> &str {
        self.connections.servers()
    }

    async fn check(&self) -> Result<(), BusError> {
        self.publisher.check().await
    }

    async fn publish(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        self.publisher.send(destination, messages).await
    }

    fn read(&self, message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable> {
        read_again(message, category)
    }

    async fn consume(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BusError> {
        let name = self.connections.name();
        let reading = Reading::of(subscription, name)?;
        if subscription.keeper == Keeper::Caller {
            let reason = "a queue keeps its place itself: ask for the bus as its keeper".into();
            return Err(BusError::Unsupported { bus: name.into(), reason });
        }
        let member = consumer::Member::join(self.connections.clone(), self.settings, subscription, reading).await?;
        Ok(Box::new(member))
    }
}

#[cfg(test)]
mod tests;
