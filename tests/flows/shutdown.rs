//! Ending a host: what was acknowledged is there, what was in flight is committed or not begun, and it takes no time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use serde_json::json;

use crate::support::{
    Host, HostOptions,
    events::{amount, amounts, lines},
    guests, wait,
};

#[test]
fn an_idle_host_ends_in_good_order() {
    let mut host = Host::start();
    assert_eq!(host.terminate().code(), Some(0));
    host.restart();
    host.signal("INT");
    assert_eq!(host.ended().code(), Some(0));
}

#[test]
fn a_busy_host_ends_in_good_order_and_loses_nothing() {
    let mut host = Host::start();
    host.deploy("totals", guests::COUNTER);
    let acknowledged = AtomicU64::new(0);
    let client = host.client();
    thread::scope(|scope| {
        scope.spawn(|| {
            for first in (0..).step_by(50) {
                let headers = [("content-type", "application/x-ndjson")];
                let body = lines(&amounts(first, 50, 10));
                match client.send("POST", "/api/v1/events", &headers, body.as_bytes()) {
                    Ok(answer) if answer.status == 200 => acknowledged.store(first + 50, Ordering::Release),
                    // The host is going or gone: a refusal or no answer, never half an append.
                    _ => break,
                }
            }
        });
        wait::until("some appends", || (acknowledged.load(Ordering::Acquire) > 2000).then_some(()));
        assert_eq!(host.terminate().code(), Some(0));
    });

    let acknowledged = acknowledged.into_inner();
    host.restart();
    let head = host.head();
    assert!(head >= acknowledged, "{acknowledged} events were acknowledged, {head} are there");
    assert_eq!(head % 50, 0, "half an append is there: {head}");
    host.wait("totals");
    let counts = host.documents("totals", "counts");
    let sum: u64 = counts.values().map(|count| count["count"].as_u64().unwrap()).sum();
    assert_eq!(sum, head, "events were lost or handled twice over the restart");
}

#[test]
fn a_call_in_flight_does_not_hold_the_end_up() {
    let mut host = Host::start();
    host.deploy_with("stuck", guests::LOOPING, json!({ "limits": { "deadline_ms": 3_600_000 } }));
    host.append(&[amount(1, "Item-1")]);
    host.wait_until("stuck", "behind", |status| status["lag"] == 1);
    // The call would take an hour; waiting gives up long before.
    assert_eq!(host.terminate().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_host_at_once() {
    // Left alone, the end would take longer than any test waits.
    let mut host = Host::start_with(HostOptions::default().variable("LANTERN_SERVER_SHUTDOWN_SECONDS", "600"));
    host.deploy_with("stuck", guests::LOOPING, json!({ "limits": { "deadline_ms": 3_600_000 } }));
    host.append(&[amount(1, "Item-1")]);
    host.wait_until("stuck", "behind", |status| status["lag"] == 1);
    host.signal("TERM");
    let client = host.client();
    wait::until("the host to stop taking work", || {
        let ready = client.send("GET", "/health/ready", &[], &[]);
        ready.map_or(true, |answer| answer.status == 503).then_some(())
    });
    host.signal("TERM");
    assert_eq!(host.ended().code(), Some(143));
}
