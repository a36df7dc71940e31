//! Numbers that others keep, asked for at the moment of a scrape, so that they are never stale.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Tells how things stand; must not block.
pub type Source<T> = Box<dyn Fn() -> Vec<T> + Send + Sync>;

/// Where numbers come from, once somebody has said so.
pub(crate) struct Watched<T>(Arc<Mutex<Option<Arc<Source<T>>>>>);

impl<T> Watched<T> {
    pub(crate) fn set(&self, source: Source<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(source));
    }

    pub(super) fn ask(&self) -> Vec<T> {
        // The lock is not held while somebody else's code runs.
        let source = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        source.map_or_else(Vec::new, |source| source())
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

/// A gauge without labels.
pub(super) fn gauge(encoder: &mut DescriptorEncoder<'_>, (name, help): (&str, &str), value: u64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// A gauge for each of these labels; nothing when there are none.
pub(super) fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    family(encoder, (name, help), MetricType::Gauge, values, ConstGauge::new)
}

/// A counter for each of these labels; nothing when there are none.
pub(super) fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    family(encoder, (name, help), MetricType::Counter, values, ConstCounter::new)
}

fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    kind: MetricType,
    values: impl Iterator<Item = (L, u64)>,
    metric: fn(u64) -> M,
) -> fmt::Result {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    values.try_for_each(|(labels, value)| metric(value).encode(family.encode_family(&labels)?))
}
