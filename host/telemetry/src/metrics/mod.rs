//! The metrics of the host, in the text format of Prometheus.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `subscription_events_processed_total` | `subscription`, `event_type`, `status` | calls of the module, `success` or `failure`; at most 100 types a subscription, further ones are `other` |
//! | `subscription_events_failed_total` | `subscription`, `error_type` | failed calls by kind |
//! | `subscription_processing_duration_milliseconds` | `subscription` | how long calls took |
//! | `subscription_lag`, `_position`, `_parked`, `_state` | `subscription` (`state_name`) | how it stands at the scrape |
//! | `subscription_schedules` | `subscription` | a handler's schedules that wait for their time |
//! | `subscription_events_emitted_total` | `subscription` | events a handler emitted, those of schedules included |
//! | `aggregate_commands_total` | `aggregate`, `outcome` | commands by what became of them |
//! | `aggregate_decision_duration_milliseconds` | `aggregate` | how long decisions took |
//! | `aggregate_conflicts_retried_total` | `aggregate` | decisions taken anew because the stream had changed meanwhile |
//! | `aggregate_warm`, `aggregate_warm_bytes` | `aggregate` | streams that are loaded, and the memory they hold |
//! | `eventsource_snapshot_miss_total` | `reason`, `aggregate_type` | snapshots that could not be used |
//! | `event_store_appends_total` | `status` | appends, `success` or the kind of error |
//! | `event_store_events_appended_total` | | events acknowledged |
//! | `event_store_append_duration_milliseconds` | | how long appends took |
//! | `read_model_commits_total` | `subscription`, `status` | commits of batches |
//! | `read_model_commit_duration_milliseconds` | `subscription` | how long they took |
//! | `read_model_parked_total` | `subscription`, `standing` | events set aside: `failed`, `behind`, `skipped` |
//! | `messaging_client_operation_duration_seconds` | `messaging_system`, `messaging_destination_name`, `messaging_operation_name` (`error_type`) | how long publishing took |
//! | `messaging_client_sent_messages_total`, `messaging_client_consumed_messages_total` | the same | messages published, and messages that came |
//! | `messaging_process_duration_seconds` | the same, and `messaging_consumer_group_name` | how long messages took until they were settled |
//! | `messaging_consumer_lag` | system, destination, group and `messaging_destination_partition_id` | messages that wait for the group |
//! | `kafka_eventbus_…` | `messaging_system`, `messaging_destination`, … | the same, and sizes of batches, handling, dead letters, errors, reconnections and rebalances, under the names of the systems before this one |
//! | `route_lag`, `_dead_letters`, `_state`, `route_messages_total` | `route`, `direction`, `bus` | how a route stands at the scrape |
//! | `telemetry_spans_recorded_total` | | spans that reached the telemetry thread |
//! | `telemetry_spans_dropped_total` | `stage` | spans lost before the telemetry thread (`intake`) or before an exporter (its name) |
//! | `telemetry_spans_exported_total`, `telemetry_export_failures_total` | `exporter` | spans delivered, batches given up |
//! | `guest_spans_dropped_total`, `guest_log_lines_dropped_total` | `subscription` or `aggregate` | what guests said beyond their limits |
//! | `log_lines_dropped_total` | | log lines lost because standard error did not keep up |

mod aggregates;
mod buses;
mod histogram;
mod hosts;
mod processors;
mod routes;
mod tally;
mod watched;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use lantern_core::{Name, log::AppendError, parked::Standing, read_model::CommitError};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, counter::Counter, family::Family},
    registry::{Registry, Unit},
};

pub use aggregates::{AggregateGauge, Aggregates};
use buses::BusCounts;
pub(crate) use histogram::Histogram;
pub use hosts::{Hosts, HostsGauge};
pub use processors::{EffectsGauge, ProcessorGauge, Processors};
pub use routes::{RouteGauge, Routes};
use tally::Calls;
pub(crate) use tally::Tally;
pub use watched::Source;
use watched::Watched;

use crate::record::{Labels, kind_name};

/// The media type of [`crate::Telemetry::metrics`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The most event types that have a series of their own, for each subscription.
const MAX_TYPES: usize = 100;

