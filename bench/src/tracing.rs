//! Budget `tracing`: the same rebuild with every call traced, and without observers.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use lantern_core::Digest;
use lantern_telemetry::{Environment, Telemetry, TelemetryConfig};

use crate::{
    Bench,
    figures::{mebibytes, median, per_second, rate},
    rebuild::GUEST,
    report::{Report, ratio},
    sink::Sink,
    stages::Stages,
    world::Make,
};

/// How long telemetry may take to hand over what it holds when a benchmark ends.
const FLUSH: Duration = Duration::from_secs(30);

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let world = &bench.world;
    let (digest, filled) = (world.push(GUEST).await?, world.loans().await?);
    let sink = Sink::start()?;
    let (recent, exported) = (start(&[])?, start(&exporting(&sink))?);
    let arms = [None, Some(&recent), Some(&exported)];
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=bench.arguments.rounds as usize {
        // Each arm is first, second and third equally often.
        for turn in 0..arms.len() {
            let arm = (turn + round) % arms.len();
            let make = Make { log: filled.log.clone(), library: world.library(), telemetry: arms[arm], watch: None };
            let rebuilt = world.rebuild(digest, filled, make).await?;
            // The first round warms up.
            if round > 0 {
                rates[arm].push(rate(filled.head.0, rebuilt.took));
            }
        }
    }
    let against = |arm: usize| median(rates[arm].iter().zip(&rates[0]).map(|(on, off)| on / off).collect());
    let off = per_second(median(rates[0].clone()));
    report.at_least(&format!("tracing: on, kept in memory, against off ({off})"), against(1), 0.95, ratio);
    report.at_least(&format!("tracing: on, exported by OTLP, against off ({off})"), against(2), 0.95, ratio);
    if bench.arguments.profile {
        profile(bench, report, digest, &recent, "tracing, kept in memory").await?;
        profile(bench, report, digest, &exported, "tracing, exported").await?;
    }
    let counted = counted(&exported);
    recent.shutdown(FLUSH);
    ensure!(exported.shutdown(FLUSH), "the exporter did not deliver what it held");
    ensure!(sink.taken() > 0, "nothing was exported");
    report.note(format!("tracing: {} of OTLP taken; {counted}", mebibytes(sink.taken())));
    Ok(())
}

/// Telemetry that samples everything.
pub(crate) fn start(variables: &[(&str, String)]) -> Result<Telemetry> {
    let always = [("OTEL_TRACES_SAMPLER", "always_on".to_owned())];
    let variables = variables.iter().chain(&always).map(|(name, value)| (*name, value.as_str()));
    let environment = Environment::from_iter(variables);
    Ok(Telemetry::start(TelemetryConfig { environment, ..TelemetryConfig::default() })?)
}

fn exporting(sink: &Sink) -> [(&'static str, String); 2] {
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".into());
    [("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint()), protocol]
}

/// How many spans were recorded, exported and dropped, from the metrics.
fn counted(telemetry: &Telemetry) -> String {
    let metrics = telemetry.metrics();
    let spans = metrics.lines().filter(|line| line.starts_with("telemetry_spans_"));
    spans.collect::<Vec<_>>().join(", ")
}

async fn profile(bench: &Bench, report: &mut Report, digest: Digest, telemetry: &Telemetry, name: &str) -> Result<()> {
    let filled = bench.world.loans().await?;
    let stages = Arc::new(Stages::default());
    let make = Make {
        log: filled.log.clone(),
        library: bench.world.library(),
        telemetry: Some(telemetry),
        watch: Some(stages.clone()),
    };
    let rebuilt = bench.world.rebuild(digest, filled, make).await?;
    report.note(stages.tell(name, filled.head.0, &rebuilt));
    Ok(())
}
