//! The inbox of a route: messages of a bus on their way into the log, settled once they are there.
//!
//! ```text
//!  bus ─▶ next ─▶ event    ─▶ log (durable) ──────────▶ settle
//!               └ no event ─▶ dead letters (on disk) ─▶ reject
//! ```
//!
//! Whatever fails is tried again until it succeeds. A host that dies before it has settled gets the messages again, and the
//! log knows their ids.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lantern_core::{
    Bus, BusError, Clock, Consumer, Delivery, Fate, Log, Message, State, Subscription,
    bus::{Arrival, Lag, Partition, Receipt, Undecodable},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{self, MissedTickBehavior},
};

use crate::{LastError, arrivals, backoff, dead_messages::DeadMessages, run::TROUBLE, tenure::Tenure};

/// How many messages are taken at once.
pub(crate) const MOST_AT_ONCE: usize = 500;

/// How often the bus is asked how many messages wait.
pub(crate) const MEASURE: Duration = Duration::from_secs(2);

/// How long leaving the group may take.
pub(crate) const PARTING: Duration = Duration::from_secs(3);

/// What an inbox can be told.
pub(crate) enum Order {
    /// Leave the group until resumed.
    Pause(oneshot::Sender<()>),
    /// Go on after a pause or an error.
    Resume(oneshot::Sender<()>),
    /// End.
    Stop,
}

/// How an inbox is doing, watched by everyone who asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    pub(crate) state: State,
    /// How many messages came into the log since the host started, those that came again included.
    pub(crate) messages: u64,
    pub(crate) dead_letters: u64,
    /// How many messages wait in each partition that is the inbox's, as far as the bus has said.
    pub(crate) lag: BTreeMap<Partition, u64>,
    pub(crate) last_error: Option<LastError>,
}

/// One inbox and all it needs.
pub(crate) struct Inbox {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) subscription: Subscription,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) dead: Arc<DeadMessages>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) flow: watch::Sender<Flow>,
    pub(crate) orders: mpsc::Receiver<Order>,
    /// Whether it begins with a pause.
    pub(crate) is_paused: bool,
    /// For how long it may run. What another host does at the same time would be done twice, to the same effect.
    pub(crate) tenure: Tenure,
}

/// Why consuming came to an end.
enum End {
    /// It was told to.
    Stop,
    /// It was told to pause.
    Pause,
    /// The bus cannot do what is asked of it.
    Halt(String),
}

impl Inbox {
    /// Runs until told to stop.
    pub(crate) async fn run(mut self) {
        let mut is_on = true;
        if self.is_paused {
            self.flow.send_modify(|flow| flow.state = State::Paused);
            is_on = self.rest().await.is_ok();
        }
        while is_on {
            let mut consumer = None;
            let end = self.consume(&mut consumer).await;
            if let Some(consumer) = consumer {
                // What was not settled comes again, to whoever is in the group then.
                let _ = time::timeout(PARTING, consumer.close()).await;
            }
            let state = match end {
                End::Stop => break,
                End::Pause => State::Paused,
                End::Halt(message) => {
                    self.fail(message);
                    State::Error
                }
            };
            self.flow.send_modify(|flow| {
                flow.state = state;
                flow.lag.clear();
            });
            is_on = self.rest().await.is_ok();
        }
        self.flow.send_modify(|flow| flow.state = State::Stopped);
    }

    /// Waits until resumed. An error means that the inbox is to end.
    async fn rest(&mut self) -> Result<(), ()> {
        loop {
            match self.orders.recv().await {
                None | Some(Order::Stop) => return Err(()),
                Some(Order::Pause(reply)) => {
                    self.flow.send_modify(|flow| flow.state = State::Paused);
                    let _ = reply.send(());
                }
                Some(Order::Resume(reply)) => {
                    self.flow.send_modify(|flow| {
                        flow.state = State::Starting;
                        flow.last_error = None;
                    });
                    let _ = reply.send(());
                    return Ok(());
                }
            }
        }
    }

