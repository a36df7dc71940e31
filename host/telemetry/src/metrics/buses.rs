//! What is counted of messages: under the names of the conventions, and under those of the systems before this one, which
//! speak of Kafka and are used for every bus.

use std::time::Duration;

use lantern_core::BusError;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram},
    registry::{Registry, Unit},
};

use super::histogram::{Histogram, Seconds};
use crate::messages::{Channel, Way};

/// Labels, of which some are there only at times.
type Labels = Vec<(&'static str, String)>;

/// What is counted of messages.
#[derive(Debug, Default, Clone)]
pub(crate) struct BusCounts {
    operations: Family<Labels, Seconds>,
    sent: Family<Labels, Counter>,
    consumed: Family<Labels, Counter>,
    processing: Family<Labels, Seconds>,
    old: OldNames,
}

/// How many messages were handed over at once.
#[derive(Debug, Clone)]
struct BatchSizes(Family<Labels, histogram::Histogram, fn() -> histogram::Histogram>);

impl Default for BatchSizes {
    fn default() -> Self {
        // 1, 4, 16 … 4,096.
        let sizes: fn() -> _ = || histogram::Histogram::new(histogram::exponential_buckets(1.0, 4.0, 7));
        Self(Family::new_with_constructor(sizes))
    }
}

/// The same under the names of the systems before this one.
#[derive(Debug, Default, Clone)]
struct OldNames {
    published: Family<Labels, Counter>,
    publish_errors: Family<Labels, Counter>,
    publish_durations: Family<Labels, Histogram>,
    consumed: Family<Labels, Counter>,
    consume_durations: Family<Labels, Histogram>,
    batch_sizes: BatchSizes,
    /// What takes messages in is a group's handler: it has the name of the group.
    handled: Family<Labels, Counter>,
    handler_errors: Family<Labels, Counter>,
    handler_durations: Family<Labels, Histogram>,
    dead_letters: Family<Labels, Counter>,
    connection_errors: Family<Labels, Counter>,
    reconnections: Family<Labels, Counter>,
    rebalances: Family<Labels, Counter>,
    connections: Family<Labels, Gauge>,
}

impl BusCounts {
    /// Registers all of it.
    pub(super) fn register(&self, registry: &mut Registry) {
        let milliseconds = || Unit::Other("milliseconds".into());
        let (name, help) = ("messaging_client_operation_duration", "How long publishing took");
        registry.register_with_unit(name, help, Unit::Seconds, self.operations.clone());
        registry.register("messaging_client_sent_messages", "Messages published", self.sent.clone());
        registry.register("messaging_client_consumed_messages", "Messages that came", self.consumed.clone());
        let (name, help) = ("messaging_process_duration", "How long messages took until they were settled");
        registry.register_with_unit(name, help, Unit::Seconds, self.processing.clone());
        let old = &self.old;
        registry.register("kafka_eventbus_messages_published", "Messages published", old.published.clone());
        registry.register("kafka_eventbus_publish_errors", "Failures of publishing", old.publish_errors.clone());
        let (name, help) = ("kafka_eventbus_publish_duration", "How long publishing took");
        registry.register_with_unit(name, help, milliseconds(), old.publish_durations.clone());
        registry.register("kafka_eventbus_messages_consumed", "Messages that came", old.consumed.clone());
        let (name, help) = ("kafka_eventbus_consume_duration", "How long messages took until they were settled");
        registry.register_with_unit(name, help, milliseconds(), old.consume_durations.clone());
        let sizes = old.batch_sizes.0.clone();
        registry.register("kafka_eventbus_batch_size", "How many messages went or came at once", sizes);
        registry.register("kafka_eventbus_handler_invocations", "Messages taken in", old.handled.clone());
        registry.register("kafka_eventbus_handler_errors", "Messages not taken in", old.handler_errors.clone());
        let (name, help) = ("kafka_eventbus_handler_duration", "How long taking a message in took");
        registry.register_with_unit(name, help, milliseconds(), old.handler_durations.clone());
        registry.register("kafka_eventbus_messages_dlq", "Messages set aside", old.dead_letters.clone());
        let (name, help) = ("kafka_eventbus_connection_errors", "Buses that were away or refused");
        registry.register(name, help, old.connection_errors.clone());
        let (name, help) = ("kafka_eventbus_reconnections", "Consumers that went on after an error");
        registry.register(name, help, old.reconnections.clone());
        let (name, help) = ("kafka_eventbus_rebalances", "Changes of a consumer's partitions");
        registry.register(name, help, old.rebalances.clone());
        registry.register("kafka_eventbus_connections_active", "Consumers in a group", old.connections.clone());
    }

    /// Counts messages that were handed to a bus at once.
    pub(crate) fn published(&self, channel: &Channel, messages: usize, error: Option<&BusError>, took: Duration) {
        let kind = error.map(BusError::kind);
        let labels = labels(channel, kind);
        self.operations.get_or_create(&labels).observe(took);
        self.sent.get_or_create(&labels).inc_by(messages as u64);
        let old = old_labels(channel);
        self.old.publish_durations.get_or_create(&old).observe(took);
        self.old.batch_sizes.0.get_or_create(&old).observe(messages as f64);
        let Some(error) = error else {
            self.old.published.get_or_create(&old).inc_by(messages as u64);
            return;
        };
        self.old.publish_errors.get_or_create(&with(old, "error_type", error.kind())).inc();
        self.connection_failed(channel.system, error);
    }

    /// Counts messages that came.
    pub(crate) fn consumed(&self, channel: &Channel, messages: usize) {
        self.consumed.get_or_create(&labels(channel, None)).inc_by(messages as u64);
        let old = old_labels(channel);
        self.old.consumed.get_or_create(&old).inc_by(messages as u64);
        self.old.batch_sizes.0.get_or_create(&old).observe(messages as f64);
    }

    /// Counts a message that was dealt with.
    pub(crate) fn processed(&self, channel: &Channel, error: Option<&'static str>, took: Duration) {
        self.processing.get_or_create(&labels(channel, error)).observe(took);
        let old = old_labels(channel);
        self.old.consume_durations.get_or_create(&old).observe(took);
        let handler = with(old, "handler_name", channel.group.as_deref().unwrap_or_default());
        self.old.handler_durations.get_or_create(&handler).observe(took);
        match error {
            None => drop(self.old.handled.get_or_create(&handler).inc()),
            Some(error) => drop(self.old.handler_errors.get_or_create(&with(handler, "error_type", error)).inc()),
        }
    }

    /// Counts a message that was set aside.
    pub(crate) fn set_aside(&self, channel: &Channel) {
        let labels = with(old_labels(channel), "dlq_reason", "deserialization_error");
        self.old.dead_letters.get_or_create(&labels).inc();
    }

    /// Counts an error that says that a bus is away or does not let us in.
    pub(crate) fn connection_failed(&self, system: &'static str, error: &BusError) {
        use BusError::{Credentials, Forbidden, Tls, Unreachable};
        if matches!(error, Unreachable { .. } | Credentials { .. } | Forbidden { .. } | Tls { .. }) {
            let labels = vec![("messaging_system", system.to_owned()), ("error_type", error.kind().to_owned())];
            self.old.connection_errors.get_or_create(&labels).inc();
        }
    }

    /// Counts a consumer that goes on after an error.
    pub(crate) fn reconnected(&self, channel: &Channel) {
        self.old.reconnections.get_or_create(&old_labels(channel)).inc();
    }

    /// Counts a change of a consumer's partitions.
    pub(crate) fn rebalanced(&self, channel: &Channel) {
        self.old.rebalances.get_or_create(&old_labels(channel)).inc();
    }

    /// Notes whether a consumer is connected.
    pub(crate) fn connected(&self, channel: &Channel, is_connected: bool) {
        self.old.connections.get_or_create(&old_labels(channel)).set(i64::from(is_connected));
    }
}

fn labels(channel: &Channel, error: Option<&'static str>) -> Labels {
    let mut labels = vec![
        ("messaging_system", channel.system.to_owned()),
        ("messaging_destination_name", channel.topic.to_string()),
        ("messaging_operation_name", channel.way.operation().to_owned()),
    ];
    labels.extend(channel.group.as_ref().map(|group| ("messaging_consumer_group_name", group.to_string())));
    labels.extend(error.map(|error| ("error_type", error.to_owned())));
    labels
}

fn old_labels(channel: &Channel) -> Labels {
    let mut labels =
        vec![("messaging_system", channel.system.to_owned()), ("messaging_destination", channel.topic.to_string())];
    if channel.way == Way::Consume {
        labels.extend(channel.group.as_ref().map(|group| ("messaging_kafka_consumer_group", group.to_string())));
    }
    labels
}

fn with(mut labels: Labels, name: &'static str, value: &str) -> Labels {
    labels.push((name, value.to_owned()));
    labels
}
