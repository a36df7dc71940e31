//! Budget `restart`: from the start of a host on what another one left to the moment it serves.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use lantern_core::{Kind, Name, Position};
use lantern_processors::Start;

use crate::{
    Bench,
    figures::millis,
    rebuild::GUEST,
    report::Report,
    tracing,
    world::{self, Make, World, open_library, open_log, whole},
};

/// How many projections the host has.
const PROJECTIONS: usize = 20;

/// How many events its log has; a short run has a tenth.
const EVENTS: u64 = 1_000_000;

/// The budget, in milliseconds.
const BUDGET: f64 = 1_000.0;

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let events = if bench.arguments.full { EVENTS } else { EVENTS / 10 };
    let data = bench.world.folder().join("restart");
    let (processors, modules) = (data.join("processors"), data.join("modules"));
    fs::create_dir_all(&processors)?;
    let log = leave_behind(&bench.world, &processors, &modules, events).await?;
    let telemetry = tracing::start(&[])?;
    let began = Instant::now();
    let log = open_log(&log)?;
    let opened = began.elapsed();
    let library = open_library(&modules)?;
    let found = began.elapsed();
    let make = Make { log, library, telemetry: Some(&telemetry), watch: None };
    let host = world::start(&processors, make, bench.world.threads()).await?;
    let serving = began.elapsed();
    let list = host.supervisor.list(Kind::Projection);
    ensure!(list.len() == PROJECTIONS, "{} of {PROJECTIONS} projections are there", list.len());
    // What was committed is not handled again.
    let name = Name::new("kept-0")?;
    whole(&host.supervisor.wait(Kind::Projection, &name, Position(events)).await?, Position(events))?;
    let what = format!("restart: {events} events, {PROJECTIONS} projections, until it serves");
    report.at_most(&what, serving.as_secs_f64() * 1e3, BUDGET, |figure| format!("{figure:.0} ms"));
    report.note(format!(
        "restart: log open after {}, modules after {}, projections after {}",
        millis(opened),
        millis(found),
        millis(serving),
    ));
    host.end().await
}

/// A host that has handled all of a log with every projection, and is gone. Says where the log lies.
async fn leave_behind(world: &World, processors: &Path, modules: &Path, events: u64) -> Result<std::path::PathBuf> {
    let filled = world.filled_log("restart", events).await?;
    let library = open_library(modules)?;
    let digest = library.push(fs::read(world.component(GUEST)?)?.into()).await?.digest;
    let make = Make { log: filled.log.clone(), library, telemetry: None, watch: None };
    let host = world::start(processors, make, world.threads()).await?;
    let names: Vec<_> = (0..PROJECTIONS).map(|number| Name::new(format!("kept-{number}"))).collect::<Result<_, _>>()?;
    for name in &names {
        host.deploy(name, digest, Start::Beginning).await?;
    }
    for name in &names {
        let status = host.supervisor.wait(Kind::Projection, name, filled.head).await?;
        whole(&status, filled.head).with_context(|| format!("projection {name}"))?;
    }
    host.stop().await;
    Ok(filled.path)
}