    /// Takes messages in for as long as nobody tells otherwise. What is in trouble is tried again.
    async fn consume(&mut self, place: &mut Option<Box<dyn Consumer>>) -> End {
        let mut troubles = 0;
        let mut ticks = time::interval(MEASURE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let consumer = match place {
                Some(consumer) => consumer,
                None => {
                    let (bus, subscription) = (self.bus.clone(), self.subscription.clone());
                    let joining = tokio::select! {
                        end = self.told() => return end,
                        joining = bus.consume(&subscription) => joining,
                    };
                    match joining {
                        Ok(consumer) => {
                            self.well(false);
                            place.insert(consumer)
                        }
                        Err(error) => {
                            if let Some(end) = self.trouble(&error, &mut troubles).await {
                                return end;
                            }
                            continue;
                        }
                    }
                }
            };
            let arrival = tokio::select! {
                biased;
                end = self.told() => return end,
                _ = ticks.tick() => {
                    let lag = tokio::select! {
                        end = self.told() => return end,
                        lag = consumer.lag() => lag,
                    };
                    self.measured(lag);
                    // Counted from now: a bus that takes long to answer is not asked without end, and messages come in.
                    ticks.reset();
                    continue;
                }
                arrival = consumer.next(MOST_AT_ONCE) => arrival,
            };
            match arrival {
                Ok(arrival) => {
                    if troubles > 0 {
                        tracing::info!(topic = %self.subscription.topic, "the bus is back");
                    }
                    troubles = 0;
                    if let Err(end) = self.take_in(&mut **consumer, arrival).await {
                        return end;
                    }
                }
                Err(error) => {
                    if let Some(end) = self.trouble(&error, &mut troubles).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Waits for an order that ends consuming.
    async fn told(&mut self) -> End {
        loop {
            match self.orders.recv().await {
                None | Some(Order::Stop) => return End::Stop,
                Some(Order::Pause(reply)) => {
                    self.flow.send_modify(|flow| flow.state = State::Paused);
                    let _ = reply.send(());
                    return End::Pause;
                }
                Some(Order::Resume(reply)) => drop(reply.send(())),
            }
        }
    }

    /// Notes an error of the bus and waits a while; the end when no waiting helps.
    async fn trouble(&mut self, error: &BusError, troubles: &mut u32) -> Option<End> {
        *troubles = troubles.saturating_add(1);
        if error.fate() != Fate::Retry {
            return Some(End::Halt(error.to_string()));
        }
        if *troubles == 1 {
            tracing::warn!(topic = %self.subscription.topic, "{error}; trying again");
        }
        self.fail(error.to_string());
        self.pause(*troubles).await
    }

    /// Waits a while; the end when told to end meanwhile.
    async fn pause(&mut self, troubles: u32) -> Option<End> {
        tokio::select! {
            end = self.told() => Some(end),
            () = time::sleep(backoff::pause(&TROUBLE, troubles)) => None,
        }
    }

    /// Deals with what arrived, in order.
    async fn take_in(&mut self, consumer: &mut dyn Consumer, arrival: Arrival) -> Result<(), End> {
        let deliveries = match arrival {
            Arrival::Messages(deliveries) => deliveries,
            Arrival::Assigned(partitions) => {
                self.flow.send_modify(|flow| {
                    flow.lag.extend(partitions.into_iter().map(|partition| (partition, 0)));
                });
                self.well(false);
                return Ok(());
            }
            // Everything that was delivered has been settled before the next is asked for.
            Arrival::Revoked(partitions) | Arrival::Lost(partitions) => {
                self.flow.send_modify(|flow| flow.lag.retain(|partition, _| !partitions.contains(partition)));
                return Ok(());
            }
        };
        let behind = deliveries.len() >= MOST_AT_ONCE;
        let (mut messages, mut receipts) = (Vec::with_capacity(deliveries.len()), Vec::with_capacity(deliveries.len()));
        for Delivery { content, receipt, .. } in deliveries {
            match content {
                Ok(message) => {
                    messages.push(message);
                    receipts.push(receipt);
                }
                Err(undecodable) => {
                    let before = (std::mem::take(&mut messages), std::mem::take(&mut receipts));
                    self.append(consumer, before).await?;
                    self.park(receipt, undecodable).await?;
                    let settled = consumer.reject(receipt).await;
                    self.heed(settled);
                }
            }
        }
        self.append(consumer, (messages, receipts)).await?;
        self.well(behind);
        Ok(())
    }

    /// Puts messages into the log, then settles them.
    async fn append(
        &mut self,
        consumer: &mut dyn Consumer,
        (messages, receipts): (Vec<Message>, Vec<Receipt>),
    ) -> Result<(), End> {
        if messages.is_empty() {
            return Ok(());
        }
        if !self.tenure.holds() {
            return Err(End::Stop);
        }
        let (count, mut troubles) = (messages.len() as u64, 0);
        while let Err(error) = arrivals::append(&*self.log, messages.clone()).await {
            self.again(error.to_string(), &mut troubles).await?;
        }
        self.flow.send_if_modified(|flow| {
            flow.messages += count;
            false
        });
        let settled = consumer.settle(&last_of_each(receipts)).await;
        self.heed(settled);
        Ok(())
    }

    /// Sets a message aside.
    async fn park(&mut self, receipt: Receipt, message: Undecodable) -> Result<(), End> {
        tracing::warn!(topic = %self.subscription.topic, partition = %receipt.partition, offset = %receipt.offset,
            "a message is no event: {}", message.reason);
        let mut troubles = 0;
        while let Err(error) = self.dead.park(&self.subscription.topic, receipt, message.clone()).await {
            self.again(error.to_string(), &mut troubles).await?;
        }
        self.count_dead().await;
        Ok(())
    }

    /// Tells of a trouble with storage and waits a while.
    async fn again(&mut self, message: String, troubles: &mut u32) -> Result<(), End> {
        *troubles += 1;
        tracing::warn!(topic = %self.subscription.topic, "{message}; trying again");
        self.fail(message);
        self.pause(*troubles).await.map_or(Ok(()), Err)
    }

    /// What is not settled comes again and does no harm: an error is only told.
    fn heed(&self, settled: Result<(), BusError>) {
        if let Err(error) = settled {
            tracing::warn!(topic = %self.subscription.topic, "{error}; the messages will come again");
        }
    }

    /// Notes how many messages wait. A bus that does not say is asked again later.
    fn measured(&self, lag: Result<Vec<Lag>, BusError>) {
        match lag {
            Ok(lag) => {
                let lag = lag.into_iter().map(|Lag { partition, messages }| (partition, messages)).collect();
                self.flow.send_modify(|flow| {
                    flow.lag = lag;
                    if flow.state == State::Error {
                        // The bus answers again, also where no message comes.
                        (flow.state, flow.last_error) = (State::Live, None);
                    }
                });
            }
            Err(error) => tracing::debug!(topic = %self.subscription.topic, "the lag is not known: {error}"),
        }
    }

    /// Counts the dead letters anew.
    async fn count_dead(&self) {
        match self.dead.count().await {
            Ok(count) => self.flow.send_modify(|flow| flow.dead_letters = count),
            Err(error) => tracing::warn!(topic = %self.subscription.topic, "{error}"),
        }
    }

    fn well(&self, behind: bool) {
        let state = if behind { State::CatchingUp } else { State::Live };
        self.flow.send_if_modified(|flow| {
            let changed = flow.state != state || flow.last_error.is_some();
            flow.state = state;
            flow.last_error = None;
            changed
        });
    }

    fn fail(&self, message: String) {
        let error = LastError { message, at: self.clock.now(), position: None };
        self.flow.send_modify(|flow| {
            flow.state = State::Error;
            flow.last_error = Some(error);
        });
    }
}

/// The last receipt of each partition and session, which stands for those before.
fn last_of_each(receipts: Vec<Receipt>) -> Vec<Receipt> {
    let mut last: Vec<Receipt> = Vec::new();
    for receipt in receipts {
        let same = |known: &&mut Receipt| known.partition == receipt.partition && known.session == receipt.session;
        match last.iter_mut().find(same) {
            Some(known) => *known = receipt,
            None => last.push(receipt),
        }
    }
    last
}
