//! Budget `idle`: the memory of projections that have nothing to do, with all that belongs to them.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use lantern_core::{Call, Cause, Digest, Instance, Kind, Name, View};
use lantern_processors::Start;

use crate::{
    Bench,
    figures::mebibytes,
    handle::{Nothing, event},
    machine::resident,
    rebuild::GUEST,
    report::Report,
    tracing,
    world::{Make, World, settings, whole},
};

/// How many projections there are in the end; a short run has a tenth and says what it would come to.
const PROJECTIONS: usize = 1_000;

/// How many events each projection has handled before it idles.
const EVENTS: u64 = 100;

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let projections = if bench.arguments.full { PROJECTIONS } else { PROJECTIONS / 10 };
    let digest = bench.world.push(GUEST).await?;
    let instance = instances(&bench.world, digest, projections).await?;
    let shown = |figure: f64| format!("{figure:.0} KiB");
    report.at_most("idle: an instance that has handled an event", instance, 50.0, shown);
    projected(&bench.world, report, digest, projections).await
}

/// How many KiB one instance takes.
async fn instances(world: &World, digest: Digest, count: usize) -> Result<f64> {
    let module = world.library().load(digest, &settings(Kind::Projection)?).await?;
    let event = event()?;
    // Calls block, and do not belong on the runtime's threads.
    let measured = tokio::task::spawn_blocking(move || {
        let view: Arc<dyn View> = Arc::new(Nothing);
        let call = Call { event: &event, cause: Cause::Live, attempt: 1, trace: None };
        let started = || {
            let mut instance = module.instance();
            instance.handle(&call, &view).result.map(|_| instance)
        };
        let _warm = started()?;
        let before = resident();
        let running: Vec<Box<dyn Instance>> = (0..count).map(|_| started()).collect::<Result<_, _>>()?;
        let grown = resident().saturating_sub(before);
        Ok::<_, lantern_core::module::Failure>(grown as f64 / 1024.0 / running.len() as f64)
    });
    Ok(measured.await??)
}

/// What a whole host with idle projections takes.
async fn projected(world: &World, report: &mut Report, digest: Digest, count: usize) -> Result<()> {
    let filled = world.filled_log("idle", EVENTS).await?;
    let telemetry = tracing::start(&[])?;
    let make = Make { log: filled.log.clone(), library: world.library(), telemetry: Some(&telemetry), watch: None };
    let host = world.host(make).await?;
    let (before, began) = (resident(), Instant::now());
    for number in 0..count {
        let name = Name::new(format!("idle-{number}"))?;
        host.deploy(&name, digest, Start::Beginning).await?;
        whole(&host.supervisor.wait(Kind::Projection, &name, filled.head).await?, filled.head)?;
    }
    let (after, took) = (resident(), began.elapsed());
    let each = after.saturating_sub(before) / count as u64;
    let all = (before + each * PROJECTIONS as u64) as f64;
    let what = format!("idle: a host with {PROJECTIONS} projections, measured with {count}");
    report.at_most(&what, all, f64::from(500 << 20), |figure| mebibytes(figure as u64));
    report.note(format!(
        "idle: {} KiB a projection with its read model, {} before any; deploying took {:.1} ms each",
        each / 1024,
        mebibytes(before),
        took.as_secs_f64() * 1e3 / count as f64,
    ));
    host.end().await
}
