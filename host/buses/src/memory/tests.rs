//! The bus in memory keeps the contract, and its topics stay within their capacity.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use lantern_core::{Bus, Clock, Fate, SystemClock};

use super::{Kept, Memory};
use crate::contract::{self, Site, consume, delivered, messages, take, take_all, to};

struct InMemory {
    bus: Arc<Memory>,
    given: AtomicUsize,
}

impl InMemory {
    fn new() -> Self {
        Self { bus: Arc::new(Memory::new(4, 100_000)), given: AtomicUsize::new(0) }
    }
}

impl Site for InMemory {
    fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    fn topic(&self) -> Arc<str> {
        format!("topic-{}", self.given.fetch_add(1, Ordering::Relaxed)).into()
    }

    fn has_partitions(&self) -> bool {
        true
    }

    async fn put(&self, topic: &str, kind: &str, body: &[u8]) {
        let headers = [("kind".to_owned(), kind.to_owned())].into();
        let kept = Kept { key: "key".into(), headers, body: body.to_vec().into(), time: SystemClock.now() };
        self.bus.keep(&topic.into(), vec![kept]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_keeps_the_contract() {
    contract::bus(&InMemory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partitions_keep_the_contract() {
    contract::partitions(&InMemory::new()).await;
}

#[tokio::test]
async fn a_full_topic_takes_no_more_until_its_group_has_come_on() {
    let site = InMemory { bus: Arc::new(Memory::new(1, 10)), given: AtomicUsize::new(0) };
    let topic = site.topic();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "slow")).await;
    site.bus().publish(&to(&topic), &messages(1, 10)).await.unwrap();
    let error = site.bus().publish(&to(&topic), &messages(1, 1)).await.unwrap_err();
    assert_eq!(error.fate(), Fate::Retry);
    assert!(error.to_string().contains("group `slow` has yet to settle 10"), "{error}");
    let taken = take(&mut *consumer, 3).await;
    consumer.settle(&[taken[2].receipt]).await.unwrap();
    site.bus().publish(&to(&topic), &messages(1, 3)).await.unwrap();
    assert_eq!(delivered(&take(&mut *consumer, 10).await), [3, 4, 5, 6, 7, 8, 9, 0, 1, 2]);
}

#[tokio::test]
async fn a_topic_without_groups_keeps_the_newest() {
    let site = InMemory { bus: Arc::new(Memory::new(1, 10)), given: AtomicUsize::new(0) };
    let topic = site.topic();
    for chunk in messages(1, 25).chunks(5) {
        site.bus().publish(&to(&topic), chunk).await.unwrap();
    }
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "late")).await;
    assert_eq!(contract::numbers(&take_all(&mut *consumer, 10).await), (15..25).collect::<Vec<_>>());
}
