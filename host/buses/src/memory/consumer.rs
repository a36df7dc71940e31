//! A member of a group of the bus in memory.

use std::sync::Arc;

use async_trait::async_trait;
use lantern_core::{
    BusError, Consumer, Delivery, Subscription,
    bus::{Arrival, Beginning, Keeper, Lag, Offset, Partition, Receipt},
};
use tokio::sync::watch;

use super::{
    Kept, NAME,
    group::{Group, Told},
    topic::{State, Topic},
};
use crate::{cloud_events::headers, reading::Reading};

/// A member of a group.
pub(super) struct Member {
    topic: Arc<Topic>,
    group: Arc<str>,
    number: u64,
    keeper: Keeper,
    beginning: Beginning,
    reading: Reading,
    changes: watch::Receiver<()>,
}

impl Member {
    /// Joins a group, which comes into being with its first member.
    pub(super) fn join(topic: Arc<Topic>, subscription: &Subscription, reading: Reading) -> Self {
        let changes = topic.changes();
        let mut state = topic.state();
        let State { partitions, groups, .. } = &mut *state;
        let beginnings = partitions.iter().map(|partition| match subscription.beginning {
            Beginning::Oldest => partition.first,
            Beginning::Newest => partition.end(),
        });
        let group = groups.entry(subscription.group.clone()).or_insert_with(|| Group::new(beginnings));
        let number = group.join();
        drop(state);
        topic.tell();
        let (keeper, beginning) = (subscription.keeper, subscription.beginning);
        Self { topic, group: subscription.group.clone(), number, keeper, beginning, reading, changes }
    }

    /// Works on the group.
    fn in_group<T>(&self, work: impl FnOnce(&mut Group, &[super::topic::Partition]) -> T) -> T {
        let mut state = self.topic.state();
        let State { partitions, groups, .. } = &mut *state;
        // A group is made by its first member and stays.
        let group =
            groups.entry(self.group.clone()).or_insert_with(|| Group::new(partitions.iter().map(|it| it.first)));
        work(group, partitions)
    }

    /// What there is to tell now.
    fn arrival(&self, limit: usize) -> Option<Arrival> {
        self.in_group(|group, partitions| match group.told(self.number) {
            Some(Told::Revoked(indexes)) => Some(Arrival::Revoked(named(&indexes))),
            Some(Told::Assigned(indexes)) => {
                if self.keeper == Keeper::Bus {
                    group.shares(self.number).for_each(|(_, share)| share.at = share.at.or(Some(share.settled)));
                }
                Some(Arrival::Assigned(named(&indexes)))
            }
            None => {
                let mut deliveries = Vec::new();
                for (index, share) in group.shares(self.number) {
                    let Some(mut at) = share.at else { continue };
                    at = at.max(partitions[index].first);
                    while deliveries.len() < limit.max(1) {
                        let Some(kept) = partitions[index].get(at) else { break };
                        let offset = Offset::Number(at);
                        let receipt = Receipt { partition: named(&[index])[0], offset, session: share.session };
                        deliveries.push(self.delivery(kept, receipt, at < share.delivered));
                        at += 1;
                    }
                    (share.at, share.delivered) = (Some(at), share.delivered.max(at));
                }
                (!deliveries.is_empty()).then_some(Arrival::Messages(deliveries))
            }
        })
    }

    fn delivery(&self, kept: &Kept, receipt: Receipt, redelivered: bool) -> Delivery {
        let headers = || kept.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let read = headers::read(headers(), &[headers::PREFIX], &kept.body, &self.reading.absent(kept.time));
        let content = read
            .map_err(|invalid| headers::undecodable(&invalid, Some(kept.key.clone()), headers(), kept.body.clone()));
        Delivery { content, receipt, redelivered }
    }
}

fn named(indexes: &[usize]) -> Vec<Partition> {
    // The number of partitions was given as a small number.
    indexes.iter().map(|index| Partition(*index as u32)).collect()
}

fn number(offset: Offset) -> Result<u64, BusError> {
    match offset {
        Offset::Number(number) => Ok(number),
        Offset::Entry(..) => {
            let reason = format!("`{offset}` is an offset of a Redis stream: give a number");
            Err(BusError::Unsupported { bus: NAME.into(), reason })
        }
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self, limit: usize) -> Result<Arrival, BusError> {
        loop {
            self.changes.mark_unchanged();
            if self.in_group(|group, _| group.let_go(self.number)) {
                // Somebody else has them now.
                self.topic.tell();
            }
            if let Some(arrival) = self.arrival(limit) {
                return Ok(arrival);
            }
            // The topic lives as long as its members.
            let _ = self.changes.changed().await;
        }
    }

    async fn resume(&mut self, places: &[(Partition, Option<Offset>)]) -> Result<(), BusError> {
        let places = places.iter().map(|(partition, offset)| Ok((*partition, offset.map(number).transpose()?)));
        let places = places.collect::<Result<Vec<_>, BusError>>()?;
        self.in_group(|group, partitions| {
            for (partition, offset) in places {
                let index = partition.0 as usize;
                let Some(kept) = partitions.get(index) else { continue };
                let beginning = match self.beginning {
                    Beginning::Oldest => kept.first,
                    Beginning::Newest => kept.end(),
                };
                if let Some(share) = group.share(self.number, index) {
                    share.at = Some(offset.unwrap_or(beginning));
                    share.settled = share.settled.max(offset.unwrap_or(beginning));
                }
            }
        });
        Ok(())
    }

    async fn settle(&mut self, receipts: &[Receipt]) -> Result<(), BusError> {
        let offsets = receipts.iter().map(|receipt| Ok((receipt, number(receipt.offset)?)));
        let offsets = offsets.collect::<Result<Vec<_>, BusError>>()?;
        self.in_group(|group, _| {
            for (receipt, offset) in offsets {
                let share = group.share(self.number, receipt.partition.0 as usize);
                if let Some(share) = share.filter(|share| share.session == receipt.session) {
                    share.settled = share.settled.max(offset + 1);
                }
            }
        });
        Ok(())
    }

    async fn reject(&mut self, receipt: Receipt) -> Result<(), BusError> {
        self.settle(&[receipt]).await
    }

    async fn lag(&mut self) -> Result<Vec<Lag>, BusError> {
        let lag = self.in_group(|group, partitions| {
            let lag = |(index, share): (usize, &mut super::group::Share)| Lag {
                partition: named(&[index])[0],
                messages: partitions[index].end().saturating_sub(share.settled.max(partitions[index].first)),
            };
            group.shares(self.number).map(lag).collect()
        });
        Ok(lag)
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.in_group(|group, _| group.leave(self.number));
        self.topic.tell();
    }
}
