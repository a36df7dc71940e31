//! The port of buses: messages on their way to other systems, and messages that come from them.
//!
//! ```text
//!   publish:  messages ─▶ topic ─▶ partitions, order kept in each stream        answered when the bus has them all
//!   consume:  topic ─▶ group ─▶ next ─▶ (the effect is made durable) ─▶ settle  what is not settled comes again
//! ```
//!
//! Both ways a message can arrive more than once, and never not at all. The id of its event tells one that came again.

use std::{fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{EventId, Fate, NewEvent, StreamName, TraceContext};

/// An event on its way over a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its stream: the CloudEvents `subject`, and the key that keeps messages in order.
    pub stream: StreamName,
    /// The event. Its trace context is what travels: the span that publishes it, when there is one.
    pub event: NewEvent,
}

/// How a CloudEvent is laid out in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The attributes are headers, the data is the body.
    #[default]
    Binary,
    /// The body is the whole event as JSON.
    Structured,
}

/// Where messages are published to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The topic; an exchange on RabbitMQ, a stream on Redis.
    pub topic: Arc<str>,
    /// How the events are laid out.
    pub form: Form,
}

/// Who remembers how far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Keeper {
    /// The bus: what is settled is not delivered to the group again.
    #[default]
    Bus,
    /// The caller, together with the effects. The bus hands out partitions and asks where each goes on, with
    /// [`Arrival::Assigned`] and [`Consumer::resume`]; `settle` then tells the bus for the eyes of operators only.
    Caller,
}

/// Where a group begins that has not settled anything yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beginning {
    /// With the oldest message the topic still has. An exchange of RabbitMQ keeps none.
    #[default]
    Oldest,
    /// With the first message that comes after the group has begun.
    Newest,
}

/// What to consume, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The topic; an exchange on RabbitMQ, a stream on Redis.
    pub topic: Arc<str>,
    /// The consumer group. Each group gets every message; the consumers of one group share them.
    pub group: Arc<str>,
    /// Which messages of an exchange go to the group: a pattern over `category.type`, for example `Order.*`. `None` takes
    /// all. RabbitMQ only; the other buses refuse a subscription that has one.
    pub pattern: Option<Arc<str>>,
    /// The category of events whose `subject` is no stream name: they go to the stream `category-subject`, those without
    /// a subject to `category-id`. `None` makes them undecodable.
    pub category: Option<Arc<str>>,
    /// Where a new group begins.
    pub beginning: Beginning,
    /// Who remembers how far the group has come. RabbitMQ and Redis know only [`Keeper::Bus`].
    pub keeper: Keeper,
}

/// A share of a topic inside which the order holds: 0, 1, 2 … A bus without partitions has 0 alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of a message in its partition. Later messages have greater ones; only those of one kind compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Offset {
    /// A number: the offset of Kafka and of the bus in memory, the delivery tag of RabbitMQ.
    Number(u64),
    /// The id of an entry of a Redis stream: milliseconds and a count.
    Entry(u64, u64),
}

impl Offset {
    /// The least offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Number(number) => Self::Number(number.saturating_add(1)),
            Self::Entry(time, u64::MAX) => Self::Entry(time.saturating_add(1), 0),
            Self::Entry(time, count) => Self::Entry(time, count + 1),
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Entry(time, count) => write!(f, "{time}-{count}"),
        }
    }
}

/// Why a text is no offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no offset: write a number, or `milliseconds-count` for an entry of a Redis stream")]
pub struct OffsetError {
    text: String,
}

impl FromStr for Offset {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = match text.split_once('-') {
            None => text.parse().map(Self::Number),
            Some((time, count)) => time.parse().and_then(|time| Ok(Self::Entry(time, count.parse()?))),
        };
        read.map_err(|_| OffsetError { text: text.into() })
    }
}

impl TryFrom<String> for Offset {
    type Error = OffsetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Offset> for String {
    fn from(offset: Offset) -> Self {
        offset.to_string()
    }
}

/// What a delivery is settled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The partition the message came from.
    pub partition: Partition,
    /// Its place there.
    pub offset: Offset,
    /// Which of its connections or assignments the consumer had it from. A receipt of an earlier one settles nothing:
    /// the message is on its way again, to this consumer or another.
    pub session: u64,
}

