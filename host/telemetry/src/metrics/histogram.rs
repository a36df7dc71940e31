//! A histogram of durations that whole tallies can be added to, which the library's own cannot.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// The upper bounds of the buckets, in nanoseconds: 5 µs to 10 s.
const BOUNDS: [u64; 20] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Durations counted by size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Durations {
    /// By bucket; the last holds what is longer than every bound.
    counts: [u64; BOUNDS.len() + 1],
    /// In nanoseconds.
    sum: u64,
}

impl Durations {
    /// Counts one.
    pub(crate) fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Durations as a metric, shown in milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram(Arc<Mutex<Durations>>);

impl Histogram {
    /// Counts one.
    pub(crate) fn observe(&self, duration: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(duration);
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn merge(&self, durations: &Durations) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).merge(durations);
    }

    /// Shows the durations in a unit of so many nanoseconds.
    fn encode_in(&self, unit: f64, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let durations = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bounds = BOUNDS.iter().map(|nanos| *nanos as f64 / unit).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(durations.counts).collect();
        let count = durations.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(durations.sum as f64 / unit, count, &buckets, None)
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_in(1e6, encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Durations as a metric, shown in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seconds(Histogram);

impl Seconds {
    /// Counts one.
    pub(crate) fn observe(&self, duration: Duration) {
        self.0.observe(duration);
    }
}

impl TypedMetric for Seconds {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Seconds {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode_in(1e9, encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn a_duration_lands_in_the_bucket_of_its_bound() {
        let mut durations = Durations::default();
        for nanos in [0, 5_000, 5_001, 10_000_000_000, 10_000_000_001] {
            durations.add(Duration::from_nanos(nanos));
        }
        let histogram = Histogram::default();
        histogram.merge(&durations);
        histogram.merge(&durations);
        let mut registry = Registry::default();
        registry.register("d", "D", histogram);
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        for line in ["d_count 10", "le=\"0.005\"} 4", "le=\"0.01\"} 6", "le=\"10000.0\"} 8", "le=\"+Inf\"} 10"] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
