//! Upcasters: older events reach every reader in the form it understands, and stay in the log as they are.

use serde_json::{Value, json};

use crate::support::{Answer, Host, events, events::event, guests};

impl Host {
    #[track_caller]
    fn deploy_upcaster(&self, name: &str, package: &str) -> Answer {
        self.post("/api/v1/upcasters", &json!({ "name": name, "module": self.push(package) }))
    }
}

fn counted(n: u64, amount: Value) -> Value {
    event(n, "Item-1", "Counted", json!({ "amount": amount }))
}

#[test]
fn each_reader_gets_the_newest_form_it_understands() {
    let host = Host::start();
    host.append(&[counted(1, json!(7))]);
    host.deploy_upcaster("widener", guests::WIDENER).ok();
    // It says that it understands version 2 of `Counted`; the chain goes on to 3.
    host.deploy("mirror", guests::MIRROR);
    host.wait("mirror");
    let seen = host.document("mirror", "seen", &events::id(1)).unwrap();
    assert_eq!(seen, json!({ "event_type": "Counted", "schema_version": 2, "data": { "amount": 7, "unit": "cent" } }));

    let newest = host.cli_json(&["event", "get", &events::id(1)]);
    assert_eq!(newest["data"], json!({ "amount": "7", "unit": "cent" }), "{newest}");
    let raw = host.cli_json(&["event", "get", &events::id(1), "--raw"]);
    assert_eq!(raw["data"], json!({ "amount": 7 }));
    assert!(host.exported().contains(r#""amount":7"#), "the log is never rewritten");
}

#[test]
fn a_renamed_type_is_seen_under_its_new_name() {
    let host = Host::start();
    host.deploy("mirror", guests::MIRROR);
    host.append(&[event(1, "Item-1", "Raised", json!({ "amount": 5 }))]);
    host.wait("mirror");
    host.deploy_upcaster("renamer", guests::RENAMER).ok();
    host.append(&[event(2, "Item-1", "Raised", json!({ "amount": 1 }))]);
    host.wait("mirror");
    let seen = |n| host.document("mirror", "seen", &events::id(n)).unwrap()["event_type"].clone();
    assert_eq!((seen(1), seen(2)), ("Raised".into(), "Counted".into()), "from its deployment on");
    host.rebuild("mirror");
    let seen = |n| host.document("mirror", "seen", &events::id(n)).unwrap()["event_type"].clone();
    assert_eq!((seen(1), seen(2)), ("Counted".into(), "Counted".into()));
}

#[test]
fn an_event_that_cannot_be_brought_to_the_newer_form_is_parked_until_the_upcaster_is_mended() {
    let mut host = Host::start();
    host.deploy_upcaster("widener", guests::WIDENER).ok();
    host.deploy("mirror", guests::MIRROR);
    host.append(&[counted(1, json!("many")), event(2, "Item-2", "Counted", json!({ "amount": 1 }))]);
    host.wait("mirror");
    assert_eq!(host.parked_positions("mirror"), [1]);
    let letter = host.dead_letters("mirror").remove(0);
    assert!(letter["error"].as_str().unwrap().contains("`amount` is missing or no number"), "{letter}");
    host.append(&[event(3, "Item-3", "Counted", json!({ "amount": "trap" }))]);
    host.wait("mirror");
    assert_eq!(host.parked_positions("mirror"), [1, 3], "a trap is no more than that");
    host.restart();
    // Without the upcaster the event is read as it is.
    host.delete("/api/v1/upcasters/widener").ok();
    host.cli(&["dead-letter", "retry", "mirror"]).ok();
    assert!(host.parked_positions("mirror").is_empty());
    let seen = host.document("mirror", "seen", &events::id(1)).unwrap();
    assert_eq!((&seen["schema_version"], &seen["data"]["amount"]), (&1.into(), &"many".into()));
}

#[test]
fn upcasters_are_listed_swapped_and_refused_where_they_collide() {
    let mut host = Host::start();
    host.deploy_upcaster("widener", guests::WIDENER).ok();
    let twice = host.deploy_upcaster("other", guests::WIDENER);
    assert!((400..500).contains(&twice.status), "{}", twice.body);
    assert!(twice.body.contains("widener") && twice.body.contains("Counted"), "{}", twice.body);
    let listed = host.cli(&["upcaster", "list"]);
    assert!(listed.ok().contains("widener"), "{}", listed.stdout);

    let module = host.push(guests::RENAMER);
    host.post("/api/v1/upcasters/widener/swap", &json!({ "module": module })).ok();
    host.append(&[event(1, "Item-1", "Raised", json!({ "amount": 5 }))]);
    assert_eq!(host.cli_json(&["event", "get", &events::id(1)])["type"], "Counted");
    host.post("/api/v1/upcasters/widener/rollback", &json!({})).ok();
    host.restart();
    assert_eq!(host.cli_json(&["event", "get", &events::id(1)])["type"], "Raised");
    let history = host.cli(&["upcaster", "history", "widener"]);
    assert!(history.ok().contains("swapped") && history.stdout.contains("rolled"), "{}", history.stdout);
    let wrong = host.deploy_upcaster("counter", guests::COUNTER);
    assert!((400..500).contains(&wrong.status) && wrong.body.contains("projection"), "{}", wrong.body);
}
