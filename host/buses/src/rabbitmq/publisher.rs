//! The publisher: one channel on which every message is confirmed.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use futures::future::try_join_all;
use lantern_core::{BusError, Destination, Message};
use lapin::{
    Channel, Confirmation, Connection, ExchangeKind, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions},
    types::{FieldTable, ShortString},
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    Settings,
    binding::{self, short},
    connections::Connections,
};

/// How many messages are on their way without a confirmation.
const UNCONFIRMED: usize = 500;

/// How long the broker may take to confirm them.
const CONFIRMED: Duration = Duration::from_secs(15);

/// The publisher of a broker.
pub(super) struct Publisher {
    connections: Arc<Connections>,
    settings: Settings,
    /// Made when it is needed, and made anew after an error.
    line: Mutex<Option<Arc<Line>>>,
}

/// A connection with its channel.
struct Line {
    /// The channel ends with it.
    connection: Connection,
    channel: Channel,
    /// The exchanges that were declared on it.
    exchanges: Mutex<BTreeSet<Arc<str>>>,
    /// Exchanges and keys of messages that queues took.
    routed: Mutex<BTreeSet<(Arc<str>, ShortString)>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Publisher {
    pub(super) fn new(connections: Arc<Connections>, settings: Settings) -> Self {
        Self { connections, settings, line: Mutex::default() }
    }

    async fn line(&self) -> Result<Arc<Line>, BusError> {
        let mut line = self.line.lock().await;
        if let Some(line) = line.as_ref().filter(|line| line.channel.status().connected()) {
            return Ok(line.clone());
        }
        let connection = self.connections.connect("publisher").await?;
        let channel = self.connections.ask(connection.create_channel()).await?;
        self.connections.ask(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let made = Line { connection, channel, exchanges: Mutex::default(), routed: Mutex::default() };
        let made = Arc::new(made);
        Ok(line.insert(made).clone())
    }

    /// Whether the broker is there.
    pub(super) async fn check(&self) -> Result<(), BusError> {
        let line = self.line().await?;
        // A channel is opened and closed: the cheapest question that the broker has to answer.
        let asked = async {
            let channel = line.connection.create_channel().await?;
            channel.close(200, short("checked")).await
        };
        let answer = self.connections.ask(asked).await;
        if answer.is_err() {
            self.hang_up(&line).await;
        }
        answer
    }

    /// Publishes messages and waits until all are confirmed.
    pub(super) async fn send(&self, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        let line = self.line().await?;
        let sent = self.send_on(&line, destination, messages).await;
        if sent.is_err() {
            // What is on its way without a confirmation is sent again, on another connection.
            self.hang_up(&line).await;
        }
        sent
    }

    async fn hang_up(&self, failed: &Arc<Line>) {
        let mut line = self.line.lock().await;
        if line.as_ref().is_some_and(|line| Arc::ptr_eq(line, failed)) {
            line.take();
        }
    }

    async fn send_on(&self, line: &Line, destination: &Destination, messages: &[Message]) -> Result<(), BusError> {
        self.declare(line, &destination.topic).await?;
        let exchange = short(&destination.topic);
        let options = BasicPublishOptions { mandatory: self.settings.mandatory, ..BasicPublishOptions::default() };
        let mut left = messages;
        while !left.is_empty() {
            let (messages, rest) = left.split_at(self.at_once(line, &destination.topic, left).await);
            let confirmed = async {
                let mut confirms = Vec::with_capacity(messages.len());
                for message in messages {
                    let (properties, body) = binding::write(message, destination.form, self.settings.prefix);
                    let key = binding::routing_key(message);
                    let published = line.channel.basic_publish(exchange.clone(), key, options, &body, properties);
                    confirms.push(published.await?);
                }
                try_join_all(confirms.into_iter().map(PublisherConfirm::into_future)).await
            };
            let answer = timeout(CONFIRMED, confirmed).await.map_err(|_| self.connections.silent())?;
            let confirmations = answer.map_err(|error| self.refused(&error, destination, messages))?;
            for (confirmation, message) in confirmations.into_iter().zip(messages) {
                self.confirmed(&confirmation, message)?;
            }
            if let [first, ..] = messages
                && self.settings.mandatory
            {
                line.routed.lock().await.insert((destination.topic.clone(), binding::routing_key(first)));
            }
            left = rest;
        }
        Ok(())
    }

    /// How many messages are to be on their way at once. Where a queue has to take each, the first one with a key goes
    /// alone: were it returned while later ones found a queue that was made just then, these would stand before it.
    async fn at_once(&self, line: &Line, topic: &Arc<str>, messages: &[Message]) -> usize {
        let most = messages.len().min(UNCONFIRMED);
        if !self.settings.mandatory {
            return most;
        }
        let routed = line.routed.lock().await;
        let known = |message: &&Message| routed.contains(&(topic.clone(), binding::routing_key(message)));
        messages.iter().take(most).take_while(known).count().max(1)
    }

    fn confirmed(&self, confirmation: &Confirmation, message: &Message) -> Result<(), BusError> {
        let id = message.event.id;
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => {
                let key = binding::routing_key(message);
                Err(self.connections.unavailable(format!("no queue takes event {id} with the key `{key}`: bind one")))
            }
            Confirmation::Nack(_) => Err(self.connections.unavailable(format!("a queue did not take event {id}"))),
            Confirmation::NotRequested => Err(self.connections.unavailable("it does not confirm messages")),
        }
    }

    /// The error of a channel that ended while messages were on their way.
    fn refused(&self, error: &lapin::Error, destination: &Destination, messages: &[Message]) -> BusError {
        let error = self.connections.error(error);
        let BusError::Unavailable { bus, reason } = &error else { return error };
        if !reason.contains("larger than") {
            return error;
        }
        let size = |message: &Message| binding::write(message, destination.form, self.settings.prefix).1.len();
        match messages.iter().map(|message| (size(message), message.event.id)).max() {
            Some((bytes, event)) => BusError::TooLarge { bus: bus.clone(), event, bytes },
            None => error,
        }
    }

    /// Makes the exchange unless it is there.
    async fn declare(&self, line: &Line, topic: &Arc<str>) -> Result<(), BusError> {
        let mut exchanges = line.exchanges.lock().await;
        if !exchanges.contains(topic) {
            declare_exchange(&self.connections, &line.connection, topic, ExchangeKind::Topic).await?;
            exchanges.insert(topic.clone());
        }
        Ok(())
    }
}

/// Makes an exchange unless it is there. Who may not make it may still use one that is.
pub(super) async fn declare_exchange(
    connections: &Connections,
    connection: &Connection,
    name: &str,
    kind: ExchangeKind,
) -> Result<(), BusError> {
    let declared = async |passive: bool| {
        // A refusal ends the channel on which it comes.
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions { durable: true, passive, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(short(name), kind.clone(), options, FieldTable::default()).await?;
        channel.close(200, short("declared")).await
    };
    match connections.ask(declared(false)).await {
        Err(BusError::Forbidden { bus, reason }) => {
            let there = connections.ask(declared(true)).await;
            there.map_err(|_| BusError::Forbidden { bus, reason })
        }
        made => made,
    }
}
