//! Rebuild: beside the live generation, promoted in one step, and the same bytes each time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::json;

use crate::support::{
    Host,
    events::{amount, amounts, event, lines},
    guests, wait,
};

#[test]
fn two_rebuilds_have_one_digest() {
    let host = Host::start();
    host.append(&amounts(0, 3000, 50));
    for guest in [guests::CLOCKWORK, guests::COUNTER] {
        host.deploy(guest, guest);
        host.wait(guest);
        let live = host.digest(guest);
        for generation in 2..=3 {
            let status = host.rebuild(guest);
            assert_eq!((&status["generation"], &status["position"]), (&generation.into(), &3000.into()), "{status}");
            assert_eq!(host.digest(guest), live, "generation {generation} of {guest} differs");
        }
    }
}

#[test]
fn another_host_with_the_same_log_has_the_same_digest() {
    let (first, second) = (Host::start(), Host::start());
    first.append(&amounts(0, 500, 5));
    first.deploy("clockwork", guests::CLOCKWORK);
    // The second host has the events first and the projection later; the first the other way round.
    second.cli_with_input(&["event", "import", "-"], first.exported().as_bytes()).ok();
    second.deploy("clockwork", guests::CLOCKWORK);
    first.wait("clockwork");
    second.wait("clockwork");
    assert_eq!(first.digest("clockwork"), second.digest("clockwork"));
    // A digest that never differs proves nothing.
    second.append(&[amount(500, "Item-0")]);
    second.wait("clockwork");
    assert_ne!(first.digest("clockwork"), second.digest("clockwork"));
}

#[test]
fn the_clock_of_a_projection_shows_the_time_of_the_event() {
    let host = Host::start();
    host.append(&[event(1, "Item-1", "Any", json!({})), event(2, "Item-1", "Any", json!({}))]);
    host.deploy("clockwork", guests::CLOCKWORK);
    host.wait("clockwork");
    let readings = host.documents("clockwork", "readings");
    let mut randoms = Vec::new();
    for reading in readings.values() {
        for clock in ["event_time", "system_time", "wall_clock"] {
            let time = reading[clock].as_str().unwrap();
            assert!(time.starts_with("2026-01-02T03:04:05"), "{clock}: {reading}");
        }
        randoms.push(reading["random"].as_u64().unwrap());
    }
    assert_eq!(randoms.len(), 2);
    assert_ne!(randoms[0], randoms[1], "two events have the same random numbers");
}

#[test]
fn a_rebuild_while_events_flow_is_promoted_without_a_failed_or_older_read() {
    let host = Host::start();
    host.append(&amounts(0, 5000, 20));
    host.deploy("totals", guests::COUNTER);
    host.wait("totals");

    let done = AtomicBool::new(false);
    let (appender, reader) = (host.client(), host.client());
    thread::scope(|scope| {
        let appended = scope.spawn(|| {
            let mut next = 5000;
            while !done.load(Ordering::Relaxed) {
                let body = lines(&amounts(next, 20, 20));
                let headers = [("content-type", "application/x-ndjson")];
                appender.send("POST", "/api/v1/events", &headers, body.as_bytes()).unwrap().ok();
                next += 20;
            }
            next
        });
        let read = scope.spawn(|| {
            let (mut reads, mut last) = (0_u64, 0);
            while !done.load(Ordering::Relaxed) {
                let path = "/api/v1/projections/totals/documents/counts/Item-7";
                let count = reader.send("GET", path, &[], &[]).unwrap().ok()["value"]["count"].as_u64().unwrap();
                assert!(count >= last, "a read went back from {last} to {count}");
                (reads, last) = (reads + 1, count);
            }
            reads
        });
        // Whatever fails here, the two threads must end, or the scope waits for ever.
        let rebuilt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            host.rebuild("totals");
            host.rebuild("totals");
        }));
        done.store(true, Ordering::Relaxed);
        let (appended, reads) = (appended.join().unwrap(), read.join().unwrap());
        rebuilt.unwrap();
        assert!(appended > 5000 && reads > 0);

        host.wait("totals");
        assert_eq!(host.number("totals", "generation"), 3);
        let counts = host.documents("totals", "counts");
        let sum: u64 = counts.values().map(|count| count["count"].as_u64().unwrap()).sum();
        assert_eq!(sum, appended, "events were lost or doubled by the promotion");
    });
    let digest = host.digest("totals");
    host.rebuild("totals");
    assert_eq!(host.digest("totals"), digest);
}

#[test]
fn a_rebuild_with_another_module_fills_in_what_was_before() {
    let host = Host::start();
    let order = |n: u64| crate::support::events::order_placed(n, n);
    host.append(&(1..=70).map(order).collect::<Vec<_>>());
    host.deploy("orders", guests::ORDERS_V1);
    host.wait("orders");
    let v2 = host.push(guests::ORDERS_V2);
    let ran = host.cli(&["projection", "rebuild", "orders", "--module", &v2, "--wait"]);
    ran.ok();
    assert_eq!(host.status("orders")["module"], v2.as_str());
    assert_eq!(host.documents("orders", "by_customer").len(), 7);
    let history = host.history("orders");
    let last = history.last().unwrap();
    assert_eq!((&last["what"], &last["generation"], &last["previous"]), (&"promoted".into(), &2.into(), &1.into()));

    // Back to the generation before, and what has come meanwhile is not lost.
    host.append(&[order(71)]);
    host.wait("orders");
    host.command("orders", "rollback").ok();
    host.wait("orders");
    let totals = host.document("orders", "totals", "all").unwrap();
    assert_eq!(totals["placed"], 71, "{totals}");
}

#[test]
fn a_rebuild_goes_on_after_a_restart_or_starts_again() {
    let mut host = Host::start();
    host.append(&amounts(0, 9000, 20));
    host.deploy("totals", guests::COUNTER);
    host.wait("totals");
    let digest = host.digest("totals");
    host.command("totals", "rebuild").ok();
    host.kill();
    host.restart();
    // Either it had been promoted before the crash, or it is taken up again, or it was given up and says so.
    let status = host.wait_until("totals", "the rebuild to be settled", |status| status["rebuild"].is_null());
    if status["generation"] == 1 {
        host.rebuild("totals");
    }
    host.wait("totals");
    assert_eq!(host.digest("totals"), digest);
    wait::until("the projection to be live", || (host.status("totals")["state"] == "live").then_some(()));
}

#[test]
fn a_rebuild_by_a_module_that_fails_parks_only_in_the_new_generation() {
    let host = Host::start();
    host.append(&[event(1, "Item-a", "Any", json!({})), event(2, "Item-b", "Any", json!({ "poison": true }))]);
    host.deploy("counts", guests::MENDED);
    host.wait("counts");
    let poison = host.push(guests::POISON);
    host.post("/api/v1/projections/counts/rebuild", &json!({ "module": poison })).ok();
    let status = host.wait_until("counts", "the rebuild to be settled", |status| status["rebuild"].is_null());
    // Promoted with a dead letter, or given up: never a hole without a record.
    if status["generation"] == 2 {
        assert_eq!(host.parked_positions("counts"), [2]);
    } else {
        assert_eq!(host.document("counts", "counts", "Item-b").unwrap()["count"], 1);
    }
}
