//! A consumer at the broker: one connection, from when it is made until it breaks.

use lantern_core::{BusError, Subscription};
use lapin::{
    Channel, Connection, Consumer, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

use super::{Settings, binding::short, connections::Connections, publisher::declare_exchange};

/// A consumer at the broker.
pub(super) struct Session {
    connection: Connection,
    channel: Channel,
    pub(super) messages: Consumer,
    queue: String,
    /// The tag of the last message that came, and of the last that was acknowledged with all before it.
    pub(super) came: u64,
    settled: u64,
}

impl Session {
    /// Connects, makes what is missing, and begins to consume.
    pub(super) async fn begin(
        connections: &Connections,
        settings: Settings,
        subscription: &Subscription,
    ) -> Result<Self, BusError> {
        let Subscription { topic, group, pattern, .. } = subscription;
        let queue = format!("{topic}.{group}");
        if queue.len() > 250 {
            let reason = format!("the name `{queue}` is too long for a queue: at most 250 bytes");
            return Err(BusError::Unsupported { bus: connections.name().into(), reason });
        }
        let connection = connections.connect(&format!("consumer {queue}")).await?;
        declare_exchange(connections, &connection, topic, ExchangeKind::Topic).await?;
        declare_dead_letters(connections, &connection, topic, &queue).await?;
        let channel = connections.ask(connection.create_channel()).await?;
        let arguments = arguments(settings, topic, &queue);
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let key = short(pattern.as_deref().unwrap_or("#"));
        let begun = async {
            channel.queue_declare(short(&queue), durable, arguments).await?;
            let bind = QueueBindOptions::default();
            channel.queue_bind(short(&queue), short(topic), key, bind, FieldTable::default()).await?;
            channel.basic_qos(settings.prefetch, BasicQosOptions::default()).await?;
            let consume = BasicConsumeOptions::default();
            channel.basic_consume(short(&queue), short(""), consume, FieldTable::default()).await
        };
        let messages = connections.ask(begun).await?;
        Ok(Self { connection, channel, messages, queue, came: 0, settled: 0 })
    }

    /// Acknowledges a message and all before it.
    pub(super) async fn settle(&mut self, connections: &Connections, tag: u64) -> Result<(), BusError> {
        // What was acknowledged already would end the channel.
        if tag > self.settled && tag <= self.came {
            connections.ask(self.channel.basic_ack(tag, BasicAckOptions { multiple: true })).await?;
            self.settled = tag;
        }
        Ok(())
    }

    /// Sends a message to the dead letters.
    pub(super) async fn reject(&mut self, connections: &Connections, tag: u64) -> Result<(), BusError> {
        self.settle(connections, tag.saturating_sub(1)).await?;
        if tag > self.settled && tag <= self.came {
            connections.ask(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false })).await?;
            self.settled = tag;
        }
        Ok(())
    }

    /// How many messages the queue has that were not acknowledged.
    pub(super) async fn lag(&self, connections: &Connections) -> Result<u64, BusError> {
        let asked = async {
            let channel = self.connection.create_channel().await?;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let queue = channel.queue_declare(short(&self.queue), options, FieldTable::default()).await?;
            channel.close(200, short("counted")).await?;
            Ok(queue.message_count())
        };
        let ready = connections.ask(asked).await?;
        Ok(u64::from(ready) + (self.came - self.settled))
    }

    /// Ends it; what was not acknowledged goes to another consumer.
    pub(super) async fn end(self, connections: &Connections) -> Result<(), BusError> {
        connections.ask(self.connection.close(200, short("done"))).await
    }
}

fn arguments(settings: Settings, topic: &str, queue: &str) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    arguments.insert(short("x-queue-type"), text(if settings.quorum { "quorum" } else { "classic" }));
    if settings.quorum {
        // From version 4 on the broker sets a message aside by itself that came back 20 times, as it does when hosts die.
        arguments.insert(short("x-delivery-limit"), AMQPValue::LongInt(i32::MAX));
    }
    arguments.insert(short("x-single-active-consumer"), AMQPValue::Boolean(true));
    arguments.insert(short("x-dead-letter-exchange"), text(&dead_letter_exchange(topic)));
    arguments.insert(short("x-dead-letter-routing-key"), text(queue));
    arguments
}

fn dead_letter_exchange(topic: &str) -> String {
    format!("{topic}_dlq")
}

/// Makes the exchange and the queue of what is rejected.
async fn declare_dead_letters(
    connections: &Connections,
    connection: &Connection,
    topic: &str,
    queue: &str,
) -> Result<(), BusError> {
    let exchange = dead_letter_exchange(topic);
    declare_exchange(connections, connection, &exchange, ExchangeKind::Direct).await?;
    let letters = format!("{queue}.dlq");
    let made = async {
        let channel = connection.create_channel().await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(short(&letters), durable, FieldTable::default()).await?;
        let bind = QueueBindOptions::default();
        channel.queue_bind(short(&letters), short(&exchange), short(queue), bind, FieldTable::default()).await?;
        channel.close(200, short("declared")).await
    };
    connections.ask(made).await
}
