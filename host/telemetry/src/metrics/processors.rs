//! The gauges of processors, and what handlers count.

use std::fmt;

use lantern_core::{Name, Position, State};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
};

use super::watched::{Source, Watched, counters, gauges};

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
    /// What only a handler has.
    pub effects: Option<EffectsGauge>,
}

/// The effects of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectsGauge {
    /// How many of its schedules wait for their time.
    pub schedules: u64,
    /// How many events it has emitted since the host started, those of schedules included.
    pub emitted: u64,
}

/// Tells how all processors stand.
pub type Processors = Source<ProcessorGauge>;

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

impl Collector for Watched<ProcessorGauge> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all = self.ask();
        let each = |value: fn(&ProcessorGauge) -> u64| all.iter().map(move |gauge| (label(gauge), value(gauge)));
        let help = ("subscription_lag", "Events behind the head of the log.");
        gauges(&mut encoder, help, each(|gauge| gauge.lag))?;
        gauges(&mut encoder, ("subscription_position", "The checkpoint."), each(|gauge| gauge.position.0))?;
        gauges(&mut encoder, ("subscription_parked", "Events that are parked."), each(|gauge| gauge.parked))?;
        let help =
            ("subscription_state", "0 unknown, 1 starting, 2 catching up, 3 live, 4 paused, 5 stopped, 6 error.");
        gauges(&mut encoder, help, all.iter().map(|gauge| (named(gauge), gauge.state as u64)))?;
        let handlers = || all.iter().filter_map(|gauge| Some((label(gauge), gauge.effects?)));
        let help = ("subscription_schedules", "Schedules that wait for their time.");
        gauges(&mut encoder, help, handlers().map(|(label, effects)| (label, effects.schedules)))?;
        let help = ("subscription_events_emitted", "Events emitted, those of schedules included.");
        counters(&mut encoder, help, handlers().map(|(label, effects)| (label, effects.emitted)))
    }
}

fn label(gauge: &ProcessorGauge) -> Subscription {
    Subscription { subscription: gauge.subscription.as_str().into() }
}

fn named(gauge: &ProcessorGauge) -> Named {
    Named { subscription: gauge.subscription.as_str().into(), state_name: gauge.state.as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{Metrics, has};

    fn gauge(name: &str, effects: Option<EffectsGauge>) -> ProcessorGauge {
        let (subscription, state) = (name.parse().unwrap(), State::CatchingUp);
        ProcessorGauge { subscription, lag: 5, state, position: Position(7), parked: 2, effects }
    }

    #[test]
    fn gauges_are_asked_for_at_the_scrape() {
        let metrics = Metrics::new();
        assert!(!metrics.text().contains("subscription_lag"));
        metrics.processors.set(Box::new(|| vec![gauge("orders", None)]));
        has(&metrics, "subscription_lag{subscription=\"orders\"} 5");
        has(&metrics, "subscription_position{subscription=\"orders\"} 7");
        has(&metrics, "subscription_parked{subscription=\"orders\"} 2");
        has(&metrics, "subscription_state{subscription=\"orders\",state_name=\"catching_up\"} 2");
        assert!(!metrics.text().contains("subscription_schedules"), "a projection has none");
    }

    #[test]
    fn handlers_have_schedules_and_emit() {
        let metrics = Metrics::new();
        let effects = Some(EffectsGauge { schedules: 3, emitted: 40 });
        metrics.processors.set(Box::new(move || vec![gauge("orders", None), gauge("shipping", effects)]));
        has(&metrics, "subscription_schedules{subscription=\"shipping\"} 3");
        has(&metrics, "subscription_events_emitted_total{subscription=\"shipping\"} 40");
        assert!(!metrics.text().contains("subscription_schedules{subscription=\"orders\"}"));
    }
}
