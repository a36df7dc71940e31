//! Budget `rebuild`: all events of a log through a Wasm projection into a read model, exactly once, against the bare
//! pipeline.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::{
    Bench, bare,
    bare::Took,
    figures::{median, per_second, rate},
    guest::Program,
    report::{Report, ratio},
    stages::Stages,
    world::Make,
};

/// The guest that is rebuilt with: one parse, one get, one put.
pub(crate) const GUEST: &str = "counter";

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let world = &bench.world;
    let (digest, filled) = (world.push(GUEST).await?, world.loans().await?);
    let program = Program::new(&world.component(GUEST)?)?;
    let (mut host, mut bare, mut took) = (Vec::new(), Vec::new(), Took::default());
    for round in 0..=bench.arguments.rounds {
        let make = Make { log: filled.log.clone(), library: world.library(), telemetry: None, watch: None };
        let rebuilt = world.rebuild(digest, filled, make).await?;
        took = run_bare(bench, &program).await?;
        // The first round warms up.
        if round > 0 {
            host.push(rate(filled.head.0, rebuilt.took));
            bare.push(rate(filled.head.0, took.all));
        }
    }
    let ratios = host.iter().zip(&bare).map(|(host, bare)| host / bare).collect();
    report.at_least("rebuild: SQLite log to SQLite read model", median(host), 100_000.0, per_second);
    let what = format!("rebuild: against the bare pipeline ({})", per_second(median(bare)));
    report.at_least(&what, median(ratios), 0.6, ratio);
    if bench.arguments.profile {
        profile(bench, report, took).await?;
    }
    Ok(())
}

/// Runs the bare pipeline on a thread where blocking is allowed.
async fn run_bare(bench: &Bench, program: &Program) -> Result<Took> {
    let filled = bench.world.loans().await?;
    let folder = tempfile::tempdir_in(bench.world.folder())?;
    let (log, program, head) = (filled.path.clone(), program.clone(), filled.head.0);
    let run = tokio::task::spawn_blocking(move || {
        let result = bare::run(&log, &folder.path().join("bare.db"), &program, head);
        drop(folder);
        result
    });
    let (took, documents) = run.await??;
    ensure!(documents > 0, "the bare pipeline wrote nothing");
    Ok(took)
}

/// Runs once more with every port watched, and says where the time goes.
async fn profile(bench: &Bench, report: &mut Report, bare: Took) -> Result<()> {
    let world = &bench.world;
    let (digest, filled) = (world.push(GUEST).await?, world.loans().await?);
    let stages = Arc::new(Stages::default());
    let make = Make { log: filled.log.clone(), library: world.library(), telemetry: None, watch: Some(stages.clone()) };
    let rebuilt = world.rebuild(digest, filled, make).await?;
    report.note(stages.tell("rebuild", filled.head.0, &rebuilt));
    report.note(bare.tell(filled.head.0));
    Ok(())
}
