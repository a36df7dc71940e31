//! The gauges of routes: how far each is behind, in its whole and by partition, and what it has set aside.

use std::fmt;

use lantern_core::{Name, State};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
};

use super::watched::{Source, Watched, counters, gauges};

/// How a route stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteGauge {
    /// Its name.
    pub route: Name,
    /// `publish` or `consume`.
    pub direction: &'static str,
    /// The bus, by its name in the configuration.
    pub bus: Name,
    /// What the bus is: `kafka`, `rabbitmq`, `redis` or `memory`.
    pub system: &'static str,
    /// The topic.
    pub topic: String,
    /// The consumer group of a route that consumes.
    pub group: Option<String>,
    /// What it is doing.
    pub state: State,
    /// How many events or messages it is behind.
    pub lag: u64,
    /// How many messages wait in each partition that is this host's.
    pub partitions: Vec<(u32, u64)>,
    /// How many messages it has passed on since the host started.
    pub messages: u64,
    /// How many events or messages are set aside.
    pub dead_letters: u64,
}

/// Tells how all routes stand.
pub type Routes = Source<RouteGauge>;

/// The labels of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    direction: &'static str,
    bus: String,
}

/// The labels of a route's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    route: String,
    state_name: &'static str,
}

/// The labels of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Partition {
    messaging_system: &'static str,
    messaging_destination_name: String,
    messaging_consumer_group_name: String,
    messaging_destination_partition_id: u32,
}

/// The labels of a partition, under the names of the systems before this one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OldPartition {
    messaging_system: &'static str,
    messaging_destination: String,
    messaging_kafka_consumer_group: String,
    messaging_kafka_partition: u32,
}

impl Collector for Watched<RouteGauge> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all = self.ask();
        let each = |value: fn(&RouteGauge) -> u64| all.iter().map(move |gauge| (label(gauge), value(gauge)));
        let help = ("route_lag", "Events or messages that are still to be passed on.");
        gauges(&mut encoder, help, each(|gauge| gauge.lag))?;
        let help = ("route_dead_letters", "Events or messages that are set aside.");
        gauges(&mut encoder, help, each(|gauge| gauge.dead_letters))?;
        counters(&mut encoder, ("route_messages", "Messages passed on."), each(|gauge| gauge.messages))?;
        let help = ("route_state", "0 unknown, 1 starting, 2 catching up, 3 live, 4 paused, 5 stopped, 6 error.");
        gauges(&mut encoder, help, all.iter().map(|gauge| (named(gauge), gauge.state as u64)))?;
        let help = ("messaging_consumer_lag", "Messages that wait for the group.");
        gauges(&mut encoder, help, partitions(&all).map(|(gauge, partition, lag)| (today(gauge, partition), lag)))?;
        let help = ("kafka_eventbus_consumer_lag", "Messages that wait for the group.");
        gauges(&mut encoder, help, partitions(&all).map(|(gauge, partition, lag)| (before(gauge, partition), lag)))
    }
}

fn partitions(all: &[RouteGauge]) -> impl Iterator<Item = (&RouteGauge, u32, u64)> {
    all.iter().flat_map(|gauge| gauge.partitions.iter().map(move |(partition, lag)| (gauge, *partition, *lag)))
}

fn label(gauge: &RouteGauge) -> Route {
    Route { route: gauge.route.to_string(), direction: gauge.direction, bus: gauge.bus.to_string() }
}

fn named(gauge: &RouteGauge) -> Named {
    Named { route: gauge.route.to_string(), state_name: gauge.state.as_str() }
}

fn today(gauge: &RouteGauge, partition: u32) -> Partition {
    Partition {
        messaging_system: gauge.system,
        messaging_destination_name: gauge.topic.clone(),
        messaging_consumer_group_name: gauge.group.clone().unwrap_or_default(),
        messaging_destination_partition_id: partition,
    }
}

fn before(gauge: &RouteGauge, partition: u32) -> OldPartition {
    OldPartition {
        messaging_system: gauge.system,
        messaging_destination: gauge.topic.clone(),
        messaging_kafka_consumer_group: gauge.group.clone().unwrap_or_default(),
        messaging_kafka_partition: partition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{Metrics, has};

    #[test]
    fn routes_tell_their_lag_in_whole_and_by_partition() {
        let metrics = Metrics::new();
        let gauge = RouteGauge {
            route: "orders".parse().unwrap(),
            direction: "consume",
            bus: "main".parse().unwrap(),
            system: "kafka",
            topic: "events".into(),
            group: Some("shop".into()),
            state: State::Live,
            lag: 7,
            partitions: vec![(0, 3), (1, 4)],
            messages: 12,
            dead_letters: 1,
        };
        metrics.routes.set(Box::new(move || vec![gauge.clone()]));
        for line in [
            "route_lag{route=\"orders\",direction=\"consume\",bus=\"main\"} 7",
            "route_dead_letters{route=\"orders\",direction=\"consume\",bus=\"main\"} 1",
            "route_messages_total{route=\"orders\",direction=\"consume\",bus=\"main\"} 12",
            "route_state{route=\"orders\",state_name=\"live\"} 3",
            "messaging_consumer_lag{messaging_system=\"kafka\",messaging_destination_name=\"events\",\
             messaging_consumer_group_name=\"shop\",messaging_destination_partition_id=\"1\"} 4",
            "kafka_eventbus_consumer_lag{messaging_system=\"kafka\",messaging_destination=\"events\",\
             messaging_kafka_consumer_group=\"shop\",messaging_kafka_partition=\"0\"} 3",
        ] {
            has(&metrics, line);
        }
    }
}
