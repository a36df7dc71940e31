//! A log in PostgreSQL that is restored from a backup: what was made from the events it lost halts, and says so.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::shared_log::{on, url};
use crate::support::{Host, events::amounts, guests, servers::Server};

/// Runs a program of PostgreSQL's own on a database, and takes what it says.
#[track_caller]
fn run(program: &str, url: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.arg(format!("--dbname={url}")).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.spawn().unwrap_or_else(|error| panic!("`{program}` cannot be run: {error}"));
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "`{program}` ended with {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A backup of the log.
#[track_caller]
fn dumped(server: &Server) -> String {
    run("pg_dump", url(server), &["--data-only", "--table=lantern.log", "--table=lantern.event"], "")
}

/// Puts the log back to what it was at the backup.
#[track_caller]
fn restore(server: &Server, backup: &str) {
    let restore = format!("truncate lantern.log, lantern.event;\n{backup}");
    run("psql", url(server), &["--set=ON_ERROR_STOP=1", "--single-transaction", "--quiet", "--file=-"], &restore);
}

/// A host whose projection has handled 100 events, and a backup of the log from when it had 60.
#[track_caller]
fn backed_up() -> (Server, Host, String) {
    let server = Server::start("postgres");
    let host = Host::start_with(on(url(&server)));
    host.deploy("totals", guests::COUNTER);
    host.append(&amounts(0, 60, 5));
    let backup = dumped(&server);
    host.append(&amounts(60, 40, 5));
    host.wait("totals");
    assert_eq!(host.number("totals", "handled"), 100);
    (server, host, backup)
}

/// Waits until a projection has halted, and answers why.
#[track_caller]
fn halted(host: &Host, name: &str) -> String {
    let status = host.wait_until(name, "to halt", |status| status["state"] == "error");
    status["last_error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_log_that_is_restored_from_a_backup_halts_what_was_made_from_later_events() {
    let (server, mut host, backup) = backed_up();
    let digest = host.digest("totals");

    host.kill();
    restore(&server, &backup);
    host.restart();
    assert_eq!(host.head(), 60);
    let reason = halted(&host, "totals");
    assert!(reason.contains("checkpoint is at 100, but the log ends at 60: it went back in time"), "{reason}");
    assert_eq!(host.digest("totals"), digest, "nothing is changed");

    // Others come in the place of the events that are lost, and more of them.
    host.append(&amounts(1_000, 60, 5));
    host.restart();
    let reason = halted(&host, "totals");
    assert!(reason.contains("another event at the checkpoint 100") && reason.contains("went back in time"), "{reason}");
    assert_eq!(host.digest("totals"), digest, "nothing is changed");

    // What begins anew goes on.
    host.rebuild("totals");
    host.wait("totals");
    assert_eq!(host.number("totals", "handled"), 120);
}

#[test]
fn a_log_that_is_restored_under_a_running_host_is_neither_read_nor_written_any_more() {
    let (server, mut host, backup) = backed_up();
    restore(&server, &backup);

    let event = amounts(1_000, 1, 1)[0].to_string();
    let headers = [("content-type", "application/cloudevents+json")];
    let refused = host.send("POST", "/api/v1/events", &headers, event.as_bytes());
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("went back in time: it ended at 100, and now it ends at 60"), "{}", refused.body);
    let reason = halted(&host, "totals");
    assert!(reason.contains("went back in time: it ended at 100, and now it ends at 60"), "{reason}");

    // Started again, the host takes the log as it is, and the checkpoint tells what it belongs to.
    host.restart();
    host.append(&amounts(1_000, 60, 5));
    let reason = halted(&host, "totals");
    assert!(reason.contains("went back in time"), "{reason}");
}
