//! Budget `handlers`: a handler that emits one event for each, against the rebuild of a projection that writes one document
//! for each, over the same log.

use std::time::Instant;

use anyhow::{Result, ensure};
use lantern_core::{Grants, Kind, Name, Position};
use lantern_processors::{Deploy, Start, Status};

use crate::{
    Bench,
    events::Generator,
    figures::{median, per_second, rate},
    rebuild,
    report::{Report, ratio},
    world::{Filled, Make, projection},
};

/// The guest that emits.
const GUEST: &str = "emitter";

/// The category it wants.
const CATEGORY: &str = "Trigger";

/// How many events the log has, at most.
const EVENTS: u64 = 65_536;

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let world = &bench.world;
    let counter = world.push(rebuild::GUEST).await?;
    let (mut emitted, mut rebuilt) = (Vec::new(), Vec::new());
    for round in 0..=bench.arguments.rounds {
        // A log of its own for each round: the handler adds to it.
        let generator = Generator::of(CATEGORY)?;
        let name = format!("handlers-{round}");
        let filled = world.filled_log_with(&name, EVENTS.min(bench.arguments.events), generator).await?;
        let make = Make { log: filled.log.clone(), library: world.library(), telemetry: None, watch: None };
        let took = world.rebuild(counter, &filled, make).await?.took;
        let rates = (emit(bench, &filled).await?, rate(filled.head.0, took));
        // The first round warms up.
        if round > 0 {
            emitted.push(rates.0);
            rebuilt.push(rates.1);
        }
    }
    let ratios = emitted.iter().zip(&rebuilt).map(|(emitted, rebuilt)| emitted / rebuilt).collect();
    let what = format!(
        "handlers: one event emitted for each ({}) against a rebuild ({})",
        per_second(median(emitted)),
        per_second(median(rebuilt)),
    );
    report.at_least(&what, median(ratios), 0.5, ratio);
    Ok(())
}

/// Events a second that the handler gets through.
async fn emit(bench: &Bench, filled: &Filled) -> Result<f64> {
    let world = &bench.world;
    let make = Make { log: filled.log.clone(), library: world.library(), telemetry: None, watch: None };
    let host = world.host(make).await?;
    let name = Name::new("emitting")?;
    let module = world.push(GUEST).await?;
    let grants = Grants { emit: true, ..Grants::default() };
    let deploy = Deploy { kind: Kind::Handler, grants, ..projection(&name, module, Start::Beginning) };
    let began = Instant::now();
    host.supervisor.deploy(deploy).await?;
    let status = host.supervisor.wait(Kind::Handler, &name, filled.head).await?;
    let took = began.elapsed();
    // It may have come further, over what it emitted, which it does not handle.
    let Status { handled, failed, .. } = status;
    ensure!(
        (handled, failed) == (filled.head.0, 0),
        "of {} events {handled} were handled, {failed} failed",
        filled.head
    );
    host.end().await?;
    let head = *filled.log.head().borrow();
    ensure!(head == Position(2 * filled.head.0), "{} events led to {} more", filled.head, head.0 - filled.head.0);
    Ok(rate(filled.head.0, took))
}
