//! `kill -9` around swaps and rollbacks: the read model and the history never disagree about who handled what.
//!
//! `LANTERN_KILL_SEED` repeats a run.

use std::{thread, time::Duration};

use serde_json::json;

use crate::support::{Host, client::Client, events::lines, guests, orders::Orders};

const ROUNDS: u64 = 12;

/// Appends orders for as long as the host answers. A batch without answer is sent again in the next round, and so on.
fn append_until_the_host_is_gone(client: &Client, orders: &mut Orders, unanswered: &mut String) {
    loop {
        if unanswered.is_empty() {
            *unanswered = lines(&orders.next(5));
        }
        let headers = [("content-type", "application/x-ndjson")];
        let Ok(answer) = client.send("POST", "/api/v1/events", &headers, unanswered.as_bytes()) else { return };
        answer.ok();
        unanswered.clear();
    }
}

/// Swaps to and fro, with a rollback now and then, for as long as the host answers.
fn swap_until_the_host_is_gone(client: &Client, modules: &[String; 2], random: &mut fastrand::Rng) {
    loop {
        let (path, body) = match random.u8(0..3) {
            0 => ("/api/v1/projections/orders/rollback", json!({})),
            one => ("/api/v1/projections/orders/swap", json!({ "module": modules[usize::from(one - 1)] })),
        };
        // A swap to the module that runs is refused, which is fine.
        if client.send("POST", path, &[], body.to_string().as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_swap_is_whole_or_not_at_all() {
    let seed = std::env::var("LANTERN_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("LANTERN_KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let mut host = Host::start();
    host.deploy("orders", guests::ORDERS_V1);
    let modules = [host.push(guests::ORDERS_V1), host.push(guests::ORDERS_V2)];
    let (mut orders, mut unanswered) = (Orders::default(), String::new());
    for _ in 0..ROUNDS {
        let (client, moment) = (host.client(), Duration::from_millis(random.u64(20..300)));
        thread::scope(|scope| {
            let (appends, swaps) = (client.clone(), client.clone());
            let (orders, unanswered) = (&mut orders, &mut unanswered);
            scope.spawn(move || append_until_the_host_is_gone(&appends, orders, unanswered));
            let (modules, mut random) = (&modules, random.fork());
            scope.spawn(move || swap_until_the_host_is_gone(&swaps, modules, &mut random));
            thread::sleep(moment);
            host.kill();
        });
        host.restart();
    }
    host.wait("orders");
    let changes = host.history("orders").len();
    assert!(changes > ROUNDS as usize, "only {changes} swaps came through");
    host.check_orders("orders");
    // What the status says is what the history ends with.
    let last = host.history("orders").into_iter().rfind(|it| it["to"].is_string()).unwrap();
    assert_eq!(host.status("orders")["module"], last["to"]);
}
