//! Ten swaps while a client appends at full speed: nothing lost, nothing doubled, versions change where it is recorded.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::support::{Host, client::Client, events::lines, guests, orders::Orders, wait};

const SWAPS: u64 = 10;
/// How many events come between two swaps at least.
const BETWEEN: u64 = 300;

fn append_at_full_speed(client: &Client, ended: &AtomicBool) {
    let mut orders = Orders::default();
    while !ended.load(Ordering::Relaxed) {
        let headers = [("content-type", "application/x-ndjson")];
        client.send("POST", "/api/v1/events", &headers, lines(&orders.next(10)).as_bytes()).unwrap().ok();
    }
}

#[test]
fn ten_swaps_at_full_speed_lose_and_double_nothing() {
    let host = Host::start();
    host.deploy("orders", guests::ORDERS_V1);
    let ended = AtomicBool::new(false);
    let client = host.client();
    thread::scope(|scope| {
        let appending = scope.spawn(|| append_at_full_speed(&client, &ended));
        // Whatever fails here, the appending thread must end, or the scope waits for ever.
        let swapped = catch_unwind(AssertUnwindSafe(|| {
            for swap in 1..=SWAPS {
                let from = host.number("orders", "position");
                wait::until("events to flow", || (host.number("orders", "position") >= from + BETWEEN).then_some(()));
                host.swap("orders", [guests::ORDERS_V1, guests::ORDERS_V2][swap as usize % 2]).ok();
            }
            let from = host.number("orders", "position");
            wait::until("events to flow", || (host.number("orders", "position") >= from + BETWEEN).then_some(()));
        }));
        ended.store(true, Ordering::Relaxed);
        appending.join().unwrap();
        swapped.unwrap();
    });
    host.wait("orders");
    assert_eq!(host.number("orders", "parked_events"), 0);

    check_history(&host);
    host.check_orders("orders");
}

/// The history tells of every swap, in turn, with the events of one version between.
fn check_history(host: &Host) {
    let modules = [host.push(guests::ORDERS_V1), host.push(guests::ORDERS_V2)];
    let swaps: Vec<_> = host.history("orders").into_iter().filter(|entry| entry["what"] == "swapped").collect();
    assert_eq!(swaps.len() as u64, SWAPS);
    let mut at = 0;
    for (number, swap) in swaps.iter().enumerate() {
        let position = swap["position"].as_u64().unwrap();
        assert!(position >= at + BETWEEN / 2, "the events of one version are missing: {swap}");
        assert_eq!(swap["from"], modules[number % 2].as_str(), "{swap}");
        assert_eq!(swap["to"], modules[(number + 1) % 2].as_str(), "{swap}");
        at = position;
    }
}
