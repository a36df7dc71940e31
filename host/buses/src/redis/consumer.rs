//! A member of a group: takes what its reader hands over, and acknowledges.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use lantern_core::{
    BusError, Consumer, Delivery, Subscription,
    bus::{Arrival, Beginning, Lag, Offset, Partition, Receipt},
};
use redis_client::{
    cmd,
    streams::{StreamInfoGroupsReply, StreamInfoStreamReply},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Settings,
    connection::Connections,
    entry::Entry,
    reader::{Batch, Reader, create_group},
};
use crate::reading::Reading;

/// The only partition there is.
const PARTITION: Partition = Partition(0);

/// How many entries are acknowledged at once.
const ACKNOWLEDGED: usize = 1000;

/// A member of a group.
pub(super) struct Member {
    connections: Arc<Connections>,
    stream: Arc<str>,
    group: Arc<str>,
    reading: Reading,
    batches: mpsc::Receiver<Result<Batch, BusError>>,
    reader: JoinHandle<()>,
    session: u64,
    /// What the reader handed over and nobody has taken yet.
    ready: VecDeque<(bool, Entry)>,
    /// What was delivered in this session and is not acknowledged.
    unsettled: BTreeSet<(u64, u64)>,
}

impl Member {
    /// Joins a group, which comes into being with its first member.
    pub(super) async fn join(
        connections: Arc<Connections>,
        settings: Settings,
        subscription: &Subscription,
        reading: Reading,
    ) -> Result<Self, BusError> {
        let (stream, group) = (subscription.topic.clone(), subscription.group.clone());
        let from = match subscription.beginning {
            Beginning::Oldest => "0",
            Beginning::Newest => "$",
        };
        create_group(&connections, &stream, &group, from).await?;
        let (sender, batches) = mpsc::channel(1);
        let reader = Reader::new(connections.clone(), settings, (stream.clone(), group.clone()), sender);
        let reader = tokio::spawn(reader.run());
        let (ready, unsettled) = (VecDeque::new(), BTreeSet::new());
        Ok(Self { connections, stream, group, reading, batches, reader, session: 0, ready, unsettled })
    }

    /// The next deliveries of what is ready.
    fn take(&mut self, limit: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < limit.max(1)
            && let Some((redelivered, entry)) = self.ready.pop_front()
        {
            self.unsettled.insert(entry.id);
            let Some(content) = entry.content(&self.reading) else {
                // It is acknowledged with what comes after it.
                tracing::error!(stream = %self.stream, group = %self.group, entry = %entry.offset(),
                    "an entry was trimmed before the group had acknowledged it: raise `maxlen` in the URL of the bus");
                continue;
            };
            let receipt = Receipt { partition: PARTITION, offset: entry.offset(), session: self.session };
            deliveries.push(Delivery { content, receipt, redelivered });
        }
        deliveries
    }

    async fn acknowledge(&mut self, ids: &[(u64, u64)]) -> Result<(), BusError> {
        for ids in ids.chunks(ACKNOWLEDGED) {
            let mut acknowledge = cmd("XACK");
            acknowledge.arg(&*self.stream).arg(&*self.group);
            for (time, count) in ids {
                acknowledge.arg(format!("{time}-{count}"));
            }
            self.connections.run::<()>(&acknowledge).await?;
            for id in ids {
                self.unsettled.remove(id);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self, limit: usize) -> Result<Arrival, BusError> {
        loop {
            let deliveries = self.take(limit);
            if !deliveries.is_empty() {
                return Ok(Arrival::Messages(deliveries));
            }
            match self.batches.recv().await {
                Some(Ok(batch)) => {
                    if batch.session != self.session {
                        self.session = batch.session;
                        self.unsettled.clear();
                    }
                    self.ready.extend(batch.entries.into_iter().map(|entry| (batch.again, entry)));
                }
                Some(Err(error)) => return Err(error),
                None => {
                    let reason = "its reader has ended: consume anew".into();
                    return Err(BusError::Unavailable { bus: self.connections.name().into(), reason });
                }
            }
        }
    }

    async fn resume(&mut self, _: &[(Partition, Option<Offset>)]) -> Result<(), BusError> {
        Ok(())
    }

    async fn settle(&mut self, receipts: &[Receipt]) -> Result<(), BusError> {
        let current = receipts.iter().filter(|receipt| receipt.session == self.session);
        let through = current.filter_map(|receipt| match receipt.offset {
            Offset::Entry(time, count) => Some((time, count)),
            Offset::Number(_) => None,
        });
        let Some(through) = through.max() else { return Ok(()) };
        let ids: Vec<_> = self.unsettled.range(..=through).copied().collect();
        self.acknowledge(&ids).await
    }

    async fn reject(&mut self, receipt: Receipt) -> Result<(), BusError> {
        self.settle(&[receipt]).await
    }

    async fn lag(&mut self) -> Result<Vec<Lag>, BusError> {
        if self.session == 0 {
            // Another member reads for the group.
            return Ok(Vec::new());
        }
        let groups: StreamInfoGroupsReply = self.connections.run(cmd("XINFO").arg("GROUPS").arg(&*self.stream)).await?;
        let stream: StreamInfoStreamReply = self.connections.run(cmd("XINFO").arg("STREAM").arg(&*self.stream)).await?;
        let group = groups.groups.into_iter().find(|group| group.name == *self.group);
        let waiting = group.map(|group| group.pending + group.lag.unwrap_or(stream.length));
        let messages = u64::try_from(waiting.unwrap_or(stream.length)).unwrap_or(u64::MAX);
        Ok(vec![Lag { partition: PARTITION, messages }])
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        let Self { batches, reader, .. } = *self;
        // The reader ends when nobody takes what it reads, and gives the lease back.
        drop(batches);
        // It cannot fail: nobody aborts it, and only the end of the runtime ends it early.
        let _ = reader.await;
        Ok(())
    }
}
