//! The same job done by eventsource-py, in a Python environment of its own. Asked for with `--peer`, since it downloads.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    Bench,
    figures::{median, per_second, rate},
    rebuild::GUEST,
    report::{Report, ratio},
    world::Make,
};

/// What the peer runs.
const PROGRAM: &str = include_str!("../peer.py");

/// What it needs; its SQLite read models need `greenlet` without saying so.
const PACKAGES: [&str; 2] = ["eventsource-py[sqlite]", "greenlet"];

/// How many events each of the two handles.
const EVENTS: u64 = 20_000;

/// Measures, and reports. A peer that cannot be installed is told, and is no failure.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = bench.world.folder().join("peer");
    std::fs::create_dir_all(&folder)?;
    if let Err(error) = install(&folder) {
        report.note(format!("peer: not measured, because eventsource-py could not be installed: {error:#}"));
        return Ok(());
    }
    let digest = bench.world.push(GUEST).await?;
    let filled = bench.world.filled_log("peer", EVENTS).await?;
    let mut own = Vec::new();
    for _ in 0..bench.arguments.rounds {
        let make = Make { log: filled.log.clone(), library: bench.world.library(), telemetry: None, watch: None };
        own.push(rate(EVENTS, bench.world.rebuild(digest, &filled, make).await?.took));
    }
    let (own, peer) = (median(own), rate(EVENTS, measure(&folder)?));
    let what = format!("rebuild: {EVENTS} events ({}) against eventsource-py ({})", per_second(own), per_second(peer));
    report.at_least(&what, own / peer, 10.0, ratio);
    Ok(())
}

fn install(folder: &Path) -> Result<()> {
    let environment = folder.join("python");
    output(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install"];
    output(Command::new(environment.join("bin/python")).args(pip).args(PACKAGES))?;
    Ok(())
}

/// How long the peer takes from the start of its subscription to the last event.
fn measure(folder: &Path) -> Result<Duration> {
    let program = folder.join("peer.py");
    std::fs::write(&program, PROGRAM)?;
    let mut command = Command::new(folder.join("python/bin/python"));
    let printed = output(command.arg(program).arg(folder).arg(EVENTS.to_string()))?;
    let seconds: f64 = printed.trim().parse().with_context(|| format!("the peer printed `{printed}`"))?;
    ensure!(seconds > 0.0, "the peer took no time");
    Ok(Duration::from_secs_f64(seconds))
}

/// What a command prints. A command that fails is an error with what it complained of.
fn output(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} could not be run"))?;
    if !done.status.success() {
        bail!("{command:?} ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8(done.stdout)?)
}