/// The name all further event types share.
const OTHER: &str = "other";

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($field:ident),* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: String),* }
    )*};
}

labels! {
    /// Calls of a module.
    Processed { subscription, event_type, status }
    /// Failed calls.
    Failed { subscription, error_type }
    /// Whatever is counted for each subscription alone.
    Subscription { subscription }
    /// Commits.
    Committed { subscription, status }
    /// Events set aside.
    SetAside { subscription, standing }
    /// Appends.
    Appended { status }
    /// Spans lost.
    Dropped { stage }
    /// What an exporter did.
    Exported { exporter }
}

/// Whose guest it is: `subscription` or `aggregate`, and its name.
type Guest = [(&'static str, String); 1];

/// All metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Where the numbers of hosts come from.
    pub(crate) hosts: Watched<HostsGauge>,
    /// Where the gauges of processors come from.
    pub(crate) processors: Watched<ProcessorGauge>,
    /// Where the counters of aggregates come from.
    pub(crate) aggregates: Watched<(Name, AggregateGauge)>,
    /// Where the gauges of routes come from.
    pub(crate) routes: Watched<RouteGauge>,
    /// What is counted of messages.
    pub(crate) buses: BusCounts,
    /// The event types that have a series, by subscription.
    types: Mutex<HashMap<String, HashSet<String>>>,
    processed: Family<Processed, Counter>,
    failed: Family<Failed, Counter>,
    processing: Family<Subscription, Histogram>,
    appends: Family<Appended, Counter>,
    events_appended: Counter,
    append_durations: Histogram,
    commits: Family<Committed, Counter>,
    commit_durations: Family<Subscription, Histogram>,
    parked: Family<SetAside, Counter>,
    recorded: Counter,
    dropped: Family<Dropped, Counter>,
    exported: Family<Exported, Counter>,
    export_failures: Family<Exported, Counter>,
    guest_spans: Family<Guest, Counter>,
    guest_logs: Family<Guest, Counter>,
    decisions: Family<Guest, Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            hosts: Watched::default(),
            processors: Watched::default(),
            aggregates: Watched::default(),
            routes: Watched::default(),
            buses: BusCounts::default(),
            types: Mutex::default(),
            processed: Family::default(),
            failed: Family::default(),
            processing: Family::default(),
            appends: Family::default(),
            events_appended: Counter::default(),
            append_durations: Histogram::default(),
            commits: Family::default(),
            commit_durations: Family::default(),
            parked: Family::default(),
            recorded: Counter::default(),
            dropped: Family::default(),
            exported: Family::default(),
            export_failures: Family::default(),
            guest_spans: Family::default(),
            guest_logs: Family::default(),
            decisions: Family::default(),
        };
        metrics.registry = metrics.registered();
        metrics
    }

    fn registered(&self) -> Registry {
        let mut registry = Registry::default();
        let milliseconds = || Unit::Other("milliseconds".into());
        registry.register("subscription_events_processed", "Calls of modules", self.processed.clone());
        registry.register("subscription_events_failed", "Failed calls of modules", self.failed.clone());
        let (name, help) = ("subscription_processing_duration", "How long calls of modules took");
        registry.register_with_unit(name, help, milliseconds(), self.processing.clone());
        registry.register("event_store_appends", "Appends to the log", self.appends.clone());
        registry.register("event_store_events_appended", "Events acknowledged", self.events_appended.clone());
        let (name, help) = ("event_store_append_duration", "How long appends took");
        registry.register_with_unit(name, help, milliseconds(), self.append_durations.clone());
        registry.register("read_model_commits", "Commits of batches", self.commits.clone());
        let (name, help) = ("read_model_commit_duration", "How long commits took");
        registry.register_with_unit(name, help, milliseconds(), self.commit_durations.clone());
        registry.register("read_model_parked", "Events set aside", self.parked.clone());
        registry.register("telemetry_spans_recorded", "Spans recorded", self.recorded.clone());
        registry.register("telemetry_spans_dropped", "Spans lost on their way", self.dropped.clone());
        registry.register("telemetry_spans_exported", "Spans delivered", self.exported.clone());
        registry.register("telemetry_export_failures", "Batches of spans given up", self.export_failures.clone());
        registry.register("guest_spans_dropped", "Spans of guests over a limit", self.guest_spans.clone());
        registry.register("guest_log_lines_dropped", "Log lines of guests over a limit", self.guest_logs.clone());
        let (name, help) = ("aggregate_decision_duration", "How long decisions took");
        registry.register_with_unit(name, help, milliseconds(), self.decisions.clone());
        registry.register_collector(Box::new(LogLines));
        registry.register_collector(Box::new(self.hosts.clone()));
        registry.register_collector(Box::new(self.processors.clone()));
        registry.register_collector(Box::new(self.aggregates.clone()));
        registry.register_collector(Box::new(self.routes.clone()));
        self.buses.register(&mut registry);
        registry
    }

    /// All metrics as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }

    /// Adds what an instance counted, and leaves its tally empty.
    pub(crate) fn add(&self, labels: &Labels, tally: &mut Tally) {
        if !std::mem::take(&mut tally.counted) {
            return;
        }
        let name = labels.name.as_str();
        let guest = [(if labels.kind.is_processor() { "subscription" } else { "aggregate" }, name.to_owned())];
        self.guest_spans.get_or_create(&guest).inc_by(std::mem::take(&mut tally.dropped_spans));
        self.guest_logs.get_or_create(&guest).inc_by(std::mem::take(&mut tally.dropped_logs));
        let durations = std::mem::take(&mut tally.durations);
        if !labels.kind.is_processor() {
            self.decisions.get_or_create(&guest).merge(&durations);
            return;
        }
        self.processing.get_or_create(&Subscription { subscription: name.into() }).merge(&durations);
        for (event_type, calls) in tally.calls.drain() {
            self.add_calls(name, self.type_name(name, event_type.as_str()), calls);
        }
        self.add_calls(name, OTHER, std::mem::take(&mut tally.others));
        for (kind, count) in tally.failures.drain(..) {
            let labels = Failed { subscription: name.into(), error_type: kind_name(kind).into() };
            self.failed.get_or_create(&labels).inc_by(count);
        }
    }

    fn add_calls(&self, subscription: &str, event_type: &str, calls: Calls) {
        for (status, count) in [("success", calls.succeeded), ("failure", calls.failed)] {
            if count > 0 {
                let (subscription, event_type) = (subscription.into(), event_type.into());
                let labels = Processed { subscription, event_type, status: status.into() };
                self.processed.get_or_create(&labels).inc_by(count);
            }
        }
    }

    /// The name an event type is counted under.
    fn type_name<'a>(&self, subscription: &str, event_type: &'a str) -> &'a str {
        let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        let known = types.entry(subscription.into()).or_default();
        if known.contains(event_type) {
            return event_type;
        }
        if known.len() == MAX_TYPES {
            return OTHER;
        }
        known.insert(event_type.into());
        event_type
    }

    /// Counts an append of so many events.
    pub(crate) fn append(&self, events: usize, error: Option<&AppendError>, duration: std::time::Duration) {
        let status = error.map_or("success", append_error_name);
        self.appends.get_or_create(&Appended { status: status.into() }).inc();
        self.append_durations.observe(duration);
        if error.is_none() {
            self.events_appended.inc_by(events as u64);
        }
    }

    /// Counts a commit.
    pub(crate) fn commit(&self, subscription: &str, error: Option<&CommitError>, duration: std::time::Duration) {
        let status = error.map_or("success", commit_error_name).into();
        self.commits.get_or_create(&Committed { subscription: subscription.into(), status }).inc();
        self.commit_durations.get_or_create(&Subscription { subscription: subscription.into() }).observe(duration);
    }

    /// Counts an event that was set aside.
    pub(crate) fn parked(&self, subscription: &str, standing: Standing) {
        let labels = SetAside { subscription: subscription.into(), standing: standing_name(standing).into() };
        self.parked.get_or_create(&labels).inc();
    }

    /// Counts spans that were recorded.
    pub(crate) fn recorded(&self, spans: usize) {
        self.recorded.inc_by(spans as u64);
    }

    /// Counts spans that were lost at a stage: `intake` or the name of an exporter.
    pub(crate) fn dropped(&self, stage: &str, spans: usize) {
        self.dropped.get_or_create(&Dropped { stage: stage.into() }).inc_by(spans as u64);
    }

    /// Counts spans that were delivered.
    pub(crate) fn exported(&self, exporter: &str, spans: usize) {
        self.exported.get_or_create(&Exported { exporter: exporter.into() }).inc_by(spans as u64);
    }

    /// Counts a batch that was given up.
    pub(crate) fn export_failed(&self, exporter: &str) {
        self.export_failures.get_or_create(&Exported { exporter: exporter.into() }).inc();
    }
}

