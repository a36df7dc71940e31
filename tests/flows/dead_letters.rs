//! Dead letters: a stream that cannot go on is set aside in order; the others go on; an operator decides.

use serde_json::{Value, json};

use crate::support::{Host, events::event, guests};

/// No pause between attempts, so that no test waits for one.
fn quick(then: &str) -> Value {
    json!({ "failure_policy": { "attempts": 3, "backoff_ms": 1, "max_backoff_ms": 1, "then": then } })
}

fn good(n: u64, stream: &str) -> Value {
    event(n, stream, "Any", json!({}))
}

fn poison(n: u64, stream: &str) -> Value {
    event(n, stream, "Any", json!({ "poison": true }))
}

fn flaky(n: u64, stream: &str) -> Value {
    event(n, stream, "Any", json!({ "flaky": true }))
}

fn positions(host: &Host, stream: &str) -> Vec<u64> {
    let Some(document) = host.document("parking", "counts", stream) else { return Vec::new() };
    document["positions"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect()
}

fn letter(host: &Host, position: u64) -> Value {
    host.get(&format!("/api/v1/projections/parking/dead-letters/{position}")).ok()
}

fn retry(host: &Host, selection: Value) -> Value {
    host.post("/api/v1/projections/parking/dead-letters/retry", &selection).ok()
}

/// Stream `Item-a` is poisoned at 2, `Item-b` is well, `Item-c` is flaky at 6.
fn parking_host() -> Host {
    let host = Host::start();
    host.deploy_with("parking", guests::POISON, quick("park"));
    host.append(&[
        good(1, "Item-a"),
        poison(2, "Item-a"),
        good(3, "Item-b"),
        good(4, "Item-a"),
        good(5, "Item-c"),
        flaky(6, "Item-c"),
        good(7, "Item-b"),
        poison(8, "Item-a"),
        good(9, "Item-c"),
    ]);
    host.wait("parking");
    host
}

#[test]
fn a_failing_event_parks_its_stream_and_no_other() {
    let host = parking_host();
    assert_eq!(host.parked_positions("parking"), [2, 4, 6, 8, 9]);
    let standing: Vec<_> = host.dead_letters("parking").iter().map(|it| it["standing"].clone()).collect();
    assert_eq!(standing, ["failed", "behind", "failed", "behind", "behind"]);
    let status = host.status("parking");
    for (field, value) in [("parked_events", 5), ("parked_streams", 2), ("position", 9), ("lag", 0)] {
        assert_eq!(status[field], value, "{field}: {status}");
    }
    // Nothing of a failed call stays.
    assert_eq!(positions(&host, "Item-a"), [1]);
    assert_eq!(positions(&host, "Item-b"), [3, 7]);
    assert_eq!(positions(&host, "Item-c"), [5]);

    // Later events of the stream wait behind; later ones of others do not.
    host.append(&[good(10, "Item-a"), good(11, "Item-b"), good(12, "Item-d")]);
    host.wait("parking");
    assert_eq!(host.parked_positions("parking"), [2, 4, 6, 8, 9, 10]);
    assert_eq!(positions(&host, "Item-b"), [3, 7, 11]);
    assert_eq!(positions(&host, "Item-d"), [12]);
}

#[test]
fn a_dead_letter_says_what_happened() {
    let host = parking_host();
    let permanent = letter(&host, 2);
    assert_eq!((&permanent["kind"], &permanent["attempts"]), (&"permanent".into(), &1.into()), "{permanent}");
    assert!(permanent["error"].as_str().unwrap().contains("the event is poison"), "{permanent}");
    assert_eq!(permanent["event"]["data"], json!({ "poison": true }));
    let trace_id = permanent["trace_id"].as_str().unwrap();
    assert!(trace_id.len() == 32 && trace_id.bytes().all(|b| b.is_ascii_hexdigit()), "{trace_id}");

    // A transient failure was tried as often as the policy says.
    let transient = letter(&host, 6);
    assert_eq!((&transient["kind"], &transient["attempts"]), (&"transient".into(), &3.into()), "{transient}");
    // One that waits behind it was not tried.
    let behind = letter(&host, 9);
    assert_eq!((&behind["kind"], &behind["attempts"]), (&Value::Null, &0.into()), "{behind}");
    assert_eq!(host.get("/api/v1/projections/parking/dead-letters/3").status, 404);

    let shown = host.cli(&["dead-letter", "show", "parking", "2"]).ok().to_owned();
    assert!(shown.contains("the event is poison") && shown.contains(trace_id), "{shown}");
    let listed = host.cli(&["dead-letter", "list", "parking"]).ok().to_owned();
    assert!(listed.contains("Item-a") && listed.contains("Item-c") && !listed.contains("Item-b"), "{listed}");
}

#[test]
fn a_trap_is_kept_with_the_call_stack_of_the_guest() {
    let host = Host::start();
    host.deploy("parking", guests::TRAPPING);
    host.append(&[good(1, "Item-a")]);
    host.wait("parking");
    let letter = letter(&host, 1);
    assert_eq!(letter["kind"], "trap", "{letter}");
    assert!(letter["error"].as_str().unwrap().contains("cannot bear Any at position 1"), "{letter}");
    assert!(letter["backtrace"].as_str().unwrap().contains("trapping"), "{letter}");
}

#[test]
fn after_a_swap_to_a_mended_module_the_dead_letters_drain_in_order() {
    let mut host = parking_host();
    // What is poison stays parked, and keeps its place.
    let retried = retry(&host, json!({ "all": true }));
    assert_eq!((&retried["handled"], &retried["remaining"]), (&0.into(), &5.into()), "{retried}");
    assert_eq!(host.parked_positions("parking"), [2, 4, 6, 8, 9]);
    assert_eq!(letter(&host, 2)["attempts"], 2);

    // They are there after a restart.
    host.restart();
    assert_eq!(host.parked_positions("parking"), [2, 4, 6, 8, 9]);

    let swapped = host.swap("parking", guests::MENDED).ok();
    // The two that failed; those behind them were never tried.
    assert_eq!(swapped["parked_mended"], 2, "{swapped}");
    assert_eq!(host.parked_positions("parking"), [2, 4, 6, 8, 9], "a swap alone retries nothing");
    let retried = retry(&host, json!({ "stream": "Item-c" }));
    assert_eq!((&retried["handled"], &retried["remaining"]), (&2.into(), &3.into()), "{retried}");
    assert_eq!(positions(&host, "Item-c"), [5, 6, 9]);

    // An event that comes meanwhile waits for its turn.
    host.append(&[good(10, "Item-a")]);
    host.wait("parking");
    let ran = host.cli(&["dead-letter", "retry", "parking", "--all"]);
    ran.ok();
    assert_eq!(positions(&host, "Item-a"), [1, 2, 4, 8, 10]);
    let status = host.status("parking");
    assert_eq!((&status["parked_events"], &status["parked_streams"]), (&0.into(), &0.into()), "{status}");

    // The stream is free again.
    host.append(&[good(11, "Item-a")]);
    host.wait("parking");
    assert_eq!(positions(&host, "Item-a"), [1, 2, 4, 8, 10, 11]);
}

#[test]
fn only_the_first_of_a_stream_can_be_retried_or_skipped() {
    let host = parking_host();
    let retry = host.post("/api/v1/projections/parking/dead-letters/retry", &json!({ "position": 4 }));
    assert_eq!(retry.status, 409, "{}", retry.body);
    let skip = host.post("/api/v1/projections/parking/dead-letters/8/skip", &json!({}));
    assert_eq!(skip.status, 409, "{}", skip.body);
    assert!(skip.json()["detail"].as_str().unwrap().contains('2'), "{}", skip.body);
    assert_eq!(host.parked_positions("parking"), [2, 4, 6, 8, 9]);
}

#[test]
fn a_skipped_event_is_recorded_and_frees_the_next() {
    let host = parking_host();
    host.cli(&["dead-letter", "skip", "parking", "2"]).ok();
    assert_eq!(letter(&host, 2)["standing"], "skipped");
    retry(&host, json!({ "stream": "Item-a" }));
    // 4 is well and was handled; 8 is poison and holds the stream again.
    assert_eq!(positions(&host, "Item-a"), [1, 4]);
    assert_eq!(host.parked_positions("parking"), [6, 8, 9]);
    host.cli(&["dead-letter", "skip", "parking", "8"]).ok();
    host.append(&[good(10, "Item-a")]);
    host.wait("parking");
    assert_eq!(positions(&host, "Item-a"), [1, 4, 10]);
    let history = host.history("parking");
    let skipped: Vec<_> = history.iter().filter(|it| it["what"] == "skipped").map(|it| &it["position"]).collect();
    assert_eq!(skipped, [2, 8]);
}

#[test]
fn a_policy_may_skip_and_records_what_it_skipped() {
    let host = Host::start();
    host.deploy_with("parking", guests::POISON, quick("skip"));
    host.append(&[good(1, "Item-a"), poison(2, "Item-a"), good(3, "Item-a")]);
    host.wait("parking");
    assert_eq!(positions(&host, "Item-a"), [1, 3]);
    assert_eq!(letter(&host, 2)["standing"], "skipped");
    assert_eq!(host.number("parking", "parked_events"), 0);
}

#[test]
fn a_policy_may_stop_until_an_operator_resumes() {
    let host = Host::start();
    host.deploy_with("parking", guests::POISON, quick("stop"));
    host.append(&[good(1, "Item-a"), poison(2, "Item-a"), good(3, "Item-b")]);
    let status = host.wait_until("parking", "stopped by the failure", |status| status["state"] == "error");
    assert_eq!(status["last_error"]["position"], 2, "{status}");
    assert!(status["last_error"]["message"].as_str().unwrap().contains("the event is poison"), "{status}");
    assert_eq!(positions(&host, "Item-b"), [0; 0]);
    assert_eq!(host.history("parking").last().unwrap()["what"], "stopped");

    host.swap("parking", guests::MENDED).ok();
    host.command("parking", "resume").ok();
    host.wait("parking");
    assert_eq!(positions(&host, "Item-a"), [1, 2]);
    assert_eq!(positions(&host, "Item-b"), [3]);
}
