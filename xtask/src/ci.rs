//! `cargo xtask ci`: every check, in the order of how soon it fails.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{
    guests, packages,
    repository::{GUEST_WORKSPACES, Repository, WASM_TARGET, run},
    tests,
};

type Step = (&'static str, fn(&Repository) -> Result<()>);

const STEPS: [Step; 6] = [
    ("formatting", formatting),
    ("lints of the host", host_lints),
    ("lints of guests and examples", guest_lints),
    ("build", tests::build),
    ("tests: `cargo xtask test`", |repository| tests::run(repository, &[])),
    ("documentation", documentation),
];

/// Runs all steps; the first that fails ends it.
pub(crate) fn run_all(repository: &Repository) -> Result<()> {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        println!("\n=== {name}");
        let begin = Instant::now();
        step(repository).with_context(|| format!("step `{name}`"))?;
        times.push((name, begin.elapsed()));
        println!("=== {name}: {}", seconds(begin.elapsed()));
    }
    println!("\nAll checks passed:");
    for (name, time) in &times {
        println!("  {:>8}  {name}", seconds(*time));
    }
    println!("  {:>8}  in all", seconds(times.iter().map(|(_, time)| *time).sum()));
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn formatting(repository: &Repository) -> Result<()> {
    run(repository.cargo("fmt").args(["--all", "--check"]))?;
    for workspace in GUEST_WORKSPACES {
        run(repository.guest_cargo(workspace, "fmt").args(["--all", "--check"]))?;
    }
    Ok(())
}

fn host_lints(repository: &Repository) -> Result<()> {
    packages::install_for_builds()?;
    run(repository.cargo("clippy").args(["--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// As modules for all; as native code with their tests where they have some.
fn guest_lints(repository: &Repository) -> Result<()> {
    guests::add_target()?;
    for workspace in GUEST_WORKSPACES {
        let mut command = repository.guest_cargo(workspace, "clippy");
        run(command.args(["--workspace", "--target", WASM_TARGET, "--", "-D", "warnings"]))?;
    }
    for workspace in ["guests", "examples"] {
        let mut command = repository.guest_cargo(workspace, "clippy");
        run(command.args(["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn documentation(repository: &Repository) -> Result<()> {
    for mut command in [repository.cargo("doc"), repository.guest_cargo("guests", "doc")] {
        run(command.args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    }
    Ok(())
}