/// The log lines that were lost, which are counted before there are any metrics.
#[derive(Debug)]
struct LogLines;

impl Collector for LogLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (name, help) = ("log_lines_dropped", "Log lines lost because standard error did not keep up.");
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(crate::logging::dropped_lines()).encode(metric)
    }
}

/// The name of an error in metrics and `error.type`.
pub(crate) fn append_error_name(error: &AppendError) -> &'static str {
    match error {
        AppendError::WrongExpectedVersion { .. } => "wrong_expected_version",
        AppendError::DuplicateEvent { .. } => "duplicate_event",
        AppendError::Empty => "empty",
        AppendError::TooLarge(_) => "too_large",
        AppendError::Unavailable(_) => "unavailable",
    }
}

/// The name of an error in metrics and `error.type`.
pub(crate) fn commit_error_name(error: &CommitError) -> &'static str {
    match error {
        CommitError::Fenced { .. } => "fenced",
        CommitError::Unavailable(_) => "unavailable",
    }
}

/// The name of a standing in metrics and span events.
pub(crate) fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Failed => "failed",
        Standing::Behind => "behind",
        Standing::Skipped => "skipped",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use lantern_core::{Digest, EventType, Kind, module::FailureKind};

    pub(in crate::metrics) use super::Metrics;
    use super::*;

    #[track_caller]
    pub(in crate::metrics) fn has(metrics: &Metrics, line: &str) {
        let text = metrics.text();
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }

    fn labels() -> Labels {
        Labels::new(Kind::Projection, "orders".parse().unwrap(), Digest([7; 32]))
    }

    #[test]
    fn a_subscription_has_at_most_a_hundred_types() {
        let metrics = Metrics::new();
        let mut tally = Tally::default();
        for n in 0..2_000 {
            tally.call(&EventType::new(format!("T{n}")).unwrap(), None, Duration::ZERO);
        }
        metrics.add(&labels(), &mut tally);
        let text = metrics.text();
        let series = text.lines().filter(|line| line.starts_with("subscription_events_processed_total{")).count();
        assert_eq!(series, MAX_TYPES + 1);
        has(
            &metrics,
            "subscription_events_processed_total{subscription=\"orders\",event_type=\"other\",status=\"success\"} 1900",
        );
        has(&metrics, "subscription_processing_duration_milliseconds_count{subscription=\"orders\"} 2000");
        metrics.add(&labels(), &mut tally);
        has(&metrics, "subscription_processing_duration_milliseconds_count{subscription=\"orders\"} 2000");
    }

    #[test]
    fn failures_are_counted_by_kind_and_names_are_escaped() {
        let metrics = Metrics::new();
        let mut tally = Tally::default();
        let event_type = EventType::new("say \"hi\"").unwrap();
        tally.call(&event_type, Some(FailureKind::Deadline), Duration::from_millis(3));
        tally.call(&event_type, Some(FailureKind::Deadline), Duration::from_millis(3));
        metrics.add(&labels(), &mut tally);
        has(&metrics, "subscription_events_failed_total{subscription=\"orders\",error_type=\"deadline\"} 2");
        has(
            &metrics,
            "subscription_events_processed_total{subscription=\"orders\",event_type=\"say \\\"hi\\\"\",status=\"failure\"} 2",
        );
        has(&metrics, "subscription_processing_duration_milliseconds_sum{subscription=\"orders\"} 6.0");
    }
}
