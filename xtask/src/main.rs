//! The tasks of the workspace: `cargo xtask demo`, `test`, `ci`, `guests`, `services` and `bench`.

mod bench;
mod ci;
mod demo;
mod guests;
mod packages;
mod python;
mod repository;
mod services;
mod tests;

use std::{env, process::ExitCode};

use anyhow::Result;
use repository::Repository;

const HELP: &str = "\
The tasks of the Lantern workspace.

Usage: cargo xtask <TASK>

  demo             starts a host in a temporary folder, sends commands, shows a trace from a command to the event
                   that a handler emits, swaps modules under load and proves that nothing was lost or doubled
  test [ARGS]      builds the guests and the host, starts the servers that tests need, equips a Python with other makers'
                   clients, then runs every test; ARGS go to `cargo test`, for example `cargo xtask test -- swap`
  ci               what the CI runs: formatting, lints, build, tests, documentation
  guests           builds the guests of the tests and the examples into <target>/guests
  services VERB    PostgreSQL, Redis, RabbitMQ and Kafka for the tests: `up`, `down`, `kill`, `status`, `help`
  bench [ARGS]     measures the budgets; ARGS go to the benchmark
  help             prints this

Exit codes: 0 all went well, 1 something failed, 2 no such task.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", &[][..]),
    };
    let takes_arguments = matches!(task, "test" | "services" | "bench");
    if !rest.is_empty() && !takes_arguments {
        eprintln!("`cargo xtask {task}` takes no arguments\n\n{HELP}");
        return ExitCode::from(2);
    }
    let run = match task {
        "demo" => with_repository(demo::run),
        "test" => with_repository(|repository| tests::run(repository, rest)),
        "ci" => with_repository(ci::run_all),
        "guests" => with_repository(guests::build),
        "services" => with_repository(|repository| services::run(repository, rest)),
        "bench" => with_repository(|repository| bench::run(repository, rest)),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!("there is no task `{task}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n`cargo xtask {task}` failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn with_repository(task: impl FnOnce(&Repository) -> Result<()>) -> Result<()> {
    task(&Repository::find()?)
}
