//! Budget `neighbours`: how soon a healthy projection is done after the last append, beside modules that misbehave in
//! every way there is.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lantern_core::{
    Kind, Name, Position,
    journal::{FailurePolicy, OnFailure},
};
use lantern_processors::{Deploy, Start};
use tokio::time::sleep;

use crate::{
    Bench,
    events::Generator,
    figures::median,
    load::steady,
    rebuild::GUEST,
    report::Report,
    world::{Host, Make, projection, whole},
};

/// Modules that fail at every event.
const FAILING: [&str; 5] = ["looping", "trapping", "hungry", "recursive", "sleepy"];

/// A module that logs a million lines at every event.
const FLOODING: &str = "flooding";

/// Events a second.
const RATE: u32 = 500;

/// How long events are appended, at most, in seconds.
const SECONDS: u32 = 5;

/// How long a neighbour may take to fail for the first time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut waits = Vec::new();
    for round in 0..bench.arguments.rounds {
        waits.push(one_round(bench, round).await?.as_secs_f64());
    }
    let what = format!("neighbours: last append to lag 0, beside {} misbehaving modules", FAILING.len() + 1);
    report.at_most(&what, median(waits), 2.0, |figure| format!("{figure:.2} s"));
    Ok(())
}

/// How long the healthy projection was at work after the last append was acknowledged.
async fn one_round(bench: &Bench, round: u32) -> Result<Duration> {
    let world = &bench.world;
    let log = world.empty_log(&format!("neighbours-{round}"))?;
    let host = world.host(Make { log, library: world.library(), telemetry: None, watch: None }).await?;
    let healthy = Name::new("healthy")?;
    host.deploy(&healthy, world.push(GUEST).await?, Start::Beginning).await?;
    for bad in FAILING.into_iter().chain([FLOODING]) {
        // Skipping makes them fail at every event, not only at the first of each stream.
        let failure_policy = FailurePolicy { then: OnFailure::Skip, ..FailurePolicy::default() };
        let deploy = projection(&Name::new(bad)?, world.push(bad).await?, Start::Beginning);
        host.supervisor.deploy(Deploy { failure_policy, ..deploy }).await?;
    }
    let seconds = bench.arguments.seconds.min(SECONDS);
    let sent = steady(host.log.clone(), &mut Generator::new()?, RATE, seconds).await?;
    let last = sent.iter().map(|sent| sent.acknowledged).max().context("nothing was appended")?;
    let head = Position(sent.len() as u64);
    let status = host.supervisor.wait(Kind::Projection, &healthy, head).await?;
    let took = Instant::now().saturating_duration_since(last);
    whole(&status, head)?;
    were_at_work(&host).await?;
    host.end().await?;
    Ok(took)
}

/// Waits until every neighbour has failed at an event: one that never does is no bad neighbour.
async fn were_at_work(host: &Host) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    for bad in FAILING {
        let name = Name::new(bad)?;
        while host.supervisor.status(Kind::Projection, &name)?.failed == 0 {
            ensure!(Instant::now() < until, "`{bad}` has not failed within {PATIENCE:?}: it was no bad neighbour");
            sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}
