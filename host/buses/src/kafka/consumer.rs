//! A member of a consumer group: takes what the client's thread hands over, and commits.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lantern_core::{
    BusError, Consumer, Delivery, Subscription,
    bus::{Arrival, Beginning, Keeper, Lag, Offset as Place, Partition, Receipt},
};
use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};

use super::{
    client::{Trouble, blocking},
    poller::{self, Client, Post, Told, Watch},
    producer::Producer,
    settings::Settings,
    shares::{Shares, named},
};
use crate::reading::Reading;

/// How long an answer of the brokers may take.
const ANSWER: Duration = Duration::from_secs(10);

/// How many batches wait for the caller.
const WAITING: usize = 2;

/// A member of a consumer group.
pub(super) struct Member {
    settings: Arc<Settings>,
    subscription: Subscription,
    reading: Reading,
    trouble: Trouble,
    /// Knows where the partitions end.
    producer: Arc<Producer>,
    shares: Arc<Shares>,
    thread: Thread,
    /// What was handed over and nobody has taken yet.
    ready: VecDeque<Delivery>,
    /// Whether the caller was told of a revocation and has not called again since.
    letting_go: bool,
}

/// The thread of the client.
struct Thread {
    told: mpsc::Receiver<Told>,
    failure: watch::Receiver<Option<BusError>>,
    client: Weak<Client>,
    /// Answered when the client has left the group.
    ended: oneshot::Receiver<()>,
}

impl Member {
    pub(super) fn join(
        settings: Arc<Settings>,
        subscription: &Subscription,
        reading: Reading,
        producer: Arc<Producer>,
    ) -> Result<Self, BusError> {
        let (trouble, shares) = (Trouble::new(&settings.name), Arc::<Shares>::default());
        let thread = start(&settings, subscription, &reading, &trouble, &shares)?;
        let (subscription, ready) = (subscription.clone(), VecDeque::new());
        Ok(Self { settings, subscription, reading, trouble, producer, shares, thread, ready, letting_go: false })
    }

    /// Does something with the client where blocking is allowed.
    async fn with_client<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client, &Shares) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, BusError> {
        let (client, shares) = (self.thread.client.clone(), self.shares.clone());
        let done = blocking(move || {
            let client = client.upgrade().ok_or(KafkaError::Canceled)?;
            work(&client, &shares)
        });
        done.await.unwrap_or(Err(KafkaError::Canceled)).map_err(|error| self.trouble.error(&error))
    }

    /// The next deliveries of what is ready.
    fn take(&mut self, limit: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(limit.min(self.ready.len()));
        while deliveries.len() < limit.max(1)
            && let Some(delivery) = self.ready.pop_front()
        {
            // It may have waited here while its partition was taken away.
            let partition = i32::try_from(delivery.receipt.partition.0).ok();
            if partition.and_then(|partition| self.shares.session(partition)) == Some(delivery.receipt.session) {
                deliveries.push(delivery);
            }
        }
        deliveries
    }

    fn number(&self, place: Place) -> Result<i64, BusError> {
        match place {
            Place::Number(number) => Ok(i64::try_from(number).unwrap_or(i64::MAX)),
            Place::Entry(..) => {
                let reason = format!("`{place}` is an offset of a Redis stream: give a number");
                Err(BusError::Unsupported { bus: self.settings.name.clone(), reason })
            }
        }
    }
}

