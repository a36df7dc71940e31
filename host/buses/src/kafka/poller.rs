//! The thread that polls the client: it takes records as they come, hands them over in batches, and answers for the
//! partitions when the group shares them out anew.
//!
//! It never stands still for long. When nobody takes what it has, it pauses the partitions and goes on polling, so that
//! the group knows the consumer is alive.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lantern_core::{
    BusError, Delivery,
    bus::{Beginning, Keeper, Offset as Place, Partition, Receipt},
};
use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Message as _},
    types::RDKafkaRespErr,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use super::{
    binding,
    client::Trouble,
    shares::{Shares, named},
};
use crate::reading::Reading;

/// How many records, and about how many bytes, are handed over at once.
const BATCH: (usize, usize) = (500, 4 * 1024 * 1024);

/// How long the caller may take to let go what was revoked.
const LETTING_GO: Duration = Duration::from_secs(20);

/// How long the client is not polled while nobody takes what there is.
const UNPOLLED: Duration = Duration::from_secs(1);

/// How long an answer of the brokers may take while partitions are assigned.
const ANSWER: Duration = Duration::from_secs(5);

pub(super) type Client = BaseConsumer<Watch>;

/// What the thread hands over.
#[derive(Debug)]
pub(super) enum Told {
    Messages(Vec<Delivery>),
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
    Lost(Vec<Partition>),
}

/// What the client's callbacks need.
pub(super) struct Watch {
    pub(super) trouble: Trouble,
    pub(super) shares: Arc<Shares>,
    pub(super) keeper: Keeper,
    pub(super) beginning: Beginning,
    pub(super) post: Post,
}

/// What waits to be handed over, in its order, and what is wrong at the moment.
pub(super) struct Post {
    waiting: Mutex<Waiting>,
    sender: mpsc::Sender<Told>,
    /// Not in a row with the rest: an outage has many errors, and each that is told late has somebody wait for nothing.
    failure: watch::Sender<Option<BusError>>,
    runtime: Handle,
}

#[derive(Default)]
struct Waiting {
    told: VecDeque<Told>,
    /// Records at the end of it, and about how many bytes they have.
    batch: (usize, usize),
}

impl Post {
    pub(super) fn new(sender: mpsc::Sender<Told>, failure: watch::Sender<Option<BusError>>, runtime: Handle) -> Self {
        Self { waiting: Mutex::default(), sender, failure, runtime }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody takes anything any more.
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn is_empty(&self) -> bool {
        self.waiting().told.is_empty()
    }

    /// Whether the last batch is large enough.
    fn is_full(&self) -> bool {
        let waiting = self.waiting();
        waiting.batch.0 >= BATCH.0 || waiting.batch.1 >= BATCH.1
    }

    fn push(&self, told: Told) {
        let mut waiting = self.waiting();
        waiting.batch = (0, 0);
        waiting.told.push_back(told);
    }

    /// Something is wrong, until a record comes.
    fn fail(&self, error: BusError) {
        self.failure.send_replace(Some(error));
    }

    fn push_delivery(&self, delivery: Delivery, bytes: usize) {
        let mut waiting = self.waiting();
        let batch = waiting.batch;
        match waiting.told.back_mut() {
            Some(Told::Messages(deliveries)) => deliveries.push(delivery),
            _ => {
                waiting.told.push_back(Told::Messages(vec![delivery]));
                self.failure.send_if_modified(|failure| failure.take().is_some());
            }
        }
        waiting.batch = (batch.0 + 1, batch.1 + bytes);
    }

    /// Hands everything over, as far as somebody takes it within this time; answers whether all was taken.
    fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        while !self.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            let room = self.runtime.block_on(async { tokio::time::timeout(left, self.sender.reserve()).await });
            let Ok(Ok(room)) = room else { return self.is_closed() };
            let mut waiting = self.waiting();
            if let Some(told) = waiting.told.pop_front() {
                room.send(told);
            }
            if waiting.told.is_empty() {
                waiting.batch = (0, 0);
            }
        }
        true
    }
}