/// A message that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// What is wrong with it.
    pub reason: String,
    /// The key it was published with.
    pub key: Option<Bytes>,
    /// Its headers, as they came.
    pub headers: Vec<(String, Bytes)>,
    /// Its body, as it came.
    pub body: Bytes,
}

/// A message as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event, or the bytes when there is none in them.
    pub content: Result<Message, Undecodable>,
    /// Where it stands and what it is settled with.
    pub receipt: Receipt,
    /// Whether the bus says that it was delivered before. Kafka never says so.
    pub redelivered: bool,
}

/// What a consumer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// Messages, those of one partition in its order; at least one.
    Messages(Vec<Delivery>),
    /// These partitions are the consumer's from now on. Where the caller keeps the offsets, nothing is delivered from
    /// them before [`Consumer::resume`] says where all of them go on; the group waits for that, so it is to be soon. Buses
    /// without partitions never say this.
    Assigned(Vec<Partition>),
    /// These partitions go to another consumer; nothing more is delivered from them. What was delivered and is durable
    /// can still be settled; the rest is to be dropped. The next call of [`Consumer::next`] lets the partitions go; the
    /// group waits for that too, for some seconds.
    Revoked(Vec<Partition>),
    /// As `Revoked`, but they are gone already: another consumer may have the messages by now.
    Lost(Vec<Partition>),
}

/// How far a group is behind in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// The partition.
    pub partition: Partition,
    /// How many messages are waiting that the group has not settled.
    pub messages: u64,
}

/// Why a bus did not do what it was asked. No text has a password in it.
///
/// After an error of `publish` any of the messages may have arrived. Sent again with the same ids they do no harm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody answers at the address, or the connection broke.
    #[error("{bus} could not be reached: {reason}: check that it runs and that the address is right")]
    Unreachable {
        /// The bus and its address.
        bus: String,
        /// What the network said.
        reason: String,
    },
    /// The server answers but does not accept the user and password.
    #[error("{bus} does not accept the credentials: {reason}: check user and password in its URL")]
    Credentials {
        /// The bus and its address.
        bus: String,
        /// What the server said.
        reason: String,
    },
    /// The user may not do this.
    #[error("{bus} does not allow it: {reason}: grant the user of its URL the right")]
    Forbidden {
        /// The bus and its address.
        bus: String,
        /// What the server said.
        reason: String,
    },
    /// The server's certificate is not trusted, or one side speaks TLS and the other does not.
    #[error("{bus} has no trusted TLS: {reason}: check `tls` and `ca` in its URL")]
    Tls {
        /// The bus and its address.
        bus: String,
        /// What is wrong.
        reason: String,
    },
    /// A message is larger than the bus takes.
    #[error("{bus} does not take event {event}: it is a message of {bytes} bytes, larger than the server allows")]
    TooLarge {
        /// The bus and its address.
        bus: String,
        /// The event.
        event: EventId,
        /// The size of the message, in bytes.
        bytes: usize,
    },
    /// What was asked for does not exist here: an option this bus does not have, or a name it cannot give.
    #[error("{bus} cannot do that: {reason}")]
    Unsupported {
        /// The bus and its address.
        bus: String,
        /// What, and what to ask for instead.
        reason: String,
    },
    /// Anything else the bus said; trying again may help.
    #[error("{bus} failed: {reason}")]
    Unavailable {
        /// The bus and its address.
        bus: String,
        /// What went wrong.
        reason: String,
    },
}

impl BusError {
    /// What becomes of the work. Credentials, rights and certificates are mended at the server as often as here, so
    /// they are tried again.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::TooLarge { .. } => Fate::Park,
            Self::Unsupported { .. } => Fate::Stop,
            _ => Fate::Retry,
        }
    }

    /// A short name of the kind of error, for metrics and span attributes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Credentials { .. } => "credentials",
            Self::Forbidden { .. } => "forbidden",
            Self::Tls { .. } => "tls",
            Self::TooLarge { .. } => "too-large",
            Self::Unsupported { .. } => "unsupported",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

