//! Limits: a guest that loops, sleeps, eats, overflows or floods is stopped, told apart, and the host goes on.

use serde_json::{Value, json};

use crate::support::{Host, events::event, guests, wait};

/// Hands one event to a guest under tight limits; answers the dead letter.
#[track_caller]
fn stopped(guest: &str, kinds: &[&str]) -> (Host, Value) {
    let host = Host::start();
    let limits = json!({ "limits": { "deadline_ms": 300, "memory_bytes": 32 * 1024 * 1024 } });
    host.deploy_with("bad", guest, limits);
    host.append(&[event(1, "Item-a", "Any", json!({}))]);
    assert_eq!(host.wait("bad")["parked_events"], 1);
    let letter = host.get("/api/v1/projections/bad/dead-letters/1").ok();
    assert!(kinds.iter().any(|kind| letter["kind"] == *kind), "{letter}");

    // It can be called again, and again it is stopped.
    let retried = host.post("/api/v1/projections/bad/dead-letters/retry", &json!({ "all": true })).ok();
    assert_eq!((&retried["handled"], &retried["remaining"]), (&0.into(), &1.into()), "{retried}");
    let again = host.get("/api/v1/projections/bad/dead-letters/1").ok();
    assert_eq!(again["kind"], letter["kind"], "{again}");
    (host, letter)
}

#[track_caller]
fn says(letter: &Value, words: &[&str]) {
    let error = letter["error"].as_str().unwrap();
    for word in words {
        assert!(error.contains(word), "no `{word}` in: {error}");
    }
}

#[test]
fn a_looping_guest_meets_its_deadline() {
    let (_host, letter) = stopped(guests::LOOPING, &["deadline"]);
    says(&letter, &["300"]);
}

#[test]
fn a_sleeping_guest_is_stopped() {
    stopped(guests::SLEEPY, &["deadline", "limit", "trap"]);
}

#[test]
fn a_trapping_guest_says_its_panic() {
    let (_host, letter) = stopped(guests::TRAPPING, &["trap"]);
    says(&letter, &["cannot bear Any at position 1"]);
}

#[test]
fn a_guest_that_overflows_its_stack_traps() {
    let (_host, letter) = stopped(guests::RECURSIVE, &["trap", "limit"]);
    says(&letter, &["stack"]);
}

#[test]
fn a_hungry_guest_meets_its_limit_and_the_host_stays_small() {
    let (host, letter) = stopped(guests::HUNGRY, &["limit", "trap"]);
    says(&letter, &["memory"]);
    let Some(peak) = peak_memory(host.pid()) else { return };
    assert!(peak < 1 << 30, "the host needed {} MiB", peak >> 20);
}

#[test]
fn the_log_of_a_flooding_guest_is_cut() {
    let mut host = Host::start();
    host.deploy("flood", guests::FLOODING);
    host.append(&[event(1, "Item-a", "Any", json!({})), event(2, "Item-b", "Any", json!({}))]);
    // Whether a call gets through its million lines before its deadline is a matter of the machine.
    host.wait("flood");
    wait::until("lost lines to be counted", || {
        host.metric("guest_log_lines_dropped_total", &[]).filter(|it| *it > 0.0)
    });

    // All lines of the log are there once the host has ended.
    assert!(host.terminate().success());
    let lines = host.output().lines();
    for position in 1..=2 {
        let flood = lines.iter().filter(|line| line.contains(&format!("of event {position}"))).count();
        assert!((1..=100).contains(&flood), "{flood} lines of the call at {position} came through");
    }
    let longest = lines.iter().map(String::len).max().unwrap_or(0);
    assert!(longest < 16 * 1024, "a line of {longest} bytes came through");
}

#[test]
fn a_limit_is_that_of_the_deployment() {
    let host = Host::start();
    let deployed =
        host.cli_json(&["projection", "deploy", "bad", "--module", &host.push(guests::LOOPING), "--deadline-ms", "50"]);
    assert_eq!(deployed["limits"]["deadline_ms"], 50, "{deployed}");
    host.append(&[event(1, "Item-a", "Any", json!({}))]);
    host.wait("bad");
    says(&host.get("/api/v1/projections/bad/dead-letters/1").ok(), &["50"]);
}

/// The most memory a process has had, in bytes; nothing where the system does not tell.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
