//! Budget `swap`: the pause between the last call of one module and the first of the next while events flow, and that
//! nothing is lost or doubled.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lantern_core::{Batch, Call, Cause, Digest, Kind, Name, Position, ReadModel, documents::Scan};
use lantern_processors::Start;
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    Bench,
    events::Generator,
    figures::{millis, percentile},
    load::steady,
    rebuild::GUEST,
    report::Report,
    tracing,
    watch::Watch,
    world::{Make, whole},
};

/// Events a second.
const RATE: u32 = 10_000;

/// How many swaps there are.
const SWAPS: u32 = 10;

/// How many documents of the read model are read at a time.
const PAGE: usize = 1_000;

/// The time that passed between the calls of one event and the next.
#[derive(Default)]
struct Gaps {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    last: Option<(Digest, Instant)>,
    /// The position of the later call, the gap before it, and whether another module was called.
    gaps: Vec<(Position, Duration, bool)>,
    /// Where batches ended.
    ends: HashSet<Position>,
}

impl Gaps {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Gaps {
    fn handled(&self, module: Digest, call: &Call<'_>, began: Instant) {
        if matches!(call.cause, Cause::DryRun) {
            return;
        }
        let ended = Instant::now();
        let mut seen = self.seen();
        if let Some((before, at)) = seen.last.replace((module, ended)) {
            seen.gaps.push((call.event.position, began.saturating_duration_since(at), before != module));
        }
    }

    fn committed(&self, batch: &Batch, _began: Instant) {
        self.seen().ends.insert(batch.until);
    }
}

impl Seen {
    /// The gaps at swaps, and those at all other boundaries between two batches; each in ascending order.
    fn divided(&self) -> (Vec<Duration>, Vec<Duration>) {
        let (mut swaps, mut others) = (Vec::new(), Vec::new());
        for (position, gap, swapped) in &self.gaps {
            if *swapped {
                swaps.push(*gap);
            } else if self.ends.contains(&Position(position.0 - 1)) {
                others.push(*gap);
            }
        }
        swaps.sort_unstable();
        others.sort_unstable();
        (swaps, others)
    }
}

/// The part of a document that is checked.
#[derive(Deserialize)]
struct Count {
    count: u64,
}

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let world = &bench.world;
    let modules = [world.push_variant(GUEST, 1).await?, world.push_variant(GUEST, 2).await?];
    let (gaps, telemetry) = (Arc::new(Gaps::default()), tracing::start(&[])?);
    let make = Make {
        log: world.empty_log("swap")?,
        library: world.library(),
        telemetry: Some(&telemetry),
        watch: Some(gaps.clone()),
    };
    let host = world.host(make).await?;
    let name = Name::new("swapped")?;
    host.deploy(&name, modules[0], Start::Beginning).await?;
    let (log, seconds) = (host.log.clone(), bench.arguments.seconds);
    let load = tokio::spawn(async move { steady(log, &mut Generator::new()?, RATE, seconds).await });
    let between = Duration::from_secs(u64::from(seconds)) / (SWAPS + 1);
    for swap in 1..=SWAPS as usize {
        sleep(between).await;
        host.supervisor.swap(Kind::Projection, &name, modules[swap % 2]).await?;
    }
    let sent = load.await??;
    let head = Position(sent.len() as u64);
    let status = host.supervisor.wait(Kind::Projection, &name, head).await?;
    let counted = count(&*host.supervisor.read_model(Kind::Projection, &name, None).await?).await?;
    host.end().await?;
    tell(report, &gaps, &format!("{counted} of {}", head.0), whole(&status, head).is_ok() && counted == head.0)
}

fn tell(report: &mut Report, gaps: &Gaps, counted: &str, kept: bool) -> Result<()> {
    let (swaps, others) = gaps.seen().divided();
    ensure!(swaps.len() == SWAPS as usize, "{} of {SWAPS} swaps were seen", swaps.len());
    let ordinary = percentile(&others, 0.5);
    let pause = percentile(&swaps, 0.5).saturating_sub(ordinary);
    let shown = |figure: f64| format!("{figure:.2} ms");
    let what = format!("swap: pause at {RATE}/s beyond the ordinary gap between batches");
    report.at_most(&what, pause.as_secs_f64() * 1e3, 1.0, shown);
    report.holds(&format!("swap: {SWAPS} swaps, events counted"), counted.into(), "none lost or doubled", kept);
    let longest = swaps.last().context("there was no swap")?;
    report.note(format!(
        "swap: gap between the last call before and the first after: p50 {} at most {}; between other batches p50 {} \
         p99 {} at most {}",
        millis(percentile(&swaps, 0.5)),
        millis(*longest),
        millis(ordinary),
        millis(percentile(&others, 0.99)),
        millis(percentile(&others, 1.0)),
    ));
    Ok(())
}

/// The sum of all counts of the read model.
async fn count(read_model: &dyn ReadModel) -> Result<u64> {
    let mut scan = Scan { limit: PAGE, ..Scan::default() };
    let mut sum = 0;
    loop {
        let page = read_model.scan("counts", &scan).await?;
        for document in &page {
            sum += serde_json::from_str::<Count>(&document.value)?.count;
        }
        let Some(last) = page.last() else { return Ok(sum) };
        scan.after = Some(last.key.clone());
    }
}