/// Polls until nobody takes anything any more, then leaves the group.
pub(super) fn run(client: &Client, reading: &Reading, topic: &str) {
    let post = &client.context().post;
    while !post.is_closed() {
        let wait = if post.is_empty() { Duration::from_millis(100) } else { Duration::ZERO };
        match client.poll(wait) {
            Some(Ok(record)) => {
                take(client, &record, reading);
                if !post.is_full() {
                    continue;
                }
            }
            Some(Err(error)) if failed(client.context(), &error) => {
                post.flush(UNPOLLED);
                return;
            }
            Some(Err(_)) | None => {}
        }
        if !post.flush(UNPOLLED) {
            stall(client, reading, topic);
        }
    }
}

/// Polls without taking records, until somebody takes those there are.
///
/// Only partitions of which records have come are paused: the client never starts one that is paused while it looks up
/// where to begin.
fn stall(client: &Client, reading: &Reading, topic: &str) {
    let Watch { post, shares, .. } = &**client.context();
    let mut paused = listed(topic, shares.flowing());
    log(client.pause(&paused), "pause");
    while !post.is_closed() && !post.flush(Duration::from_millis(100)) {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                take(client, &record, reading);
                let more = listed(topic, [record.partition()]);
                log(client.pause(&more), "pause");
                paused.add_partition(topic, record.partition());
            }
            Some(Err(error)) => drop(failed(client.context(), &error)),
            None => {}
        }
    }
    log(client.resume(&paused), "resume");
}

fn listed(topic: &str, partitions: impl IntoIterator<Item = i32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition);
    }
    list
}

fn take(client: &Client, record: &BorrowedMessage<'_>, reading: &Reading) {
    let Watch { shares, post, .. } = &**client.context();
    // Records of partitions that were taken away may still be on their way.
    let Some(session) = shares.session(record.partition()) else { return };
    shares.flows(record.partition());
    let offset = Place::Number(record.offset().unsigned_abs());
    let receipt = Receipt { partition: named(record.partition()), offset, session };
    let content = binding::read(record, reading);
    post.push_delivery(Delivery { content, receipt, redelivered: false }, record.payload_len() + record.key_len());
}

/// Tells an error when it says something; answers whether the client is of no use any more.
fn failed(watch: &Watch, error: &KafkaError) -> bool {
    watch.trouble.heard(error);
    let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
    let matters = matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    );
    if fatal || matters {
        watch.post.fail(watch.trouble.error(error));
    } else {
        tracing::debug!("Kafka consumer: {error}");
    }
    fatal
}

