//! The bus in memory: topics with partitions and groups inside one process, gone with it.
//!
//! | option | meaning | default |
//! |---|---|---|
//! | `partitions` | partitions of each topic | 4 |
//! | `capacity` | messages a topic keeps; the oldest go first. What a group still needs never goes: publishing fails instead, until the group has come on | 100000 |

mod consumer;
mod group;
mod topic;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    Bus, BusError, Clock, Consumer, Destination, Message, Subscription, SystemClock, Timestamp,
    bus::{Form, Undecodable},
};

use self::topic::Topic;
use crate::{
    address::{AddressError, Options},
    again::read_again,
    cloud_events::{
        CloudEvent, bound,
        headers::{CONTENT_TYPE, PREFIX},
    },
    reading::Reading,
};

/// What it is called in texts.
pub(crate) const NAME: &str = "the bus in memory";

/// The bus in memory.
#[derive(Debug)]
pub struct Memory {
    partitions: usize,
    capacity: usize,
    topics: Mutex<BTreeMap<Arc<str>, Arc<Topic>>>,
}

/// A message as a topic keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) key: Bytes,
    pub(crate) headers: Arc<[(String, String)]>,
    pub(crate) body: Bytes,
    pub(crate) time: Timestamp,
}

impl Kept {
    fn of(message: &Message, form: Form) -> Self {
        let mut headers = Vec::with_capacity(8);
        let event = CloudEvent::message(message);
        let bound =
            bound::write(event, form, |name, value| headers.push((format!("{PREFIX}{name}"), value.to_owned())));
        headers.push((CONTENT_TYPE.to_owned(), bound.content_type.to_owned()));
        let key = Bytes::copy_from_slice(message.stream.as_str().as_bytes());
        Self { key, headers: headers.into(), body: bound.body, time: SystemClock.now() }
    }
}

impl Memory {
    /// A bus without topics.
    #[must_use]
    pub fn new(partitions: usize, capacity: usize) -> Self {
        Self { partitions: partitions.max(1), capacity, topics: Mutex::default() }
    }

    /// The bus of a URL's options.
    pub(crate) fn open(mut options: Options) -> Result<Self, AddressError> {
        let partitions = options.number("partitions", 1)?.unwrap_or(4);
        let capacity = options.number("capacity", 1)?.unwrap_or(100_000);
        options.done()?;
        Ok(Self::new(partitions, capacity))
    }

    /// The topic of this name; topics come into being when they are first named.
    fn topic(&self, name: &Arc<str>) -> Arc<Topic> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.entry(name.clone()).or_insert_with(|| Arc::new(Topic::new(self.partitions, self.capacity))).clone()
    }

    /// Adds messages to a topic; those of one key go to one partition.
    pub(crate) fn keep(&self, topic: &Arc<str>, messages: Vec<Kept>) -> Result<(), BusError> {
        let partition = |kept: &Kept| {
            let mut hasher = DefaultHasher::new();
            kept.key.hash(&mut hasher);
            // The remainder is less than the number of partitions, which is a usize.
            (hasher.finish() % self.partitions as u64) as usize
        };
        let placed = messages.into_iter().map(|kept| (partition(&kept), kept)).collect();
        self.topic(topic).add(placed).map_err(unavailable)
    }
}

fn unavailable(reason: String) -> BusError {
    BusError::Unavailable { bus: NAME.into(), reason }
}

#[async_trait]
impl Bus for Memory {
    fn system(&self) -> &'static str {
        "memory"
    }

    fn address(&self) -> &str {
        ""
    }

    fn leaves_offsets(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<(), BusError> {
        Ok(())
    }

    async fn publish(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        let kept = messages.iter().map(|message| Kept::of(message, destination.form)).collect();
        self.keep(&destination.topic, kept)
    }

    fn read(&self, message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable> {
        read_again(message, category)
    }

    async fn consume(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BusError> {
        let reading = Reading::of(subscription, NAME)?;
        reading.refuse_pattern(subscription, NAME)?;
        let topic = self.topic(&subscription.topic);
        Ok(Box::new(consumer::Member::join(topic, subscription, reading)))
    }
}

#[cfg(test)]
mod tests;
