//! A bus for tests: the one in memory, which fails at random, refuses what is too large, and has messages that are no
//! events among its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_buses::memory::Memory;
use lantern_core::{
    Bus, BusError, Consumer, Destination, Message, Name, Subscription,
    bus::{Arrival, Beginning, Form, Keeper, Lag, Offset, Partition, Receipt, Undecodable},
};
use lantern_processors::Buses;

use crate::host::Faults;

/// The type of events that arrive as something that is no event.
pub(crate) const BROKEN: &str = "Broken";

/// The category with which such a message can be read after all.
pub(crate) const MENDING: &str = "Mended";

/// The bus of tests.
pub(crate) struct Shaky {
    inner: Arc<Memory>,
    faults: Arc<Faults>,
    /// Whether nobody answers.
    pub(crate) is_away: AtomicBool,
    /// The longest data of an event that it takes.
    pub(crate) largest: AtomicUsize,
    /// How many milliseconds it takes to say how many messages wait.
    pub(crate) pondering: Arc<AtomicU64>,
    /// Whether it begins with the oldest message wherever it is told to go on, as Kafka does when the place is not there.
    pub(crate) is_forgetful: Arc<AtomicBool>,
}

impl Shaky {
    pub(crate) fn new(faults: Arc<Faults>) -> Arc<Self> {
        let (inner, largest) = (Arc::new(Memory::new(3, 100_000)), AtomicUsize::new(usize::MAX));
        Arc::new(Self {
            inner,
            faults,
            is_away: AtomicBool::new(false),
            largest,
            pondering: Arc::default(),
            is_forgetful: Arc::default(),
        })
    }

    /// It alone, under the name `main`.
    pub(crate) fn named(self: &Arc<Self>) -> Arc<Buses> {
        Arc::new(BTreeMap::from([(Name::new("main").unwrap(), self.clone() as Arc<dyn Bus>)]))
    }

    /// The bus without faults.
    pub(crate) fn inner(&self) -> &Memory {
        &self.inner
    }

    fn there(&self) -> Result<(), BusError> {
        if self.is_away.load(Ordering::SeqCst) { Err(away("on purpose".into())) } else { Ok(()) }
    }

    /// The first `count` messages of a topic, those that came more than once included.
    pub(crate) async fn messages(&self, topic: &str, count: usize) -> Vec<Message> {
        let mut consumer = self.inner.consume(&subscription(topic, "reading")).await.unwrap();
        let mut messages = Vec::new();
        while messages.len() < count {
            if let Arrival::Messages(deliveries) = consumer.next(usize::MAX).await.unwrap() {
                messages.extend(deliveries.into_iter().map(|delivery| delivery.content.unwrap()));
            }
        }
        messages
    }

    /// Adds messages to a topic, without any fault.
    pub(crate) async fn add(&self, topic: &str, messages: &[Message]) {
        self.inner.publish(&destination(topic), messages).await.unwrap();
    }

    /// How many messages a group has not settled.
    pub(crate) async fn unsettled(&self, topic: &str, group: &str) -> u64 {
        let mut consumer = self.inner.consume(&subscription(topic, group)).await.unwrap();
        // The first answer tells of the partitions.
        let _ = consumer.next(1).await.unwrap();
        consumer.lag().await.unwrap().iter().map(|lag| lag.messages).sum()
    }
}

pub(crate) fn destination(topic: &str) -> Destination {
    Destination { topic: topic.into(), form: Form::Binary }
}

pub(crate) fn subscription(topic: &str, group: &str) -> Subscription {
    Subscription {
        topic: topic.into(),
        group: group.into(),
        pattern: None,
        category: None,
        beginning: Beginning::Oldest,
        keeper: Keeper::Bus,
    }
}

fn away(reason: String) -> BusError {
    BusError::Unreachable { bus: "the bus of tests".into(), reason }
}

#[async_trait]
impl Bus for Shaky {
    fn system(&self) -> &'static str {
        self.inner.system()
    }

    fn address(&self) -> &str {
        self.inner.address()
    }

    fn leaves_offsets(&self) -> bool {
        self.inner.leaves_offsets()
    }

    async fn check(&self) -> Result<(), BusError> {
        self.there()
    }

    async fn publish(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        self.there()?;
        let largest = self.largest.load(Ordering::SeqCst);
        for message in messages {
            let bytes = message.event.data.as_bytes().len();
            if bytes > largest {
                return Err(BusError::TooLarge { bus: "the bus of tests".into(), event: message.event.id, bytes });
            }
            // A fault may come between any two of them.
            self.faults.write(away, self.inner.publish(destination, std::slice::from_ref(message))).await?;
        }
        Ok(())
    }

    fn read(&self, message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable> {
        if category != Some(MENDING) {
            return Err(Undecodable { reason: "still no event".into(), ..message.clone() });
        }
        let mut event = crate::host::noted(std::str::from_utf8(&message.body).unwrap());
        event.id = message.headers[0].1.as_ref().try_into().map(uuid::Uuid::from_bytes).unwrap();
        Ok(Message { stream: format!("{MENDING}-1").parse().unwrap(), event })
    }

    async fn consume(&self, subscription: &Subscription) -> Result<Box<dyn Consumer>, BusError> {
        self.there()?;
        let inner = self.inner.consume(subscription).await?;
        Ok(Box::new(ShakyConsumer {
            inner,
            faults: self.faults.clone(),
            pondering: self.pondering.clone(),
            is_forgetful: self.is_forgetful.clone(),
        }))
    }
}

struct ShakyConsumer {
    inner: Box<dyn Consumer>,
    faults: Arc<Faults>,
    pondering: Arc<AtomicU64>,
    is_forgetful: Arc<AtomicBool>,
}

#[async_trait]
impl Consumer for ShakyConsumer {
    async fn next(&mut self, limit: usize) -> Result<Arrival, BusError> {
        let mut arrival = self.inner.next(limit).await?;
        if let Arrival::Messages(deliveries) = &mut arrival {
            for delivery in deliveries {
                let broken =
                    delivery.content.as_ref().ok().filter(|it| it.event.event_type.as_str() == BROKEN).cloned();
                if let Some(Message { event, .. }) = broken {
                    delivery.content = Err(Undecodable {
                        reason: "no event".into(),
                        key: Some(Bytes::from_static(b"key")),
                        headers: vec![("id".into(), Bytes::copy_from_slice(event.id.as_bytes()))],
                        body: Bytes::copy_from_slice(event.data.as_bytes()),
                    });
                }
            }
        }
        Ok(arrival)
    }

    async fn resume(&mut self, places: &[(Partition, Option<Offset>)]) -> Result<(), BusError> {
        let is_forgetful = self.is_forgetful.load(Ordering::SeqCst);
        let places =
            places.iter().map(|(partition, at)| (*partition, at.filter(|_| !is_forgetful))).collect::<Vec<_>>();
        self.inner.resume(&places).await
    }

    async fn settle(&mut self, receipts: &[Receipt]) -> Result<(), BusError> {
        let Self { inner, faults, .. } = self;
        faults.write(away, inner.settle(receipts)).await
    }

    async fn reject(&mut self, receipt: Receipt) -> Result<(), BusError> {
        self.inner.reject(receipt).await
    }

    async fn lag(&mut self) -> Result<Vec<Lag>, BusError> {
        tokio::time::sleep(Duration::from_millis(self.pondering.load(Ordering::SeqCst))).await;
        self.inner.lag().await
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        self.inner.close().await
    }
}
