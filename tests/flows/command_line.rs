//! The command line: exit codes that scripts can use, errors as JSON, help for every verb.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{
    Host,
    cli::{self, Ran},
    events::{amount, amounts, lines},
    guests,
};

#[track_caller]
fn error(ran: &Ran, code: i32) -> Value {
    let said = ran.failed(code);
    serde_json::from_str(said).unwrap_or_else(|error| panic!("{}: no JSON ({error}): {said}", ran.command))
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let host = Host::start();
    host.append(&[amount(1, "Item-1")]);
    host.deploy("totals", guests::COUNTER);
    host.deploy_with("stuck", guests::LOOPING, serde_json::json!({ "limits": { "deadline_ms": 600_000 } }));

    for (code, arguments) in [
        (0, &["projection", "list"][..]),
        (1, &["module", "push", "Cargo.toml"]),
        (2, &["projection", "dance"]),
        (2, &["event", "append", "Item-1", "--data"]),
        (4, &["projection", "status", "other"]),
        (4, &["event", "get", "018f0000-0000-7000-8000-0000000000ff"]),
        (4, &["module", "inspect", "abcdef12"]),
        (5, &["event", "append", "Item-1", "Counted", "--data", "{}", "--expected", "no-stream"]),
        (5, &["projection", "rollback", "totals"]),
        (6, &["projection", "wait", "stuck", "--timeout", "1"]),
    ] {
        let ran = host.cli(arguments);
        assert_eq!(ran.code, Some(code), "{}\n{}\n{}", ran.command, ran.stdout, ran.stderr);
        assert_eq!(ran.stderr.trim().is_empty(), code == 0, "{}: {}", ran.command, ran.stderr);
    }
}

#[test]
fn an_unreachable_host_is_told_with_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let ran = cli::run(&["--host", &url, "projection", "list"]);
    let said = ran.failed(3);
    assert!(said.contains(&url) && said.contains("lantern serve"), "{said}");
}

#[test]
fn errors_are_problems_when_json_is_asked_for() {
    let host = Host::start();
    host.append(&[amount(1, "Item-1")]);
    let arguments = ["--json", "event", "append", "Item-1", "Counted", "--data", "{}", "--expected", "7"];
    let problem = error(&host.cli(&arguments), 5);
    assert_eq!((&problem["type"], &problem["status"]), (&"wrong-expected-version".into(), &409.into()), "{problem}");
    assert_eq!(problem["actual"], 1, "{problem}");
    let problem = error(&host.cli(&["--json", "projection", "status", "other"]), 4);
    assert!(problem["detail"].as_str().unwrap().contains("other"), "{problem}");
}

#[test]
fn an_event_is_appended_and_read_from_the_command_line() {
    let host = Host::start();
    let appended = host.cli_json(&["event", "append", "Item-1", "Counted", "--data", r#"{"amount":5}"#]);
    let id = appended["events"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(host.cli_json(&["event", "get", &id])["data"]["amount"], 5);
    let from_input = ["event", "append", "Item-1", "Counted", "--data", "-", "--expected", "1"];
    host.cli_with_input(&from_input, br#"{"amount":6}"#).ok();
    let file = host.scratch("data.json");
    std::fs::write(&file, r#"{"amount":7}"#).unwrap();
    let file = format!("@{}", file.display());
    host.cli(&["event", "append", "Item-2", "Counted", "--data", &file]).ok();

    let listed = host.cli_json(&["event", "list"]);
    let listed = listed["events"].as_array().or_else(|| listed.as_array()).unwrap();
    let amounts: Vec<_> = listed.iter().map(|event| event["data"]["amount"].as_u64().unwrap()).collect();
    assert_eq!(amounts, [5, 6, 7]);
    let stream = host.cli_json(&["event", "stream", "Item-1"]);
    let stream = stream["events"].as_array().or_else(|| stream.as_array()).unwrap();
    assert_eq!(stream.len(), 2);
    let shown = host.cli(&["event", "list"]).ok().to_owned();
    assert!(shown.contains("Item-2") && shown.contains("Counted"), "{shown}");
}

#[test]
fn every_verb_has_help() {
    let help = cli::run(&["--help"]);
    let help = help.ok();
    for verb in ["serve", "event", "module", "projection", "dead-letter", "trace"] {
        assert!(help.contains(verb), "no `{verb}` in:\n{help}");
        let of_verb = cli::run(&[verb, "--help"]);
        assert!(of_verb.ok().contains("Usage"), "{}", of_verb.stdout);
    }
    for code in ["0", "1", "2", "3", "4", "5", "6"] {
        assert!(help.contains(code), "exit code {code} is not documented:\n{help}");
    }
    assert!(cli::run(&["--version"]).ok().contains("lantern"));
}

#[test]
fn a_closed_pipe_ends_an_export_quietly() {
    let host = Host::start();
    host.cli_with_input(&["event", "import", "-"], lines(&amounts(0, 20_000, 10)).as_bytes()).ok();
    let mut command = cli::lantern();
    command.args(["--host", host.url(), "event", "export"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // The reader goes away after nothing, as `head` would after some lines.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn people_get_tables_and_programs_get_json() {
    let host = Host::start();
    host.append(&amounts(0, 30, 3));
    host.deploy("totals", guests::COUNTER);
    host.wait("totals");
    for arguments in [
        &["projection", "list"][..],
        &["projection", "status", "totals"],
        &["projection", "history", "totals"],
        &["projection", "query", "totals"],
        &["projection", "query", "totals", "counts"],
        &["projection", "digest", "totals"],
        &["dead-letter", "list", "totals"],
        &["module", "list"],
    ] {
        let shown = host.cli(arguments).ok().to_owned();
        assert!(!shown.trim().is_empty(), "{arguments:?} shows nothing");
        host.cli_json(arguments);
    }
    let shown = host.cli(&["projection", "list"]).ok().to_owned();
    assert!(shown.contains("totals") && shown.contains("live"), "{shown}");
}
