//! Schedules: events put off are emitted once, when they are due, also when the host was down.

use std::{collections::BTreeMap, time::SystemTime};

use serde_json::{Value, json};

use crate::support::{Host, events::event, guests, wait};

fn scheduling() -> Value {
    json!({ "grants": { "schedule": true, "emit": true } })
}

/// An alarm that rings a while after now.
fn alarm(n: u64, key: &str, after_ms: u64) -> Value {
    let mut set = event(n, &format!("Alarm-{n}"), "AlarmSet", json!({ "key": key, "after_ms": after_ms }));
    set.as_object_mut().unwrap().remove("time");
    set
}

fn cancelled(n: u64, key: &str) -> Value {
    event(n, &format!("Alarm-{n}"), "AlarmCancelled", json!({ "key": key }))
}

impl Host {
    /// How often each alarm rang.
    #[track_caller]
    fn rings(&self) -> BTreeMap<String, u64> {
        let mut rings = BTreeMap::new();
        for line in self.exported().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            if event["type"] == "Rang" {
                *rings.entry(event["data"]["key"].as_str().unwrap().to_owned()).or_insert(0) += 1;
            }
        }
        rings
    }

    #[track_caller]
    fn scheduled(&self) -> Vec<String> {
        let listed = self.get("/api/v1/schedules").ok();
        let keys = listed["schedules"].as_array().unwrap().iter();
        keys.map(|schedule| schedule["key"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn what_is_due_is_emitted_once_and_what_is_cancelled_never() {
    let host = Host::start();
    host.deploy_handler("scheduler", guests::SCHEDULER, scheduling()).ok();
    host.append(&[
        alarm(1, "soon", 50),
        alarm(2, "late", 3_600_000),
        alarm(3, "gone", 3_600_000),
        cancelled(4, "gone"),
    ]);
    host.handler("scheduler").wait();
    wait::until("the alarm to ring", || (host.rings().get("soon") == Some(&1)).then_some(()));
    wait::until("only one to be left", || (host.scheduled() == ["late"]).then_some(()));

    let listed = host.cli(&["schedule", "list", "--handler", "scheduler"]);
    assert!(listed.ok().contains("late") && listed.stdout.contains("Rang"), "{}", listed.stdout);
    host.cli(&["schedule", "cancel", "scheduler", "late"]).ok();
    assert!(host.scheduled().is_empty());
    assert_eq!(host.cli(&["schedule", "cancel", "scheduler", "late"]).code, Some(4));
    // Replaced under its key: it rings once, for the later event.
    host.append(&[alarm(5, "again", 3_600_000), alarm(6, "again", 10)]);
    wait::until("the alarm to ring", || host.rings().contains_key("again").then_some(()));
    assert_eq!(host.rings(), BTreeMap::from([("again".into(), 1), ("soon".into(), 1)]));
}

#[test]
fn a_ring_follows_from_what_set_it() {
    let host = Host::start();
    host.deploy_handler("scheduler", guests::SCHEDULER, scheduling()).ok();
    host.handler("scheduler").wait_until("live", |status| status["state"] == "live");
    host.append(&[alarm(1, "soon", 1)]);
    wait::until("the alarm to ring", || host.rings().contains_key("soon").then_some(()));
    let events: Vec<Value> = host.exported().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (set, rang) = (&events[0], &events[1]);
    assert_eq!((&rang["subject"], &rang["causationid"]), (&"Ring-1".into(), &set["id"]));
    assert_eq!(rang["traceparent"].as_str().unwrap()[..36], set["traceparent"].as_str().unwrap()[..36]);
}

#[test]
fn what_was_due_while_the_host_was_down_is_emitted_at_its_start() {
    let mut host = Host::start();
    host.deploy_handler("scheduler", guests::SCHEDULER, scheduling()).ok();
    let alarms: Vec<Value> = (1..=20).map(|n| alarm(n, &format!("alarm-{n}"), 300)).collect();
    host.append(&alarms);
    host.handler("scheduler").wait();
    host.kill();
    let due = SystemTime::now();
    wait::until("the time to pass", || due.elapsed().is_ok_and(|since| since.as_millis() > 400).then_some(()));
    host.restart();
    wait::until("all to ring", || (host.rings().len() == 20).then_some(()));
    wait::until("none to be left", || host.scheduled().is_empty().then_some(()));
    assert!(host.rings().values().all(|count| *count == 1), "{:?}", host.rings());
    host.restart();
    assert_eq!(host.rings().values().sum::<u64>(), 20);
}

#[test]
fn thousands_due_at_once_all_arrive_while_others_go_on() {
    let host = Host::start();
    host.deploy_handler("scheduler", guests::SCHEDULER, scheduling()).ok();
    host.deploy("healthy", guests::MIRROR);
    let alarms: Vec<Value> = (1..=3_000).map(|n| alarm(n, &format!("alarm-{n}"), 1)).collect();
    for chunk in alarms.chunks(500) {
        host.append(chunk);
    }
    wait::until("all to ring", || (host.rings().len() == 3_000).then_some(()));
    assert!(host.rings().values().all(|count| *count == 1));
    host.wait("healthy");
}

#[test]
fn a_paused_handler_lets_nothing_out() {
    let host = Host::start();
    host.deploy_handler("scheduler", guests::SCHEDULER, scheduling()).ok();
    host.append(&[alarm(1, "paused", 3_600_000)]);
    host.handler("scheduler").wait();
    host.handler("scheduler").command("pause").ok();
    host.append(&[alarm(2, "soon", 0)]);
    assert_eq!(host.scheduled(), ["paused"]);
    host.handler("scheduler").command("resume").ok();
    wait::until("the alarm to ring", || host.rings().contains_key("soon").then_some(()));
}

#[test]
fn a_process_manager_follows_its_cases_and_their_time_outs() {
    let host = Host::start();
    let settings = json!({ "grants": { "schedule": true, "emit": true }, "config": { "patience-ms": "200" } });
    host.deploy_handler("claims", guests::CLAIMS, settings).ok();
    let opened = |n: u64| {
        let mut opened = event(n, &format!("Claim-{n}"), "ClaimOpened", json!({ "amount": n }));
        opened.as_object_mut().unwrap().remove("time");
        opened
    };
    host.append(&[opened(1), opened(2), event(3, "Claim-2", "ClaimSettled", json!({}))]);
    let counts = || host.handler("claims").document("counts", "all").unwrap_or_default();
    wait::until("the open claim to be escalated", || (counts()["escalated"] == 1).then_some(()));
    assert_eq!(counts(), json!({ "opened": 2, "settled": 1, "escalated": 1 }));
    assert!(host.handler("claims").documents("claims").is_empty(), "both are over");
    assert!(host.scheduled().is_empty());
    let escalated: Vec<_> =
        host.exported().lines().filter(|line| line.contains("ClaimEscalated")).map(str::to_owned).collect();
    assert_eq!(escalated.len(), 1);
    assert!(escalated[0].contains("Escalation-1"), "{escalated:?}");
}
