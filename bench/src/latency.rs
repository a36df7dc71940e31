//! Budget `latency`: from the moment an event was to be sent to the commit that covers it, live, at a steady rate.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use lantern_core::{Batch, Kind, Name, Position};
use lantern_processors::Start;

use crate::{
    Bench,
    events::Generator,
    figures::{millis, percentile},
    load::{Sent, steady},
    rebuild::GUEST,
    report::Report,
    tracing,
    watch::Watch,
    world::{Make, whole},
};

/// Events a second.
const RATE: u32 = 5_000;

/// The first second is not counted: caches fill, and the guest starts.
const WARM: usize = RATE as usize;

/// When each commit was done, in order.
#[derive(Default)]
pub(crate) struct Commits {
    done: Mutex<Vec<(Position, Instant)>>,
}

impl Watch for Commits {
    fn committed(&self, batch: &Batch, _began: Instant) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push((batch.until, Instant::now()));
    }
}

impl Commits {
    /// When the commit was done that covers a position.
    fn covered(&self, position: Position) -> Option<Instant> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let first = done.partition_point(|(until, _)| *until < position);
        done.get(first).map(|(_, at)| *at)
    }
}

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let world = &bench.world;
    let digest = world.push(GUEST).await?;
    let (commits, telemetry) = (Arc::new(Commits::default()), tracing::start(&[])?);
    let make = Make {
        log: world.empty_log("latency")?,
        library: world.library(),
        telemetry: Some(&telemetry),
        watch: Some(commits.clone()),
    };
    let host = world.host(make).await?;
    let name = Name::new("live")?;
    host.deploy(&name, digest, Start::Beginning).await?;
    let sent = steady(host.log.clone(), &mut Generator::new()?, RATE, bench.arguments.seconds).await?;
    let head = Position(sent.len() as u64);
    whole(&host.supervisor.wait(Kind::Projection, &name, head).await?, head)?;
    host.end().await?;
    let (appended, projected) = latencies(&sent, &commits)?;
    let at = |share| percentile(&projected, share);
    let shown = |figure: f64| format!("{figure:.2} ms");
    let what = |name: &str| format!("latency: append to projected at {RATE}/s, {name}");
    report.at_most(&what("p50"), at(0.5).as_secs_f64() * 1e3, 5.0, shown);
    report.at_most(&what("p99"), at(0.99).as_secs_f64() * 1e3, 50.0, shown);
    report.note(format!(
        "latency: acknowledged p50 {} p99 {}; projected p90 {} p99.9 {} at most {}",
        millis(percentile(&appended, 0.5)),
        millis(percentile(&appended, 0.99)),
        millis(at(0.9)),
        millis(at(0.999)),
        millis(at(1.0)),
    ));
    Ok(())
}

/// How long after their schedule events were acknowledged, and projected; each in ascending order.
fn latencies(sent: &[Sent], commits: &Commits) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let (mut appended, mut projected) = (Vec::new(), Vec::new());
    for sent in sent.iter().skip(WARM.min(sent.len() / 2)) {
        let covered = commits.covered(sent.position).context("an event was appended that no commit covers")?;
        appended.push(sent.acknowledged.saturating_duration_since(sent.scheduled));
        projected.push(covered.saturating_duration_since(sent.scheduled));
    }
    appended.sort_unstable();
    projected.sort_unstable();
    Ok((appended, projected))
}
