//! Exporters: who they are, by `OTEL_TRACES_EXPORTER`, and how they batch, by `OTEL_BSP_*`.
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `OTEL_TRACES_EXPORTER` | `otlp` where an OTLP endpoint is set, else none | `otlp`, `console`, `none`, or a comma list |
//! | `OTEL_BSP_MAX_QUEUE_SIZE` | 65536 | spans that may wait for an exporter; further ones are dropped and counted |
//! | `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` | 2048 | spans in one batch at most |
//! | `OTEL_BSP_SCHEDULE_DELAY` | 1000 | milliseconds a span waits for its batch to fill |
//! | `OTEL_BSP_EXPORT_TIMEOUT` | 30000 | milliseconds the delivery of a batch may take, all attempts together |
//!
//! Without exporters spans are kept in memory only, so that a newcomer without a collector sees traces and no errors.

mod console;
mod encode;
mod otlp;
mod queue;
mod resource;
mod worker;

use std::{sync::Arc, time::Duration};

pub(crate) use queue::Queue;
pub(crate) use worker::Exporter;

use crate::{environment::Reader, metrics::Metrics, telemetry::TelemetryError};
use queue::Bounds;

const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";

/// An exporter that is asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    bounds: Bounds,
    to: Destination,
}

/// Where spans go.
#[derive(Debug)]
enum Destination {
    Otlp(otlp::Settings),
    Console,
}

/// Which exporters are asked for, and how they are to work.
pub(crate) fn read(reader: &mut Reader<'_>, version: &str) -> Result<Vec<Plan>, TelemetryError> {
    let asked = reader.text(&[EXPORTER]).map(|(_, text)| text.to_ascii_lowercase());
    let default = if reader.text(&otlp::ENDPOINTS).is_some() { "otlp" } else { "none" };
    let asked = asked.unwrap_or_else(|| default.into());
    let mut names: Vec<&str> = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| *name != "none");
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let bounds = bounds(reader);
    let plan = |name: &str| {
        let to = match name {
            "otlp" => Destination::Otlp(otlp::Settings::read(reader, version)?),
            "console" => Destination::Console,
            _ => return Err(TelemetryError::Exporter { name: name.into(), hint: hint(name) }),
        };
        Ok(Plan { bounds, to })
    };
    names.into_iter().map(plan).collect()
}

/// What to write instead of an exporter that is not there.
fn hint(name: &str) -> &'static str {
    match name {
        "jaeger" => {
            "Jaeger takes OTLP itself; write `otlp` and set OTEL_EXPORTER_OTLP_ENDPOINT to its port 4317 or 4318"
        }
        "zipkin" => {
            "Zipkin is reached through an OpenTelemetry collector; write `otlp` and point \
                     OTEL_EXPORTER_OTLP_ENDPOINT to the collector"
        }
        _ => "write `otlp`, `console`, `none` or a comma list of these",
    }
}

fn bounds(reader: &mut Reader<'_>) -> Bounds {
    let queue = reader.number(&[QUEUE], 1, 65_536);
    let mut batch = reader.number(&[BATCH], 1, 2048.min(queue));
    if batch > queue {
        reader.warn(BATCH, &batch.to_string(), &format!("a batch is no larger than {QUEUE}, {queue}, which is used"));
        batch = queue;
    }
    Bounds {
        queue,
        batch,
        delay: reader.milliseconds(&["OTEL_BSP_SCHEDULE_DELAY"], Duration::from_secs(1)),
        timeout: reader.milliseconds(&["OTEL_BSP_EXPORT_TIMEOUT"], Duration::from_secs(30)),
    }
}

impl Plan {
    /// Starts the exporter on a thread of its own.
    pub(crate) fn start(self, metrics: Arc<Metrics>) -> Result<Exporter, TelemetryError> {
        match self.to {
            Destination::Otlp(settings) => Exporter::start("otlp", self.bounds, metrics, |_| otlp::Otlp::new(settings)),
            Destination::Console => Exporter::start("console", self.bounds, metrics, |_| Ok(console::Console)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn read_all<const N: usize>(pairs: [(&str, &str); N]) -> (Result<Vec<Plan>, TelemetryError>, Vec<String>) {
        let environment = Environment::from_iter(pairs);
        let mut reader = Reader::new(&environment);
        (read(&mut reader, "1"), reader.into_warnings())
    }

    fn kinds<const N: usize>(pairs: [(&str, &str); N]) -> Vec<&'static str> {
        let (plans, warnings) = read_all(pairs);
        assert!(warnings.is_empty(), "{warnings:?}");
        let kind = |plan: &Plan| if matches!(plan.to, Destination::Console) { "console" } else { "otlp" };
        plans.unwrap().iter().map(kind).collect()
    }

    #[test]
    fn exporters_are_chosen_by_name_or_by_endpoint() {
        assert!(kinds([]).is_empty());
        assert_eq!(kinds([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]), ["otlp"]);
        assert_eq!(kinds([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4318/v1/traces")]), ["otlp"]);
        assert_eq!(kinds([(EXPORTER, "otlp, console,otlp")]), ["console", "otlp"]);
        assert!(kinds([(EXPORTER, "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]).is_empty());
    }

    #[test]
    fn exporters_that_are_not_there_are_errors_that_say_what_to_do() {
        let error = |name| read_all([(EXPORTER, name)]).0.unwrap_err().to_string();
        assert!(error("jaeger").contains("`jaeger`") && error("jaeger").contains("OTLP"), "{}", error("jaeger"));
        assert!(error("zipkin").contains("collector"), "{}", error("zipkin"));
        assert!(error("console,stdout").contains("`stdout`"), "{}", error("console,stdout"));
    }

    #[test]
    fn bounds_are_read_and_kept_possible() {
        let pairs = [(EXPORTER, "console"), (QUEUE, "100"), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
        let (plans, warnings) = read_all(pairs);
        let delay = Duration::from_millis(20);
        let timeout = Duration::from_secs(30);
        assert_eq!(plans.unwrap()[0].bounds, Bounds { queue: 100, batch: 100, delay, timeout });
        assert!(warnings.is_empty(), "{warnings:?}");
        let (plans, warnings) = read_all([(EXPORTER, "console"), (QUEUE, "100"), (BATCH, "200")]);
        assert_eq!(plans.unwrap()[0].bounds.batch, 100);
        assert!(warnings[0].contains(BATCH), "{warnings:?}");
    }
}
