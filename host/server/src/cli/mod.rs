//! The command line `lantern`: one file a noun. Every command but `serve` and `new` talks to a running host over HTTP.

mod aggregate;
mod bus;
mod change;
mod client;
mod command;
mod dead_letter;
mod event;
mod export;
mod failure;
mod handler;
mod host;
mod import;
mod lines;
mod module;
mod new;
mod output;
mod processor;
mod projection;
mod query;
mod schedule;
mod serve;
mod settings;
mod sql;
mod trace;
mod upcaster;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use client::Client;
use failure::{EXIT_CODES, Failure};
use output::Output;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "lantern",
    version,
    about = "A host for event-sourced projections, handlers and aggregates in WebAssembly",
    after_help = EXIT_CODES,
    propagate_version = true
)]
pub(crate) struct Cli {
    /// The host to talk to.
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "URL",
        env = "LANTERN_URL",
        default_value = "http://127.0.0.1:7171"
    )]
    host: String,
    /// Print JSON, also for errors.
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a host.
    Serve(serve::Serve),
    /// Make a project for a module.
    New(new::New),
    #[command(flatten)]
    Ask(Ask),
}

/// What is asked of a running host.
#[derive(Debug, Subcommand)]
enum Ask {
    /// Append, read, import and export events.
    #[command(subcommand)]
    Event(event::Event),
    /// Push, list, inspect and remove modules.
    #[command(subcommand)]
    Module(module::Module),
    /// Deploy, watch, query and change projections.
    #[command(subcommand)]
    Projection(projection::Projection),
    /// Deploy, watch, query and change handlers.
    #[command(subcommand)]
    Handler(handler::Handler),
    /// Deploy aggregates, change what they run, and look at the state of one.
    #[command(subcommand)]
    Aggregate(aggregate::Aggregate),
    /// Send commands to aggregates.
    #[command(subcommand)]
    Command(command::Command),
    /// Deploy upcasters, and change what they run.
    #[command(subcommand)]
    Upcaster(upcaster::Upcaster),
    /// List and cancel what handlers have scheduled.
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    /// Look at what a projection or handler could not handle, and decide about it.
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetter),
    /// List the hosts that share a database.
    #[command(subcommand)]
    Host(host::Host),
    /// Look at buses and at the routes between them and the log.
    #[command(subcommand)]
    Bus(bus::Bus),
    /// Print a trace as a tree.
    Trace(trace::Trace),
}

/// Reads a command line and carries it out.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let outcome = match Cli::try_parse_from(&arguments) {
        Ok(cli) => carry_out(cli),
        Err(error) if json && error.use_stderr() => {
            let told = error.render().to_string();
            Err(Failure::usage(told.trim_start_matches("error: ").trim_end()))
        }
        // Help goes to standard output and is no failure, which clap knows best.
        Err(error) => error.exit(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if json {
                eprintln!("{}", failure.to_json());
            } else {
                eprintln!("error: {failure}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn carry_out(cli: Cli) -> Result<(), Failure> {
    let Cli { host, json, command } = cli;
    let ask = match command {
        Command::Serve(serve) => return serve.run(),
        Command::New(new) => return new.run(Output { json }),
        Command::Ask(ask) => ask,
    };
    let client = Client::new(&host)?;
    let output = Output { json };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime could be started: {error}")))?;
    runtime.block_on(async {
        match ask {
            Ask::Event(event) => event.run(&client, output).await,
            Ask::Module(module) => module.run(&client, output).await,
            Ask::Projection(projection) => projection.run(&client, output).await,
            Ask::Handler(handler) => handler.run(&client, output).await,
            Ask::Aggregate(aggregate) => aggregate.run(&client, output).await,
            Ask::Command(command) => command.run(&client, output).await,
            Ask::Upcaster(upcaster) => upcaster.run(&client, output).await,
            Ask::Schedule(schedule) => schedule.run(&client, output).await,
            Ask::DeadLetter(dead_letter) => dead_letter.run(&client, output).await,
            Ask::Host(host) => host.run(&client, output).await,
            Ask::Bus(bus) => bus.run(&client, output).await,
            Ask::Trace(trace) => trace.run(&client, output).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn host_and_json_stand_anywhere() {
        let cli = Cli::parse_from(["lantern", "projection", "list", "--json", "--host", "http://h"]);
        assert!(cli.json);
        assert_eq!(cli.host, "http://h");
    }

    #[test]
    fn what_is_wrong_is_refused_as_usage() {
        for arguments in [
            &["projection", "dance"][..],
            &["handler", "rebuild", "x"],
            &["handler", "deploy", "x", "--module", "m", "--grant", "fly"],
            &["handler", "deploy", "x", "--module", "m", "--http", "here"],
            &["aggregate", "deploy", "x", "--module", "m", "--snapshots", "often"],
            &["command", "send", "nowhere", "T"],
            &["new", "thing", "x"],
            &["event", "append", "A-1"],
            &["trace"],
            &["serve", "now"],
        ] {
            let error = Cli::try_parse_from([&["lantern"], arguments].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
    }
}