/// A bus.
///
/// Making one does not connect; each call connects when it must, and again after an outage. A call that finds the bus
/// away answers with an error after some seconds: pausing and trying again is the caller's.
#[async_trait]
pub trait Bus: Send + Sync {
    /// What it is: `kafka`, `rabbitmq`, `redis` or `memory`.
    fn system(&self) -> &'static str;

    /// Where it is, as host and port; never with credentials. Empty for the bus in memory.
    fn address(&self) -> &str;

    /// Whether callers can keep the offsets of their group, see [`Keeper::Caller`].
    fn leaves_offsets(&self) -> bool {
        false
    }

    /// Whether it is there and takes the credentials.
    async fn check(&self) -> Result<(), BusError>;

    /// Publishes messages; those of one stream arrive in the order given. Answered when the bus has acknowledged all of
    /// them. After an error any of them may have arrived: the caller sends all again, with the same ids, before it sends
    /// later ones.
    async fn publish(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError>;

    /// As `publish`, of events that were appended a while ago, within the trace of a batch. For a bus there is no
    /// difference; an observer does not let their old traces grow.
    async fn publish_late(
        &self,
        destination: &Destination,
        messages: &[Message],
        _batch: &TraceContext,
    ) -> Result<(), BusError> {
        self.publish(destination, messages).await
    }

    /// Reads a message again that was undecodable, as a subscription with this category does: whoever reads it may be
    /// newer by now, or the category another one.
    fn read(&self, message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable>;

    /// Begins to consume. What the group needs at the bus (a queue, a group) is made when it is missing.
    async fn consume(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BusError>;
}

/// A member of a consumer group. Dropping it leaves the group too; `close` waits until that is done.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for messages, or for news of the partitions. At most `limit` messages come at once. Nothing is lost when the
    /// wait is given up. After an error the consumer goes on by itself: the next call connects again when it must.
    async fn next(&mut self, limit: usize) -> Result<Arrival, BusError>;

    /// Says where partitions go on, where the caller keeps the offsets: at this offset, or where the subscription begins.
    /// A partition that is not the consumer's any more is passed over.
    async fn resume(&mut self, places: &[(Partition, Option<Offset>)]) -> Result<(), BusError>;

    /// Acknowledges what is durably dealt with. A receipt stands for its message and for all that were delivered before it
    /// from the same partition. After an error the messages may come again.
    async fn settle(&mut self, receipts: &[Receipt]) -> Result<(), BusError>;

    /// As `settle`, of a message that was set aside instead of handled. The caller keeps its content; RabbitMQ also puts
    /// it into the queue of dead letters, where its other users look for it.
    async fn reject(&mut self, receipt: Receipt) -> Result<(), BusError>;

    /// How many messages wait for the group, in each partition this consumer has.
    async fn lag(&mut self) -> Result<Vec<Lag>, BusError>;

    /// Leaves the group. What was not settled goes to the others at once.
    async fn close(self: Box<Self>) -> Result<(), BusError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_they_are_shown() {
        for offset in [Offset::Number(0), Offset::Number(u64::MAX), Offset::Entry(1_700_000_000_000, 3)] {
            assert_eq!(offset.to_string().parse(), Ok(offset));
        }
        for text in ["", "-", "1-", "-1", "1-2-3", "one"] {
            assert!(text.parse::<Offset>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_next_offset_is_the_least_that_is_greater() {
        assert_eq!(Offset::Number(7).next(), Offset::Number(8));
        assert_eq!(Offset::Entry(7, 1).next(), Offset::Entry(7, 2));
        assert_eq!(Offset::Entry(7, u64::MAX).next(), Offset::Entry(8, 0));
    }

    #[test]
    fn only_what_no_retry_mends_is_not_tried_again() {
        let bus = || "Kafka at localhost:9092".to_owned();
        let reason = || "no".to_owned();
        let too_large = BusError::TooLarge { bus: bus(), event: EventId::nil(), bytes: 9 };
        assert_eq!(too_large.fate(), Fate::Park);
        assert_eq!(BusError::Unsupported { bus: bus(), reason: reason() }.fate(), Fate::Stop);
        assert_eq!(BusError::Credentials { bus: bus(), reason: reason() }.fate(), Fate::Retry);
        assert_eq!(BusError::Unreachable { bus: bus(), reason: reason() }.fate(), Fate::Retry);
    }
}