/// Notes that something failed which comes right by itself, or shows as another error.
fn log(done: KafkaResult<()>, what: &str) {
    if let Err(error) = done {
        tracing::debug!(%error, "Kafka consumer could not {what}");
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    partitions.elements().iter().map(|it| it.partition()).collect()
}

impl Watch {
    fn assign(&self, client: &Client, partitions: &mut TopicPartitionList) {
        let numbers = numbers(partitions);
        self.shares.assign(numbers.iter().copied(), self.keeper == Keeper::Caller);
        if !numbers.is_empty() {
            self.post.push(Told::Assigned(numbers.iter().copied().map(named).collect()));
        }
        match self.keeper {
            Keeper::Caller => {
                self.places(&numbers, partitions);
                log(client.incremental_assign(partitions), "take partitions");
            }
            Keeper::Bus => {
                let begun = (self.beginning == Beginning::Newest).then(|| begin_at_the_end(client, partitions));
                log(client.incremental_assign(partitions), "take partitions");
                if let Some(begun) = begun.filter(|begun| begun.count() > 0) {
                    // The next owner is to begin at the same place, even if nothing is settled until then.
                    log(client.commit(&begun, CommitMode::Async), "commit where the group begins");
                }
            }
        }
    }

    /// Asks the caller where partitions go on. The group waits for that: it shares nothing out anew meanwhile.
    fn places(&self, numbers: &[i32], partitions: &mut TopicPartitionList) {
        while !self.post.is_closed() && !self.post.flush(UNPOLLED) {}
        for (partition, place) in self.shares.wait_for_places(numbers, || self.post.is_closed()) {
            let offset = match (place, self.beginning) {
                (Some(offset), _) => Offset::Offset(offset),
                (None, Beginning::Oldest) => Offset::Beginning,
                (None, Beginning::Newest) => Offset::End,
            };
            let topic = partitions.elements().first().map(|it| it.topic().to_owned()).unwrap_or_default();
            log(partitions.set_partition_offset(&topic, partition, offset), "set an offset");
        }
    }

    fn revoke(&self, client: &Client, partitions: &TopicPartitionList) {
        let numbers = numbers(partitions);
        let told = || numbers.iter().copied().map(named).collect();
        if client.assignment_lost() {
            self.shares.remove(&numbers);
            self.post.push(Told::Lost(told()));
        } else if !numbers.is_empty() && !self.post.is_closed() {
            let revocation = self.shares.revoke(&numbers);
            self.post.push(Told::Revoked(told()));
            let begun = Instant::now();
            if self.post.flush(LETTING_GO) {
                self.shares.wait(revocation, LETTING_GO.saturating_sub(begun.elapsed()), || self.post.is_closed());
            }
            self.shares.remove(&numbers);
        } else {
            self.shares.remove(&numbers);
        }
        log(client.incremental_unassign(partitions), "give partitions back");
    }
}

/// Sets the offsets of partitions for which the group has none to their ends, and answers those.
fn begin_at_the_end(client: &Client, partitions: &mut TopicPartitionList) -> TopicPartitionList {
    let mut begun = TopicPartitionList::new();
    // Without an answer the client begins with the newest by itself, a moment later.
    let Ok(committed) = client.committed_offsets(partitions.clone(), ANSWER) else { return begun };
    for partition in committed.elements() {
        if matches!(partition.offset(), Offset::Offset(_)) {
            continue;
        }
        let (topic, number) = (partition.topic(), partition.partition());
        if let Ok((_, end)) = client.fetch_watermarks(topic, number, ANSWER)
            && partitions.set_partition_offset(topic, number, Offset::Offset(end)).is_ok()
        {
            log(begun.add_partition_offset(topic, number, Offset::Offset(end)), "note an offset");
        }
    }
    begun
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.trouble.log(level, facility, text);
    }

    fn stats(&self, statistics: Statistics) {
        self.trouble.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.error_heard(&error, reason);
    }
}

impl ConsumerContext for Watch {
    fn rebalance(&self, client: &Client, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(client, partitions),
            _ => self.revoke(client, partitions),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        log(result, "commit");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lantern_core::bus::Undecodable;

    use super::*;

    #[tokio::test]
    async fn an_outage_with_many_errors_is_over_with_the_first_record() {
        let ((sender, _told), (failing, failure)) = (mpsc::channel(1), watch::channel(None));
        let post = Post::new(sender, failing, Handle::current());
        for number in 0..100 {
            post.fail(BusError::Unavailable { bus: "bus".into(), reason: format!("error {number}") });
        }
        assert!(failure.borrow().as_ref().unwrap().to_string().contains("error 99"), "only the last one is told");
        let receipt = Receipt { partition: Partition(0), offset: Place::Number(0), session: 1 };
        let (reason, body) = (String::new(), Bytes::new());
        let content = Err(Undecodable { reason, key: None, headers: Vec::new(), body });
        post.push_delivery(Delivery { content, receipt, redelivered: false }, 0);
        assert_eq!(*failure.borrow(), None);
    }
}
