//! Consuming for a feed: a member of the group that hands over what comes, for as long as the run of its projection lasts.
//!
//! Partitions go on where the read model stands, whatever the bus thinks of the group. What is committed is settled
//! afterwards, for the eyes of operators. A partition that goes to another consumer needs nothing undone: what came from it
//! is handled behind the fence of the generation, and whoever may not commit any more ends its run.

use std::sync::Arc;

use lantern_core::{BusError, Consumer, State, bus::Arrival};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};

use super::{Feed, Settling};
use crate::{
    LastError, backoff,
    inbox::{MEASURE, MOST_AT_ONCE, PARTING},
    run::TROUBLE,
};

/// A feed at work. Dropping it ends it.
pub(crate) struct Feeding {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Feeding {
    /// Begins to consume once a session of the projection has begun.
    pub(crate) fn start(feed: Arc<Feed>) -> Self {
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut consumer = None;
            tokio::select! {
                _ = &mut ended => {}
                () = consume(&feed, &mut consumer) => {}
            }
            if let Some(mut consumer) = consumer {
                let last = settle(&feed, &mut *consumer);
                let _ = time::timeout(PARTING, last).await;
                // What was not committed comes again, to whoever is in the group then.
                let _ = time::timeout(PARTING, consumer.close()).await;
            }
            feed.flow.send_modify(|flow| {
                flow.state = State::Stopped;
                flow.lag.clear();
            });
        });
        Self { end, task }
    }

    /// Leaves the group.
    pub(crate) async fn stop(self) {
        // One that has ended already needs no telling.
        let _ = self.end.send(());
        if let Err(error) = self.task.await {
            tracing::error!("a feed ended with a panic: {error}");
        }
    }
}

/// Consumes for ever. What is in trouble is tried again. Whoever gives the wait up finds the member of the group in
/// `place`, with nothing lost.
async fn consume(feed: &Feed, place: &mut Option<Box<dyn Consumer>>) {
    while !feed.is_begun() {
        feed.stirred.notified().await;
    }
    let mut troubles = 0;
    let mut ticks = time::interval(MEASURE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if feed.is_stale()
            && let Some(consumer) = place.take()
        {
            let _ = time::timeout(PARTING, consumer.close()).await;
        }
        let done = match place {
            None => match feed.bus.consume(&feed.route.subscription).await {
                Ok(consumer) => {
                    *place = Some(consumer);
                    well(feed);
                    continue;
                }
                Err(error) => Err(error),
            },
            Some(consumer) => turn(feed, &mut **consumer, &mut ticks).await,
        };
        match done {
            Ok(()) => troubles = 0,
            Err(error) => {
                troubles += 1;
                if troubles == 1 {
                    tracing::warn!(topic = %feed.route.subscription.topic, "{error}; trying again");
                }
                fail(feed, error.to_string());
                time::sleep(backoff::pause(&TROUBLE, troubles)).await;
            }
        }
    }
}

/// Waits for one thing and does it.
async fn turn(feed: &Feed, consumer: &mut dyn Consumer, ticks: &mut time::Interval) -> Result<(), BusError> {
    let arrival = tokio::select! {
        () = feed.stirred.notified() => {
            settle(feed, consumer).await;
            return Ok(());
        }
        _ = ticks.tick() => {
            measure(feed, consumer).await;
            ticks.reset();
            return Ok(());
        }
        arrival = consumer.next(MOST_AT_ONCE), if feed.has_room() => arrival?,
    };
    match arrival {
        Arrival::Messages(deliveries) => {
            feed.add(deliveries);
            well(feed);
        }
        Arrival::Assigned(partitions) => {
            consumer.resume(&feed.places(&partitions)).await?;
            feed.flow.send_modify(|flow| flow.lag.extend(partitions.into_iter().map(|partition| (partition, 0))));
            well(feed);
        }
        Arrival::Revoked(partitions) | Arrival::Lost(partitions) => {
            feed.flow.send_modify(|flow| flow.lag.retain(|partition, _| !partitions.contains(partition)));
        }
    }
    Ok(())
}

/// Tells the bus what is committed. Nothing depends on it.
async fn settle(feed: &Feed, consumer: &mut dyn Consumer) {
    let Settling { dead, last } = feed.settling();
    let mut settled = Ok(());
    for receipt in dead {
        settled = settled.and(consumer.reject(receipt).await);
    }
    if !last.is_empty() {
        settled = settled.and(consumer.settle(&last).await);
    }
    if let Err(error) = settled {
        tracing::debug!(topic = %feed.route.subscription.topic, "the bus does not know how far the group is: {error}");
    }
}

/// Notes how many messages wait. A bus that does not say is asked again later.
async fn measure(feed: &Feed, consumer: &mut dyn Consumer) {
    match consumer.lag().await {
        Ok(lag) => {
            let lag = lag.into_iter().map(|lag| (lag.partition, lag.messages)).collect();
            feed.flow.send_modify(|flow| flow.lag = lag);
            // The bus answers again, also where no message comes.
            well(feed);
        }
        Err(error) => tracing::debug!(topic = %feed.route.subscription.topic, "the lag is not known: {error}"),
    }
}

fn well(feed: &Feed) {
    feed.flow.send_if_modified(|flow| {
        let changed = flow.state != State::Live || flow.last_error.is_some();
        (flow.state, flow.last_error) = (State::Live, None);
        changed
    });
}

fn fail(feed: &Feed, message: String) {
    let error = LastError { message, at: feed.now(), position: None };
    feed.flow.send_modify(|flow| (flow.state, flow.last_error) = (State::Error, Some(error)));
}
