//! The gauges of processors, asked for at the moment of a scrape, so that they are never stale.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use lantern_core::{Position, Name, State};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, gauge::ConstGauge},
};

/// How a processor stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorGauge {
    /// Its name.
    pub subscription: Name,
    /// How many events it is behind the head of the log.
    pub lag: u64,
    /// What it is doing.
    pub state: State,
    /// Its checkpoint.
    pub position: Position,
    /// How many events are parked.
    pub parked: u64,
}

/// Tells how all processors stand.
pub type Processors = Box<dyn Fn() -> Vec<ProcessorGauge> + Send + Sync>;

/// Where the gauges come from, once somebody has said so.
#[derive(Clone, Default)]
pub(crate) struct Watched(Arc<Mutex<Option<Arc<Processors>>>>);

/// The label of a processor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Subscription {
    subscription: String,
}

/// The labels of a state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    subscription: String,
    state_name: &'static str,
}

impl Watched {
    pub(crate) fn set(&self, processors: Processors) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(processors));
    }

    fn ask(&self) -> Vec<ProcessorGauge> {
        // The lock is not held while somebody else's code runs.
        let processors = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        processors.map_or_else(Vec::new, |processors| processors())
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauges = self.ask();
        if gauges.is_empty() {
            return Ok(());
        }
        let mut family = |name, help, value: fn(&ProcessorGauge) -> u64| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauges.iter().try_for_each(|gauge| one(&mut metric, &label(gauge), value(gauge)))
        };
        family("subscription_lag", "Events behind the head of the log.", |gauge| gauge.lag)?;
        family("subscription_position", "The checkpoint.", |gauge| gauge.position.0)?;
        family("subscription_parked", "Events that are parked.", |gauge| gauge.parked)?;
        let help = "0 unknown, 1 starting, 2 catching up, 3 live, 4 paused, 5 stopped, 6 error.";
        let mut metric = encoder.encode_descriptor("subscription_state", help, None, MetricType::Gauge)?;
        gauges.iter().try_for_each(|gauge| one(&mut metric, &named(gauge), gauge.state as u64))
    }
}

fn one(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> Result<(), fmt::Error> {
    ConstGauge::new(value).encode(metric.encode_family(labels)?)
}

fn label(gauge: &ProcessorGauge) -> Subscription {
    Subscription { subscription: gauge.subscription.as_str().into() }
}

fn named(gauge: &ProcessorGauge) -> Named {
    Named { subscription: gauge.subscription.as_str().into(), state_name: gauge.state.as_str() }
}
