//! Many clients on few streams: no update is lost, nobody waits for ever, and conflicts are counted.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    Host,
    client::Client,
    events::{event, lines},
    guests,
};

const CLIENTS: u64 = 64;
const STREAMS: u64 = 10;
const COMMANDS: u64 = 25;

/// Sends commands until as many as wanted were accepted or rejected; how many were accepted.
fn send(client: &Client, number: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(number);
    let (mut sent, mut accepted) = (0, 0);
    while sent < COMMANDS {
        let kind = if random.u8(..) < 170 { "Deposit" } else { "Withdraw" };
        let path = format!("/api/v1/commands/Account-{}/{kind}", random.u64(0..STREAMS));
        let data = json!({ "amount": random.u64(1..50) }).to_string();
        let answer = client.send("POST", &path, &[("content-type", "application/json")], data.as_bytes()).unwrap();
        match answer.status {
            200 => (sent, accepted) = (sent + 1, accepted + 1),
            422 => sent += 1,
            409 | 503 => {}
            _ => panic!("{} answered {}: {}", answer.request, answer.status, answer.body),
        }
    }
    accepted
}

#[test]
fn no_update_of_many_clients_on_few_streams_is_lost() {
    let host = Host::start();
    host.deploy_aggregate("Account", guests::ACCOUNT_V1, json!({ "snapshots": "every-20" }));
    let over = AtomicBool::new(false);
    let (accepted, outside) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = host.client();
                scope.spawn(move || send(&client, number))
            })
            .collect();
        // Somebody who knows nothing of aggregates writes to the same streams.
        let outsider = scope.spawn(|| append_until(&host, &over));
        let accepted: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        over.store(true, Ordering::Relaxed);
        (accepted, outsider.join().unwrap())
    });

    let mut balances: BTreeMap<String, u64> = BTreeMap::new();
    let mut events = 0;
    for line in host.exported().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let amount = event["data"]["amount"].as_u64().unwrap();
        let balance = balances.entry(event["subject"].as_str().unwrap().to_owned()).or_insert(0);
        // A decision on a stale state would take out more than there is.
        *balance = match event["type"].as_str().unwrap() {
            "Deposited" => *balance + amount,
            _ => balance.checked_sub(amount).unwrap_or_else(|| panic!("overdrawn by {event}")),
        };
        events += 1;
    }
    assert_eq!(events, accepted + outside, "an event for each accepted command, and those from outside");
    for (stream, balance) in balances {
        assert_eq!(host.state(&stream)["balance"], balance, "{stream}");
    }
    let counters = host.aggregate("Account")["counters"].clone();
    println!("{accepted} accepted, {outside} from outside, {} decided anew", counters["conflicts_retried"]);
    assert_eq!(counters["commands"]["accepted"], accepted);
    assert!(counters["conflicts_retried"].as_u64() > Some(0), "{counters}");
    let shown = host.cli(&["aggregate", "status", "Account"]);
    assert!(shown.ok().contains("decided anew"), "{}", shown.stdout);
}

/// Deposits without asking the aggregate until told to end and a conflict was met; how many events it appended.
fn append_until(host: &Host, over: &AtomicBool) -> u64 {
    let mut appended = 0;
    while !over.load(Ordering::Relaxed) {
        let events: Vec<Value> = (0..STREAMS)
            .map(|stream| {
                appended += 1;
                event(appended, &format!("Account-{stream}"), "Deposited", json!({ "amount": 1 }))
            })
            .collect();
        let headers = [("content-type", "application/x-ndjson")];
        host.send("POST", "/api/v1/events", &headers, lines(&events).as_bytes()).ok();
    }
    appended
}
