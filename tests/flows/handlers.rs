//! Handlers: events emitted once for each trigger, with their place in the trace, and what an operator does with them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Host, events::event, guests};

fn emitting() -> Value {
    json!({ "grants": { "emit": true } })
}

fn trigger(n: u64, count: u64) -> Value {
    event(n, &format!("Trigger-{n}"), "Triggered", json!({ "count": count }))
}

impl Host {
    /// The emitted events in the log, by the position of their trigger: how many there are of each index.
    #[track_caller]
    fn emitted(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut emitted: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for line in self.exported().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            if event["type"] == "Emitted" {
                let (of, index) = (event["data"]["of"].as_u64().unwrap(), event["data"]["index"].as_u64().unwrap());
                emitted.entry(of).or_default().push(index);
            }
        }
        emitted
    }
}

#[test]
fn what_it_emits_follows_from_the_event_in_hand() {
    let host = Host::start();
    host.deploy_handler("emitter", guests::EMITTER, emitting()).ok();
    host.handler("emitter").wait_until("live", |status| status["state"] == "live");
    let mut first = trigger(1, 2);
    first["correlationid"] = "the-request".into();
    host.append(&[first]);
    host.handler("emitter").wait();
    let events: Vec<Value> = host.exported().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [trigger, a, b] = &events[..] else { panic!("{events:#?}") };
    for emitted in [a, b] {
        assert_eq!(emitted["subject"], "Emitted-1");
        assert_eq!((&emitted["correlationid"], &emitted["causationid"]), (&"the-request".into(), &trigger["id"]));
        let (parent, cause) = (emitted["traceparent"].as_str().unwrap(), trigger["traceparent"].as_str().unwrap());
        assert_eq!(parent[..36], cause[..36], "one trace");
        assert_ne!(parent[36..52], cause[36..52], "its parent is a span of the handler");
    }
    assert_ne!(a["id"], b["id"]);
    let status = host.handler("emitter").status();
    assert_eq!((&status["kind"], &status["emitted"]), (&"handler".into(), &2.into()), "{status}");
    // The span that is the parent of what was emitted belongs to the call of the handler.
    let traced = host.cli(&["trace", &events[0]["traceparent"].as_str().unwrap()[3..35]]);
    assert!(traced.ok().contains("emitter"), "{}", traced.stdout);
}

#[test]
fn nothing_is_done_that_is_not_granted() {
    let host = Host::start();
    for (guest, missing) in
        [(guests::EMITTER, "--grant emit"), (guests::SCHEDULER, "--grant schedule"), (guests::REQUESTER, "--http")]
    {
        let refused = host.deploy_handler(guest, guest, json!({}));
        assert!((400..500).contains(&refused.status), "{guest}: {}", refused.body);
        assert!(refused.body.contains(missing), "{guest}: {}", refused.body);
    }
    // Neither by a swap.
    host.deploy_handler("quiet", guests::TIMEKEEPER, json!({})).ok();
    let refused = host.handler("quiet").swap(guests::EMITTER);
    assert!((400..500).contains(&refused.status) && refused.body.contains("--grant emit"), "{}", refused.body);
    let module = host.push(guests::EMITTER);
    let projection = host.post("/api/v1/projections", &json!({ "name": "emitter", "module": module }));
    assert!((400..500).contains(&projection.status) && projection.body.contains("handler"), "{}", projection.body);
}

#[test]
fn effects_begin_where_the_deployment_says() {
    let host = Host::start();
    host.append(&[trigger(1, 1), trigger(2, 1), trigger(3, 1)]);
    let module = host.push(guests::EMITTER);
    let deploy = |name: &str, from: Option<Value>| {
        let mut body = json!({ "name": name, "module": module, "grants": { "emit": true } });
        if let Some(from) = from {
            body["from"] = from;
        }
        host.post("/api/v1/handlers", &body).ok();
        host.handler(name).wait();
        host.handler(name).number("handled")
    };
    assert_eq!(deploy("default", None), 0, "the end of the log");
    assert_eq!(deploy("all", Some("beginning".into())), 3);
    let file = crate::support::artefacts::component(guests::EMITTER);
    let file = file.to_str().unwrap();
    host.cli(&["handler", "deploy", "late", "--module", file, "--from", "3", "--grant", "emit"]).ok();
    host.handler("late").wait();
    assert_eq!(host.handler("late").number("handled"), 1, "from position 3 on");
}

#[test]
fn real_time_and_chance_must_be_granted() {
    let host = Host::start();
    host.append(&[event(1, "Item-1", "Counted", json!({}))]);
    let readings = |name: &str, grants: Value| {
        host.deploy_handler(name, guests::TIMEKEEPER, json!({ "grants": grants })).ok();
        host.handler(name).wait();
        host.handler(name).documents("readings").into_values().next().unwrap()
    };
    let (a, b) = (readings("a", json!({})), readings("b", json!({})));
    assert_eq!(a["system_time"], a["event_time"]);
    assert_eq!(a, b, "the same event, the same readings");
    let real = json!({ "time": true, "random": true });
    let (c, d) = (readings("c", real.clone()), readings("d", real));
    assert_ne!(c["system_time"], c["event_time"]);
    assert_ne!(c["random"], d["random"]);
}

