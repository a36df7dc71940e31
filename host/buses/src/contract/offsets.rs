//! Promises about partitions, and about callers that keep the offsets themselves.

use std::collections::{BTreeMap, BTreeSet};

use lantern_core::{
    Consumer, Message, Subscription,
    bus::{Arrival, Keeper, Offset, Partition},
};

use super::{Site, assert_in_order, consume, messages, numbers, patiently, sorted, take, to};

/// What a caller has made durable: its messages, and how far each partition has come.
#[derive(Default)]
struct Book {
    messages: Vec<Message>,
    offsets: BTreeMap<Partition, Offset>,
}

impl Book {
    /// Does what a caller does with one arrival.
    async fn take(&mut self, arrival: Arrival, consumer: &mut dyn Consumer) {
        match arrival {
            Arrival::Assigned(partitions) => {
                let places = partitions.iter().map(|it| (*it, self.offsets.get(it).copied())).collect::<Vec<_>>();
                consumer.resume(&places).await.unwrap();
            }
            Arrival::Messages(deliveries) => {
                for delivery in deliveries {
                    let receipt = delivery.receipt;
                    let expected = self.offsets.insert(receipt.partition, receipt.offset.next());
                    assert!(expected.is_none_or(|expected| expected <= receipt.offset), "{receipt:?} came again");
                    self.messages.push(delivery.content.unwrap());
                }
            }
            // What was delivered is in the book already.
            Arrival::Revoked(_) | Arrival::Lost(_) => {}
        }
    }
}

fn keeping(site: &impl Site, topic: &std::sync::Arc<str>, group: &str) -> Subscription {
    Subscription { keeper: Keeper::Caller, ..site.subscription(topic, group) }
}

pub(super) async fn streams_are_spread_over_partitions(site: &impl Site) {
    let topic = site.topic();
    site.bus().publish(&to(&topic), &messages(60, 120)).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "spread")).await;
    let taken = take(&mut *consumer, 120).await;
    let mut homes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for delivery in &taken {
        let stream = delivery.content.as_ref().unwrap().stream.clone();
        homes.entry(stream).or_default().insert(delivery.receipt.partition);
    }
    assert!(homes.values().all(|partitions| partitions.len() == 1), "a stream is in one partition: {homes:?}");
    let partitions: BTreeSet<_> = homes.into_values().flatten().collect();
    assert!(partitions.len() > 1, "all streams are in one partition");
    consumer.close().await.unwrap();
}

pub(super) async fn members_share_the_partitions(site: &impl Site) {
    let topic = site.topic();
    site.bus().publish(&to(&topic), &messages(60, 300)).await.unwrap();
    let subscription = site.subscription(&topic, "shared");
    let (mut first, mut second) =
        (consume(&*site.bus(), &subscription).await, consume(&*site.bus(), &subscription).await);
    let mut shares = [BTreeSet::<Partition>::new(), BTreeSet::new()];
    let mut taken = Vec::new();
    patiently("a share for both", async {
        while shares.iter().any(BTreeSet::is_empty) || taken.len() < 300 {
            let (arrival, share, consumer) = tokio::select! {
                arrival = first.next(10) => (arrival, &mut shares[0], &mut first),
                arrival = second.next(10) => (arrival, &mut shares[1], &mut second),
            };
            match arrival.unwrap() {
                Arrival::Assigned(partitions) => share.extend(partitions),
                Arrival::Revoked(partitions) | Arrival::Lost(partitions) => {
                    share.retain(|it| !partitions.contains(it));
                }
                Arrival::Messages(deliveries) => {
                    let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt).collect();
                    consumer.settle(&receipts).await.unwrap();
                    for delivery in deliveries {
                        let message = delivery.content.unwrap();
                        if !taken.contains(&message) {
                            taken.push(message);
                        }
                    }
                }
            }
        }
    })
    .await;
    assert!(shares[0].is_disjoint(&shares[1]), "{shares:?}");
    assert_in_order(&taken);
    assert_eq!(sorted(numbers(&taken)), (0..300).collect::<Vec<_>>());
    first.close().await.unwrap();
    second.close().await.unwrap();
}

pub(super) async fn a_caller_that_keeps_offsets_goes_on_where_it_says(site: &impl Site) {
    let topic = site.topic();
    site.bus().publish(&to(&topic), &messages(9, 90)).await.unwrap();
    let subscription = keeping(site, &topic, "kept");
    let mut book = Book::default();
    for goal in [30, 60, 90] {
        // Nothing is settled: what the bus thinks of the group plays no part.
        let mut consumer = consume(&*site.bus(), &subscription).await;
        while book.messages.len() < goal {
            let arrival = patiently("an arrival", consumer.next(7)).await.unwrap();
            book.take(arrival, &mut *consumer).await;
        }
        consumer.close().await.unwrap();
    }
    assert_in_order(&book.messages);
    assert_eq!(sorted(numbers(&book.messages)), (0..90).collect::<Vec<_>>());
}

pub(super) async fn a_partition_moves_between_callers_without_loss(site: &impl Site) {
    let topic = site.topic();
    let sent = messages(40, 400);
    site.bus().publish(&to(&topic), &sent[..200]).await.unwrap();
    let subscription = keeping(site, &topic, "moving");
    // Both callers write into one book, as two hosts write into one read model.
    let mut book = Book::default();
    let mut first = consume(&*site.bus(), &subscription).await;
    while book.messages.len() < 20 {
        let arrival = patiently("an arrival", first.next(7)).await.unwrap();
        book.take(arrival, &mut *first).await;
    }
    let mut second = consume(&*site.bus(), &subscription).await;
    let mut moved = false;
    patiently("a partition for the second and all messages", async {
        while !moved || book.messages.len() < 200 {
            tokio::select! {
                arrival = first.next(7) => book.take(arrival.unwrap(), &mut *first).await,
                arrival = second.next(7) => {
                    let arrival = arrival.unwrap();
                    moved |= matches!(arrival, Arrival::Assigned(_));
                    book.take(arrival, &mut *second).await;
                }
            }
        }
    })
    .await;
    site.bus().publish(&to(&topic), &sent[200..]).await.unwrap();
    // The first goes, and the second takes over what it had.
    first.close().await.unwrap();
    while book.messages.len() < 400 {
        let arrival = patiently("an arrival", second.next(7)).await.unwrap();
        book.take(arrival, &mut *second).await;
    }
    assert_in_order(&book.messages);
    assert_eq!(sorted(numbers(&book.messages)), (0..400).collect::<Vec<_>>());
    second.close().await.unwrap();
}
