//! Commands: decided by an aggregate, appended once, rejected with a reason, safe from traps and from each other.

use serde_json::{Value, json};

use crate::support::{Answer, Host, events::event, guests};

const ID: &str = "018f0000-0000-7000-8000-00000000c0de";

fn bank(settings: Value) -> Host {
    let host = Host::start();
    host.deploy_aggregate("Account", guests::ACCOUNT_V1, settings);
    host
}

impl Host {
    #[track_caller]
    fn deposit(&self, stream: &str, amount: u64) -> Answer {
        self.order(stream, "Deposit", &json!({ "amount": amount }))
    }

    #[track_caller]
    fn with_id(&self, stream: &str, command: &str, data: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("idempotency-key", ID)];
        let path = format!("/api/v1/commands/{stream}/{command}");
        self.send("POST", &path, &headers, data.to_string().as_bytes())
    }

    #[track_caller]
    fn misses(&self, reason: &str) -> u64 {
        let status = self.aggregate("Account");
        status["counters"]["snapshots"]["misses"][reason].as_u64().unwrap_or_else(|| panic!("no {reason}: {status}"))
    }
}

#[test]
fn a_command_is_answered_with_where_its_events_stand() {
    let host = bank(json!({}));
    host.deploy("mirror", guests::MIRROR);
    let answer = host.deposit("Account-1", 5).ok();
    assert_eq!((&answer["version"], &answer["position"], &answer["repeated"]), (&1.into(), &1.into(), &false.into()));
    let id = answer["events"][0].as_str().unwrap();
    // What the command did is seen by a query that waits for its position.
    let query = format!("/api/v1/projections/mirror/documents/seen/{id}?min_position={}", answer["position"]);
    assert_eq!(host.get(&query).ok()["value"]["data"], json!({ "amount": 5 }));
    assert_eq!(host.state("Account-1")["balance"], 5);

    let sent = host.cli_json(&["command", "send", "Account-1", "Withdraw", "--data", r#"{"amount":2}"#]);
    assert_eq!((&sent["version"], &sent["attempts"]), (&2.into(), &1.into()));
    let nothing = host.order("Account-1", "Wait", &json!({})).ok();
    assert_eq!((&nothing["version"], &nothing["events"]), (&2.into(), &json!([])));
    let said = host.cli(&["aggregate", "show", "Account-1"]);
    assert!(said.ok().contains("Account-1 at version 2") && said.ok().contains("\"balance\": 3"), "{}", said.stdout);
    let then = host.cli_json(&["aggregate", "show", "Account-1", "--version", "1"]);
    assert_eq!((&then["version"], &then["state"]["balance"]), (&1.into(), &5.into()));
}

#[test]
fn a_rejection_says_why_and_appends_nothing() {
    let host = bank(json!({}));
    host.deposit("Account-1", 5).ok();
    let problem = host.order("Account-1", "Withdraw", &json!({ "amount": 7 })).problem(422, "rejected");
    assert_eq!(problem["code"], "insufficient");
    assert_eq!(problem["message"], "the account has 5, which is less than 7");
    assert_eq!(problem["details"], json!({ "balance": 5, "asked": 7 }));
    assert_eq!(host.head(), 1);

    let rejected = host.cli(&["command", "send", "Account-1", "Withdraw", "--data", r#"{"amount":7}"#]);
    let conflict = host.cli(&["command", "send", "Account-1", "Wait", "--expect", "9"]);
    assert_ne!(rejected.code, conflict.code, "scripts can tell a rejection from a conflict");
    assert!(rejected.failed(rejected.code.unwrap()).contains("which is less than 7"), "{}", rejected.stderr);
    assert!(conflict.failed(5).contains("is at version 1, expected 9"), "{}", conflict.stderr);
    assert_eq!(host.aggregate("Account")["counters"]["commands"]["rejected"], 2);
}

#[test]
fn a_command_sent_twice_has_one_effect_and_the_same_answer() {
    let mut host = bank(json!({}));
    let first = host.with_id("Account-1", "Deposit", &json!({ "amount": 5 })).ok();
    host.deposit("Account-1", 1).ok();
    host.kill();
    host.restart();
    let again = host.with_id("Account-1", "Deposit", &json!({ "amount": 5 })).ok();
    for part in ["stream", "version", "position", "events"] {
        assert_eq!(first[part], again[part], "{part}");
    }
    assert_eq!((&first["repeated"], &again["repeated"]), (&false.into(), &true.into()));
    assert_eq!((host.head(), &host.state("Account-1")["balance"]), (2, &6.into()));
    host.with_id("Account-2", "Deposit", &json!({ "amount": 5 })).problem(409, "id-taken");
}

#[test]
fn what_cannot_be_a_command_is_refused_by_name() {
    let host = bank(json!({}));
    let unknown = host.order("Order-1", "Place", &json!({})).problem(404, "not-found");
    assert!(unknown["detail"].as_str().unwrap().contains("Account"), "says what is deployed: {unknown}");
    let command = host.order("Account-1", "Dance", &json!({})).problem(404, "not-found");
    assert!(command["detail"].as_str().unwrap().contains("Deposit"), "says what it knows: {command}");
    host.send("POST", "/api/v1/commands/Account-1/Deposit", &[("content-type", "application/json")], b"{")
        .problem(422, "invalid-request");
    let misfit = host.order("Account-1", "Deposit", &json!({ "amount": "five" }));
    assert!((400..600).contains(&misfit.status) && misfit.body.contains("five"), "{}", misfit.body);
    host.cli(&["command", "send", "Account", "Deposit"]).failed(2);
    host.cli(&["command", "send", "Account-1", "Deposit", "--data", "{"]).failed(2);
    assert_eq!(host.head(), 0);
}

#[test]
fn a_trap_or_a_loop_harms_neither_the_aggregate_nor_its_neighbours() {
    let host = bank(json!({ "limits": { "deadline_ms": 300 } }));
    host.deposit("Account-1", 5).ok();
    for bad in ["Trap", "Loop"] {
        let answer = host.order("Account-1", bad, &json!({}));
        assert_eq!(answer.status, 500, "{}", answer.body);
        let problem = answer.problem(500, "module-failed");
        assert_eq!(problem["trace_id"].as_str().map(str::len), Some(32), "{problem}");
        assert_eq!(host.state("Account-1")["balance"], 5);
        host.deposit("Account-1", 1).ok();
        host.order("Account-1", "Withdraw", &json!({ "amount": 1 })).ok();
        host.deposit("Account-2", 1).ok();
    }
    // The event is in the log although the aggregate cannot be loaded over it any more.
    let cursed = host.order("Account-3", "Curse", &json!({})).ok();
    assert_eq!(cursed["version"], 1);
    host.deposit("Account-3", 1).problem(500, "module-failed");
    host.deposit("Account-1", 1).ok();
}

#[test]
fn events_from_outside_are_seen_before_the_next_decision() {
    let host = bank(json!({}));
    host.deposit("Account-1", 5).ok();
    host.append(&[event(1, "Account-1", "Deposited", json!({ "amount": 100 }))]);
    let answer = host.order("Account-1", "Withdraw", &json!({ "amount": 50 })).ok();
    assert_eq!((&answer["version"], &host.state("Account-1")["balance"]), (&3.into(), &55.into()));
    let path = "/api/v1/commands/Account-1/Deposit?expect=3";
    assert_eq!(host.post(path, &json!({ "amount": 1 })).ok()["version"], 4);
    host.post(path, &json!({ "amount": 1 })).problem(409, "wrong-expected-version");
}

#[test]
fn a_swap_decides_by_the_new_rules_and_a_rollback_by_the_old() {
    let mut host = bank(json!({ "snapshots": "every-2" }));
    for _ in 0..4 {
        host.deposit("Account-1", 1000).ok();
    }
    host.order("Account-1", "Withdraw", &json!({ "amount": 2000 })).ok();
    host.swap_aggregate("Account", guests::ACCOUNT_V2).ok();
    let problem = host.order("Account-1", "Withdraw", &json!({ "amount": 1500 })).problem(422, "rejected");
    assert_eq!(problem["code"], "over-limit");
    assert_eq!(host.state("Account-1"), json!({ "balance": 2000, "deposits": 4, "withdrawals": 1, "notes": [] }));
    host.post("/api/v1/aggregates/Account/rollback", &json!({})).ok();
    host.order("Account-1", "Withdraw", &json!({ "amount": 1500 })).ok();

    let told = |host: &Host| {
        let history = host.get("/api/v1/aggregates/Account/history").ok();
        let entries = history["entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["what"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&host), ["aggregate-deployed", "swapped", "rolled-back"]);
    host.restart();
    assert_eq!(told(&host).len(), 3);
    host.order("Account-1", "Withdraw", &json!({ "amount": 500 })).ok();
    assert_eq!(host.state("Account-1")["balance"], 0);
}

#[test]
fn a_module_of_another_kind_does_not_take_over() {
    let host = bank(json!({}));
    host.deposit("Account-1", 5).ok();
    let refused = host.swap_aggregate("Account", guests::COUNTER);
    assert!((400..500).contains(&refused.status), "{}", refused.body);
    assert!(refused.body.contains("projection"), "{}", refused.body);
    host.deposit("Account-1", 5).ok();
    let module = host.push(guests::ACCOUNT_V1);
    let wrong = host.post("/api/v1/projections", &json!({ "name": "account", "module": module }));
    assert!((400..500).contains(&wrong.status) && wrong.body.contains("aggregate"), "{}", wrong.body);
}

#[test]
fn snapshots_are_taken_by_policy_and_used() {
    let mut host = bank(json!({ "snapshots": "every-10" }));
    for _ in 0..25 {
        host.deposit("Account-1", 1).ok();
    }
    let written = |host: &Host| host.aggregate("Account")["counters"]["snapshots"]["written"].as_u64().unwrap();
    crate::support::wait::until("two snapshots to be written", || (written(&host) == 2).then_some(()));
    host.restart();
    host.deposit("Account-1", 1).ok();
    let counters = host.aggregate("Account")["counters"].clone();
    assert_eq!(counters["snapshots"]["hits"], 1, "{counters}");
    assert_eq!(host.state("Account-1")["balance"], 26);

    // Another form of the state: counted as a miss, and folded anew.
    host.swap_aggregate("Account", guests::ACCOUNT_V2).ok();
    host.deposit("Account-1", 1).ok();
    assert_eq!(host.misses("schema_mismatch"), 1);
    assert_eq!(host.state("Account-1")["deposits"], 27);
}

#[test]
fn a_manual_snapshot_is_taken_when_asked_for() {
    let mut host = bank(json!({ "snapshots": "manual" }));
    for _ in 0..3 {
        host.deposit("Account-1", 1).ok();
    }
    assert_eq!(host.aggregate("Account")["counters"]["snapshots"]["written"], 0);
    assert!(host.cli(&["aggregate", "snapshot", "Account-1"]).ok().contains("version 3"));
    host.restart();
    host.deposit("Account-1", 1).ok();
    assert_eq!(host.aggregate("Account")["counters"]["snapshots"]["hits"], 1);

    let host = bank(json!({ "snapshots": "never" }));
    host.deposit("Account-1", 1).ok();
    let refused = host.post("/api/v1/streams/Account-1/snapshot", &json!({}));
    assert!((400..500).contains(&refused.status), "{}", refused.body);
}

#[test]
fn aggregates_are_listed_shown_and_removed() {
    let host = bank(json!({ "config": { "key": "value" } }));
    host.deposit("Account-1", 5).ok();
    assert!(host.cli(&["aggregate", "list"]).ok().contains("Account"));
    let status = host.cli(&["aggregate", "status", "Account"]);
    assert!(status.ok().contains("Deposit") && status.stdout.contains("1 accepted"), "{}", status.stdout);
    let metrics = host.get("/metrics").body;
    assert!(metrics.contains("aggregate=\"Account\""), "{metrics}");
    let module = host.push(guests::ACCOUNT_V1);
    let kept = host.delete(&format!("/api/v1/modules/{module}"));
    assert!((400..500).contains(&kept.status), "a module in use stays: {}", kept.body);
    host.delete("/api/v1/aggregates/Account").ok();
    host.deposit("Account-1", 5).problem(404, "not-found");
    host.deploy_aggregate("Account", guests::ACCOUNT_V1, json!({}));
    assert_eq!(host.deposit("Account-1", 5).ok()["version"], 2, "the stream stayed in the log");
}

#[test]
fn an_aggregate_without_the_sdk_is_served_too() {
    let host = Host::start();
    host.deploy_aggregate("Nod", guests::NODDING, json!({ "snapshots": "every-1" }));
    for version in 1..=3 {
        assert_eq!(host.order("Nod-1", "Anything", &json!({})).ok()["version"], version);
    }
    assert_eq!(host.state("Nod-1"), json!({}));
}
