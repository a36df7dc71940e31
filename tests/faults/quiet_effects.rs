//! Rebuilds and swaps during load cause no effect: no event emitted and no request sent beside those that were due.

use std::{collections::BTreeMap, thread};

use serde_json::{Value, json};

use crate::support::{
    Host,
    events::{event, id, lines},
    guests,
    sites::Site,
};

const EVENTS: u64 = 1_500;

#[test]
fn rebuilds_and_swaps_during_load_cause_no_extra_effect() {
    let site = Site::start();
    let host = Host::start();
    host.deploy_aggregate("Account", guests::ACCOUNT_V1, json!({}));
    host.deploy_handler("emitter", guests::EMITTER, json!({ "grants": { "emit": true } })).ok();
    host.deploy_handler("requester", guests::REQUESTER, json!({ "grants": { "http": [site.origin()] } })).ok();
    host.deploy("mirror", guests::MIRROR);
    host.deploy("totals", guests::COUNTER);

    let (client, origin) = (host.client(), site.origin());
    let load = thread::spawn(move || {
        for n in (0..EVENTS).step_by(10) {
            let trigger = |n: u64| event(n, &format!("Trigger-{n}"), "Triggered", json!({}));
            let mut events: Vec<Value> = (n..n + 10).map(trigger).collect();
            let call = json!({ "url": format!("{origin}/{n}"), "strict": true });
            events.push(event(EVENTS + n, &format!("Call-{n}"), "Called", call));
            let headers = [("content-type", "application/x-ndjson")];
            client.send("POST", "/api/v1/events", &headers, lines(&events).as_bytes()).unwrap().ok();
            let (path, amount) = ("/api/v1/commands/Account-1/Deposit", json!({ "amount": 1 }));
            let headers = [("content-type", "application/json")];
            client.send("POST", path, &headers, amount.to_string().as_bytes()).unwrap().ok();
        }
    });
    let mut round = 0;
    while !load.is_finished() {
        round += 1;
        host.handler("emitter").swap_variant(guests::EMITTER, round).ok();
        host.handler("requester").swap_variant(guests::REQUESTER, round).ok();
        host.swap_aggregate("Account", if round % 2 == 0 { guests::ACCOUNT_V1 } else { guests::ACCOUNT_V2 }).ok();
        for projection in ["mirror", "totals"] {
            host.rebuild(projection);
        }
    }
    load.join().unwrap();
    for handler in ["emitter", "requester"] {
        let status = host.handler(handler).wait();
        assert_eq!(status["parked_events"], 0, "{status}");
    }

    let mut emitted: BTreeMap<u64, u64> = BTreeMap::new();
    let mut triggers = Vec::new();
    let mut deposits = 0;
    for (position, line) in (1_u64..).zip(host.exported().lines()) {
        let event: Value = serde_json::from_str(line).unwrap();
        match event["type"].as_str().unwrap() {
            "Triggered" => triggers.push(position),
            "Emitted" => *emitted.entry(event["data"]["of"].as_u64().unwrap()).or_insert(0) += 1,
            "Deposited" => deposits += 1,
            _ => {}
        }
    }
    println!("{round} rounds of swaps and rebuilds, {} requests", site.requests().len());
    assert_eq!(deposits, EVENTS / 10);
    assert_eq!(emitted.keys().copied().collect::<Vec<_>>(), triggers);
    assert!(emitted.values().all(|count| *count == 1), "{emitted:?}");
    let mut asked: Vec<String> = site.requests().iter().map(|it| it.header("x-event").unwrap().to_owned()).collect();
    asked.sort();
    let wanted: Vec<String> = (0..EVENTS).step_by(10).map(|n| id(EVENTS + n)).collect();
    assert_eq!(asked, wanted, "each call once");
}
