//! Budget `postgres-rebuild`: all events of a log in PostgreSQL through a Wasm projection into a read model in PostgreSQL,
//! exactly once, against the bare pipeline.

use std::sync::Arc;

use anyhow::{Result, ensure};
use lantern_core::{Generation, Log as _, Name, ReadModels as _};
use lantern_stores::postgres::{Database, Log, ReadModels};

use crate::{
    Bench,
    events::Generator,
    figures::{median, per_second, rate},
    guest::Program,
    postgres::{self, Schema},
    postgres_bare,
    rebuild::GUEST,
    report::{Report, ratio},
    stages::Stages,
    watch::Watch,
    world::{self, Make, REBUILT, Rebuilt},
};

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if let Some(reason) = postgres::absence() {
        report.note(format!("postgres-rebuild was not measured: {reason}"));
        return Ok(());
    }
    let program = Program::new(&bench.world.component(GUEST)?)?;
    let schema = Schema::make().await?;
    let measured = measure(bench, report, &schema, &program).await;
    schema.remove().await?;
    measured
}

async fn measure(bench: &Bench, report: &mut Report, schema: &Schema, program: &Program) -> Result<()> {
    let database = Database::open(&schema.url).await?;
    let log = Arc::new(Log::open(&database).await?);
    let head = world::fill(&*log, bench.arguments.events, Generator::new()?).await?;
    // Nothing is vacuumed or analyzed by hand: a log that was just filled is not either.
    let (mut host, mut bare, mut last) = (Vec::new(), Vec::new(), None);
    for round in 0..=bench.arguments.rounds {
        schema.settle().await?;
        let rebuilt = rebuild(bench, &database, &log, None).await?;
        schema.settle().await?;
        let (took, documents) = postgres_bare::run(schema, program, head.0).await?;
        ensure!(documents > 0, "the bare pipeline wrote nothing");
        // The first round warms up.
        if round > 0 {
            host.push(rate(head.0, rebuilt.took));
            bare.push(rate(head.0, took.all));
            last = Some(took);
        }
    }
    let ratios = host.iter().zip(&bare).map(|(host, bare)| host / bare).collect();
    report.at_least("postgres-rebuild: from PostgreSQL into PostgreSQL", median(host), 50_000.0, per_second);
    let what = format!("postgres-rebuild: against the bare pipeline ({})", per_second(median(bare)));
    report.at_least(&what, median(ratios), 0.6, ratio);
    if bench.arguments.profile {
        let stages = Arc::new(Stages::default());
        let rebuilt = rebuild(bench, &database, &log, Some(stages.clone())).await?;
        report.note(stages.tell("postgres-rebuild", head.0, &rebuilt));
        last.into_iter().for_each(|took| report.note(took.tell(head.0)));
    }
    Ok(())
}

/// Rebuilds with a new host, into a generation that is removed afterwards.
async fn rebuild(bench: &Bench, database: &Database, log: &Arc<Log>, watch: Option<Arc<dyn Watch>>) -> Result<Rebuilt> {
    let world = &bench.world;
    let digest = world.push(GUEST).await?;
    let read_models = Arc::new(ReadModels::new(database.clone()));
    let head = *log.head().borrow();
    let make = Make { log: log.clone(), library: world.library(), telemetry: None, watch };
    let rebuilt = world.host_on(read_models.clone(), make).await?.rebuild(digest, head).await?;
    let generation = Generation { processor: Name::new(REBUILT)?, number: 1 };
    read_models.remove(&generation).await?;
    Ok(rebuilt)
}
