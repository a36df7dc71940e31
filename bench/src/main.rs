//! The benchmarks of Lantern: measures the budgets of the design as rates and ratios in one run, and prints a table.
//!
//! Every ratio is taken between two things measured in turns in the same process, so that a busy machine slows both.
//! Nothing depends on this crate, and no test runs it.

mod append;
mod bare;
mod commands;
mod decide;
mod events;
mod figures;
mod guest;
mod handle;
mod handlers;
mod idle;
mod kafka_projection;
mod latency;
mod load;
mod loading;
mod machine;
mod native;
mod neighbours;
mod peer;
mod postgres;
mod postgres_append;
mod postgres_bare;
mod postgres_rebuild;
mod rebuild;
mod report;
mod restart;
mod sink;
mod stages;
mod swap;
mod tracing;
mod watch;
mod world;
mod write_side;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::{report::Report, world::World};

/// Measures the budgets of Lantern.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
pub(crate) struct Arguments {
    /// What to measure; everything when nothing is named.
    names: Vec<Name>,
    /// How many events the log of the rebuilds has.
    #[arg(long, default_value_t = events::LOAN_EVENTS)]
    events: u64,
    /// How many rounds are measured after one that warms up; figures are their medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long a steady load lasts, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Measure idle projections and restarts at full size, which takes minutes.
    #[arg(long)]
    full: bool,
    /// Also say where the time goes.
    #[arg(long)]
    profile: bool,
    /// Also compare with eventsource-py, which is installed into an environment of its own.
    #[arg(long)]
    peer: bool,
    /// Where the files of the run are kept meanwhile, by default in the target directory.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Idle,
    Restart,
    Handle,
    Append,
    PostgresAppend,
    KafkaProjection,
    Rebuild,
    PostgresRebuild,
    Native,
    Tracing,
    Latency,
    Swap,
    Neighbours,
    Commands,
    Decide,
    Loading,
    Handlers,
}

/// What every benchmark has at hand.
pub(crate) struct Bench {
    arguments: Arguments,
    world: World,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        // A budget that falls short is an answer, and a script may want to know it.
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("the benchmark failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for. Says whether every budget is kept.
#[tokio::main]
async fn run(arguments: Arguments) -> Result<bool> {
    let world = World::new(arguments.folder.as_deref(), arguments.events)?;
    let mut report = Report::default();
    report.note(machine::describe(world.folder())?);
    let bench = Bench { arguments, world };
    // In the order of the enum, whatever the order they were named in: memory is measured while the process is young.
    for name in Name::value_variants() {
        if bench.arguments.names.is_empty() || bench.arguments.names.contains(name) {
            measure(*name, &bench, &mut report).await.with_context(|| format!("{name:?}").to_lowercase())?;
        }
    }
    if bench.arguments.peer {
        peer::run(&bench, &mut report).await.context("peer")?;
    }
    Ok(report.print())
}

async fn measure(name: Name, bench: &Bench, report: &mut Report) -> Result<()> {
    match name {
        Name::Idle => idle::run(bench, report).await,
        Name::Restart => restart::run(bench, report).await,
        Name::Handle => handle::run(bench, report).await,
        Name::Append => append::run(bench, report).await,
        Name::PostgresAppend => postgres_append::run(bench, report).await,
        Name::KafkaProjection => kafka_projection::run(bench, report).await,
        Name::Rebuild => rebuild::run(bench, report).await,
        Name::PostgresRebuild => postgres_rebuild::run(bench, report).await,
        Name::Native => native::run(bench, report).await,
        Name::Tracing => tracing::run(bench, report).await,
        Name::Latency => latency::run(bench, report).await,
        Name::Swap => swap::run(bench, report).await,
        Name::Neighbours => neighbours::run(bench, report).await,
        Name::Commands => commands::run(bench, report).await,
        Name::Decide => decide::run(bench, report).await,
        Name::Loading => loading::run(bench, report).await,
        Name::Handlers => handlers::run(bench, report).await,
    }
}