/// Starts a client and its thread.
fn start(
    settings: &Settings,
    subscription: &Subscription,
    reading: &Reading,
    trouble: &Trouble,
    shares: &Arc<Shares>,
) -> Result<Thread, BusError> {
    shares.clear();
    let (sender, told) = mpsc::channel(WAITING);
    let (failing, failure) = watch::channel(None);
    let watch = Watch {
        trouble: trouble.clone(),
        shares: shares.clone(),
        keeper: subscription.keeper,
        beginning: subscription.beginning,
        post: Post::new(sender, failing, Handle::current()),
    };
    let newest = subscription.beginning == Beginning::Newest;
    let config = settings.consumer(&subscription.group, newest);
    let client = Client::from_config_and_context(&config, watch).map_err(|error| trouble.error(&error))?;
    client.subscribe(&[&subscription.topic]).map_err(|error| trouble.error(&error))?;
    let client = Arc::new(client);
    let (done, ended) = oneshot::channel();
    let (weak, reading, topic) = (Arc::downgrade(&client), reading.clone(), subscription.topic.clone());
    let thread = std::thread::Builder::new().name("kafka-consumer".into()).spawn(move || {
        poller::run(&client, &reading, &topic);
        // Leaves the group, if nobody uses the client at the moment.
        drop(client);
        // Nobody may wait for it.
        let _ = done.send(());
    });
    match thread {
        Ok(_) => Ok(Thread { told, failure, client: weak, ended }),
        Err(error) => {
            let reason = format!("its thread could not be started: {error}");
            Err(BusError::Unavailable { bus: settings.name.clone(), reason })
        }
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self, limit: usize) -> Result<Arrival, BusError> {
        if std::mem::take(&mut self.letting_go) {
            self.shares.let_go();
        }
        loop {
            let deliveries = self.take(limit);
            if !deliveries.is_empty() {
                return Ok(Arrival::Messages(deliveries));
            }
            let told = tokio::select! {
                biased;
                told = self.thread.told.recv() => told,
                Ok(()) = self.thread.failure.changed() => match self.thread.failure.borrow_and_update().clone() {
                    Some(error) => return Err(error),
                    None => continue,
                },
            };
            match told {
                Some(Told::Messages(deliveries)) => {
                    self.trouble.over();
                    self.ready.extend(deliveries);
                }
                Some(Told::Assigned(partitions)) => return Ok(Arrival::Assigned(partitions)),
                Some(Told::Revoked(partitions)) => {
                    self.letting_go = true;
                    return Ok(Arrival::Revoked(partitions));
                }
                Some(Told::Lost(partitions)) => return Ok(Arrival::Lost(partitions)),
                None => {
                    let failure = self.thread.failure.borrow().clone();
                    let Self { settings, subscription, reading, trouble, shares, .. } = self;
                    self.thread = start(settings, subscription, reading, trouble, shares)?;
                    return Err(failure.unwrap_or_else(|| {
                        let reason = "its client has ended, and a new one begins".into();
                        BusError::Unavailable { bus: self.settings.name.clone(), reason }
                    }));
                }
            }
        }
    }

    async fn resume(&mut self, places: &[(Partition, Option<Place>)]) -> Result<(), BusError> {
        if self.subscription.keeper == Keeper::Bus {
            return Ok(());
        }
        let places = places.iter().map(|(partition, place)| {
            let offset = place.map(|place| self.number(place)).transpose()?;
            Ok((i32::try_from(partition.0).unwrap_or(i32::MAX), offset))
        });
        let places = places.collect::<Result<Vec<_>, BusError>>()?;
        self.shares.begin(&places);
        Ok(())
    }

    async fn settle(&mut self, receipts: &[Receipt]) -> Result<(), BusError> {
        let receipts = receipts.iter().map(|receipt| Ok((*receipt, self.number(receipt.offset)?)));
        let receipts = receipts.collect::<Result<Vec<_>, BusError>>()?;
        let topic = self.subscription.topic.clone();
        // Where the caller keeps the offsets, nothing depends on the commit.
        let mode = if self.subscription.keeper == Keeper::Bus { CommitMode::Sync } else { CommitMode::Async };
        self.with_client(move |client, shares| {
            let begun = Instant::now();
            loop {
                let settled = shares.settle(&receipts, |offsets| {
                    let mut committed = TopicPartitionList::with_capacity(offsets.len());
                    for (partition, offset) in offsets {
                        committed.add_partition_offset(&topic, *partition, Offset::Offset(*offset))?;
                    }
                    client.commit(&committed, mode)
                });
                match settled {
                    // The group is sharing its partitions out. What stays with this consumer can be committed then.
                    Err(error) if is_between_generations(&error) && begun.elapsed() < ANSWER => {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    settled => return settled,
                }
            }
        })
        .await
    }

    async fn reject(&mut self, receipt: Receipt) -> Result<(), BusError> {
        self.settle(&[receipt]).await
    }

    async fn lag(&mut self) -> Result<Vec<Lag>, BusError> {
        let topic = self.subscription.topic.clone();
        let reached = self.with_client(move |client, shares| {
            let partitions = shares.list();
            let mut unknown = TopicPartitionList::new();
            for (partition, _) in partitions.iter().filter(|(_, share)| share.settled.is_none()) {
                unknown.add_partition(&topic, *partition);
            }
            let committed = match unknown.count() {
                0 => unknown,
                _ => client.committed_offsets(unknown, ANSWER)?,
            };
            let reached = partitions.into_iter().map(|(partition, share)| {
                let committed = committed.find_partition(&topic, partition).and_then(|it| it.offset().to_raw());
                (partition, share.settled.or(committed).filter(|offset| *offset >= 0))
            });
            Ok(reached.collect::<Vec<_>>())
        });
        let reached = reached.await?;
        let partitions: Vec<_> = reached.iter().map(|(partition, _)| *partition).collect();
        let watermarks = self.producer.watermarks(&self.subscription.topic, &partitions).await?;
        let lag = reached.into_iter().zip(watermarks).map(|((partition, offset), (low, high))| {
            let from = offset.unwrap_or(low).max(low);
            Lag { partition: named(partition), messages: u64::try_from(high - from).unwrap_or(0) }
        });
        Ok(lag.collect())
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        let Thread { told, ended, .. } = self.thread;
        // The thread ends when nobody takes anything any more.
        drop(told);
        // An error says that it has ended already.
        let _ = ended.await;
        Ok(())
    }
}

/// Whether a commit failed because the group has begun to share its partitions out.
fn is_between_generations(error: &KafkaError) -> bool {
    let codes = [RDKafkaErrorCode::IllegalGeneration, RDKafkaErrorCode::RebalanceInProgress];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}
