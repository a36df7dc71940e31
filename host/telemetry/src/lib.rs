//! Telemetry of Lantern: the ports of core watched from outside, and what was seen told as spans, metrics and logs.
//!
//! It never changes an outcome and never blocks. It is bounded everywhere, and counts what it drops.

#![warn(missing_docs)]

pub mod environment;
mod export;
mod ids;
pub mod logging;
mod messages;
pub mod metrics;
pub mod names;
pub mod observe;
mod pipeline;
pub mod propagation;
mod recent;
mod record;
mod sampler;
mod span;
mod telemetry;
mod view;

#[cfg(test)]
mod fixture;

pub use environment::Environment;
pub use metrics::{AggregateGauge, EffectsGauge, HostsGauge, ProcessorGauge, RouteGauge};
pub use span::{ActiveSpan, SpanBuilder};
pub use telemetry::{Telemetry, TelemetryConfig, TelemetryError};
pub use view::{EventView, LinkView, SpanView};