#[test]
fn a_failed_call_emits_nothing_and_a_retry_emits_once() {
    let host = Host::start();
    host.deploy_handler("emitter", guests::EMITTER, emitting()).ok();
    host.append(&[
        event(1, "Trigger-1", "Triggered", json!({ "count": 2, "fail": true })),
        event(2, "Trigger-1", "Triggered", json!({ "count": 1 })),
        event(3, "Trigger-2", "Triggered", json!({ "count": 1, "trap": true })),
        trigger(4, 3),
    ]);
    host.handler("emitter").wait();
    assert_eq!(host.emitted(), BTreeMap::from([(4, vec![0, 1, 2])]));
    let letters = host.handler("emitter").dead_letters();
    let positions: Vec<_> = letters.iter().map(|letter| letter["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, [1, 2, 3], "the failed ones and the one behind");
    let listed = host.cli(&["dead-letter", "list", "emitter"]);
    assert!(listed.ok().contains("the trigger fails"), "{}", listed.stdout);

    host.cli(&["dead-letter", "skip", "emitter", "1"]).ok();
    host.cli(&["dead-letter", "retry", "emitter"]).ok();
    host.handler("emitter").wait();
    assert_eq!(host.emitted(), BTreeMap::from([(2, vec![0]), (4, vec![0, 1, 2])]), "what was behind is done once");
}

#[test]
fn an_operator_does_with_a_handler_what_he_does_with_a_projection() {
    let mut host = Host::start();
    host.deploy_handler("emitter", guests::EMITTER, emitting()).ok();
    host.deploy("counter", guests::COUNTER);
    host.cli(&["handler", "pause", "emitter"]).ok();
    host.append(&[trigger(1, 1)]);
    assert_eq!(host.handler("emitter").status()["state"], "paused");
    host.restart();
    assert_eq!(host.handler("emitter").status()["state"], "paused");
    assert!(host.emitted().is_empty());
    host.cli(&["handler", "resume", "emitter"]).ok();
    host.cli(&["handler", "wait", "emitter", "--timeout", "60"]).ok();
    assert_eq!(host.emitted(), BTreeMap::from([(1, vec![0])]));

    assert!(host.cli(&["handler", "list"]).ok().contains("emitter"));
    assert!(!host.cli(&["projection", "list"]).ok().contains("emitter"));
    let confused = host.cli(&["projection", "status", "emitter"]);
    assert!(confused.failed(4).contains("lantern handler"), "{}", confused.stderr);
    let taken = host.deploy_handler("counter", guests::EMITTER, emitting());
    assert!((400..500).contains(&taken.status), "{}", taken.body);
    host.cli(&["handler", "rebuild", "emitter"]).failed(2);
    assert_eq!(host.handler("emitter").command("rebuild").status, 404, "its effects are not repeated");
    let history = host.cli(&["handler", "history", "emitter"]);
    assert!(history.ok().contains("paused") && history.stdout.contains("resumed"), "{}", history.stdout);
    host.cli(&["handler", "remove", "emitter"]).ok();
    assert_eq!(host.get("/api/v1/handlers/emitter").status, 404);
}

#[test]
fn swaps_under_load_repeat_and_skip_nothing() {
    const EVENTS: u64 = 3_000;
    let host = Host::start();
    host.deploy_handler("emitter", guests::EMITTER, emitting()).ok();
    let client = host.client();
    let load = std::thread::spawn(move || {
        for first in (0..EVENTS).step_by(50) {
            let events: Vec<Value> = (first..first + 50).map(|n| trigger(n, 1)).collect();
            let headers = [("content-type", "application/cloudevents-batch+json")];
            client.send("POST", "/api/v1/events", &headers, Value::from(events).to_string().as_bytes()).unwrap().ok();
        }
    });
    let mut swaps = 0;
    while !load.is_finished() {
        host.handler("emitter").swap_variant(guests::EMITTER, swaps).ok();
        host.handler("emitter").command("rollback").ok();
        swaps = swaps.wrapping_add(1);
    }
    load.join().unwrap();
    host.handler("emitter").wait();
    assert!(host.handler("emitter").history().len() > 2);
    let emitted = host.emitted();
    let is_trigger = |line: &str| serde_json::from_str::<Value>(line).unwrap()["type"] == "Triggered";
    for (position, line) in (1_u64..).zip(host.exported().lines()) {
        let wanted = is_trigger(line).then(|| vec![0]);
        assert_eq!(emitted.get(&position).cloned(), wanted, "the event at {position}");
    }
    assert_eq!(emitted.len() as u64, EVENTS);
}
