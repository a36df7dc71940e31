//! What aggregates count: commands, conflicts, what is loaded, snapshots that could not be used.

use std::fmt;

use lantern_core::Name;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
};

use super::watched::{Source, Watched, counters, gauges};

/// How an aggregate stands now. What is counted is counted since the host started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AggregateGauge {
    /// Commands by what became of them, for example `accepted`, `rejected`, `repeated`, `conflict`, `failed`.
    pub commands: Vec<(&'static str, u64)>,
    /// Decisions taken anew because the stream had changed meanwhile.
    pub conflicts_retried: u64,
    /// Streams that are loaded.
    pub warm: u64,
    /// The memory they hold, in bytes.
    pub warm_bytes: u64,
    /// Snapshots that could not be used, by reason, for example `missing` or `schema_mismatch`.
    pub snapshot_misses: Vec<(&'static str, u64)>,
}

/// Tells how all aggregates stand.
pub type Aggregates = Source<(Name, AggregateGauge)>;

/// The label of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Aggregate {
    aggregate: String,
}

/// The labels of commands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Commands {
    aggregate: String,
    outcome: &'static str,
}

/// The labels of snapshots that could not be used, under the names of the systems before this one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Misses {
    reason: &'static str,
    aggregate_type: String,
}

impl Collector for Watched<(Name, AggregateGauge)> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all: Vec<(String, AggregateGauge)> =
            self.ask().into_iter().map(|(name, gauge)| (name.as_str().into(), gauge)).collect();
        let each = |value: fn(&AggregateGauge) -> u64| {
            all.iter().map(move |(name, gauge)| (Aggregate { aggregate: name.clone() }, value(gauge)))
        };
        let commands = all.iter().flat_map(|(name, gauge)| {
            let labels = |outcome| Commands { aggregate: name.clone(), outcome };
            gauge.commands.iter().map(move |(outcome, count)| (labels(outcome), *count))
        });
        counters(&mut encoder, ("aggregate_commands", "Commands by what became of them."), commands)?;
        let help = ("aggregate_conflicts_retried", "Decisions taken anew because the stream had changed meanwhile.");
        counters(&mut encoder, help, each(|gauge| gauge.conflicts_retried))?;
        gauges(&mut encoder, ("aggregate_warm", "Streams that are loaded."), each(|gauge| gauge.warm))?;
        let help = ("aggregate_warm_bytes", "The memory of streams that are loaded.");
        gauges(&mut encoder, help, each(|gauge| gauge.warm_bytes))?;
        let misses = all.iter().flat_map(|(name, gauge)| {
            let labels = |reason| Misses { reason, aggregate_type: name.clone() };
            gauge.snapshot_misses.iter().map(move |(reason, count)| (labels(reason), *count))
        });
        counters(&mut encoder, ("eventsource_snapshot_miss", "Snapshots that could not be used."), misses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{Metrics, has};

    #[test]
    fn what_aggregates_count_is_shown() {
        let metrics = Metrics::new();
        assert!(!metrics.text().contains("aggregate_warm"), "nobody has said where it comes from");
        let gauge = AggregateGauge {
            commands: vec![("accepted", 7), ("rejected", 2)],
            conflicts_retried: 3,
            warm: 4,
            warm_bytes: 4096,
            snapshot_misses: vec![("schema_mismatch", 1)],
        };
        metrics.aggregates.set(Box::new(move || vec![("Order".parse().unwrap(), gauge.clone())]));
        for line in [
            "aggregate_commands_total{aggregate=\"Order\",outcome=\"accepted\"} 7",
            "aggregate_commands_total{aggregate=\"Order\",outcome=\"rejected\"} 2",
            "aggregate_conflicts_retried_total{aggregate=\"Order\"} 3",
            "aggregate_warm{aggregate=\"Order\"} 4",
            "aggregate_warm_bytes{aggregate=\"Order\"} 4096",
            "eventsource_snapshot_miss_total{reason=\"schema_mismatch\",aggregate_type=\"Order\"} 1",
        ] {
            has(&metrics, line);
        }
    }
}
