//! A member of a group: a session after the other, begun anew when one broke.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use lantern_core::{
    BusError, Consumer, Delivery, Subscription,
    bus::{Arrival, Lag, Offset, Partition, Receipt},
};
use tokio::task::JoinHandle;

use super::{Settings, binding, connections::Connections, session::Session};
use crate::reading::Reading;

/// The only partition there is.
const PARTITION: Partition = Partition(0);

/// The pause before a session begins anew, doubled up to the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A member of a group.
pub(super) struct Member {
    connections: Arc<Connections>,
    settings: Settings,
    subscription: Subscription,
    reading: Reading,
    state: State,
    /// The number of the session.
    number: u64,
    pause: Duration,
    /// What came and nobody has taken yet.
    ready: VecDeque<Delivery>,
}

enum State {
    Consuming(Box<Session>),
    /// A session begins on a task of its own, so that nobody who gives up waiting holds it up.
    Beginning(JoinHandle<Result<Session, BusError>>),
    Idle,
}

impl Member {
    /// Joins a group, whose queue is made with its first member.
    pub(super) async fn join(
        connections: Arc<Connections>,
        settings: Settings,
        subscription: &Subscription,
        reading: Reading,
    ) -> Result<Self, BusError> {
        let session = Session::begin(&connections, settings, subscription).await?;
        Ok(Self {
            connections,
            settings,
            subscription: subscription.clone(),
            reading,
            state: State::Consuming(Box::new(session)),
            number: 1,
            pause: PAUSE.0,
            ready: VecDeque::new(),
        })
    }

    /// The session, once there is one.
    async fn session(&mut self) -> Result<&mut Session, BusError> {
        if matches!(self.state, State::Idle) {
            let (connections, settings) = (self.connections.clone(), self.settings);
            let (subscription, pause) = (self.subscription.clone(), self.pause);
            self.pause = (pause * 2).min(PAUSE.1);
            self.state = State::Beginning(tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                Session::begin(&connections, settings, &subscription).await
            }));
        }
        if let State::Beginning(beginning) = &mut self.state {
            // The task is neither aborted nor does it panic; only the end of the runtime ends it early.
            let begun = beginning.await.unwrap_or_else(|_| Err(self.connections.silent()));
            self.state = State::Idle;
            self.state = State::Consuming(Box::new(begun?));
            self.number += 1;
        }
        match &mut self.state {
            State::Consuming(session) => Ok(session),
            // It was made just now.
            State::Beginning(_) | State::Idle => Err(self.connections.silent()),
        }
    }

    /// The session, if the receipt is of it.
    fn of(&mut self, receipt: &Receipt) -> Option<(&mut Session, u64)> {
        match (&mut self.state, receipt.offset) {
            (State::Consuming(session), Offset::Number(tag)) if receipt.session == self.number => Some((session, tag)),
            _ => None,
        }
    }

    /// Takes what has come; waits for the first message when nothing has.
    async fn receive(&mut self) -> Result<(), BusError> {
        let mut came = None;
        if self.ready.is_empty() {
            came = Some(self.session().await?.messages.next().await);
        }
        loop {
            match came.take() {
                Some(Some(Ok(delivery))) => self.keep(delivery),
                Some(broken) => {
                    self.state = State::Idle;
                    let queue = format!("{}.{}", self.subscription.topic, self.subscription.group);
                    return Err(match broken {
                        Some(Err(error)) => self.connections.error(&error),
                        _ => self.connections.unavailable(format!("the queue `{queue}` was deleted: it is made anew")),
                    });
                }
                None => {}
            }
            let State::Consuming(session) = &mut self.state else { return Ok(()) };
            came = session.messages.next().now_or_never();
            if came.is_none() {
                return Ok(());
            }
        }
    }

    fn keep(&mut self, delivery: lapin::message::Delivery) {
        let State::Consuming(session) = &mut self.state else { return };
        session.came = session.came.max(delivery.delivery_tag);
        self.pause = PAUSE.0;
        let (offset, redelivered) = (Offset::Number(delivery.delivery_tag), delivery.redelivered);
        let receipt = Receipt { partition: PARTITION, offset, session: self.number };
        let content = binding::read(delivery, &self.reading);
        self.ready.push_back(Delivery { content, receipt, redelivered });
    }

    /// Gives a session up that an error ended.
    fn answered<T>(&mut self, answer: Result<T, BusError>) -> Result<T, BusError> {
        if answer.is_err() {
            self.state = State::Idle;
        }
        answer
    }
}

#[async_trait]
impl Consumer for Member {
    async fn next(&mut self, limit: usize) -> Result<Arrival, BusError> {
        loop {
            if !self.ready.is_empty() {
                let count = limit.max(1).min(self.ready.len());
                return Ok(Arrival::Messages(self.ready.drain(..count).collect()));
            }
            self.receive().await?;
        }
    }

    async fn resume(&mut self, _: &[(Partition, Option<Offset>)]) -> Result<(), BusError> {
        Ok(())
    }

    async fn settle(&mut self, receipts: &[Receipt]) -> Result<(), BusError> {
        let connections = self.connections.clone();
        let current = receipts.iter().filter(|receipt| receipt.session == self.number);
        let Some(last) = current.max_by_key(|receipt| receipt.offset).copied() else { return Ok(()) };
        let answer = match self.of(&last) {
            Some((session, tag)) => session.settle(&connections, tag).await,
            None => Ok(()),
        };
        self.answered(answer)
    }

    async fn reject(&mut self, receipt: Receipt) -> Result<(), BusError> {
        let connections = self.connections.clone();
        let answer = match self.of(&receipt) {
            Some((session, tag)) => session.reject(&connections, tag).await,
            None => Ok(()),
        };
        self.answered(answer)
    }

    async fn lag(&mut self) -> Result<Vec<Lag>, BusError> {
        // What has come and was not looked at yet counts too.
        while let State::Consuming(session) = &mut self.state
            && let Some(Some(Ok(delivery))) = session.messages.next().now_or_never()
        {
            self.keep(delivery);
        }
        let connections = self.connections.clone();
        let messages = self.session().await?.lag(&connections).await;
        Ok(vec![Lag { partition: PARTITION, messages: self.answered(messages)? }])
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        let Self { connections, state, .. } = *self;
        match state {
            State::Consuming(session) => session.end(&connections).await,
            State::Beginning(beginning) => match beginning.await {
                Ok(Ok(session)) => session.end(&connections).await,
                _ => Ok(()),
            },
            State::Idle => Ok(()),
        }
    }
}
