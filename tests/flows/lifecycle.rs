//! A projection's life: deployed, caught up, live, paused, resumed, restarted, removed.

use serde_json::{Value, json};

use crate::support::{
    Host,
    events::{amount, amounts, event},
    guests, wait,
};

fn positions(document: &Value) -> Vec<u64> {
    document["positions"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect()
}

#[test]
fn a_projection_catches_up_and_goes_live() {
    let host = Host::start();
    host.append(&amounts(0, 1000, 10));
    let deployed = host.deploy("totals", guests::COUNTER);
    assert_eq!((&deployed["name"], &deployed["generation"]), (&"totals".into(), &1.into()), "{deployed}");
    let status = host.wait("totals");
    for (field, value) in [("position", 1000), ("head", 1000), ("lag", 0), ("handled", 1000), ("parked_events", 0)] {
        assert_eq!(status[field], value, "{field}: {status}");
    }
    host.wait_until("totals", "live", |status| status["state"] == "live");
    assert_eq!(host.document("totals", "counts", "Item-3"), Some(json!({ "count": 100, "last_amount": 993 })));

    // Live: what is appended now is there, without waiting for anything but the position.
    let head = host.append(&[amount(5000, "Item-3")])["head"].as_u64().unwrap();
    let path = format!("/api/v1/projections/totals/documents/counts/Item-3?min_position={head}&timeout=60");
    let answer = host.get(&path).ok();
    assert_eq!(answer["value"], json!({ "count": 101, "last_amount": 5000 }));
    assert!(answer["position"].as_u64().unwrap() >= head);
}

#[test]
fn events_that_change_nothing_move_the_checkpoint() {
    let host = Host::start();
    host.deploy("idle", guests::EMPTY);
    let nothing = host.digest("idle");
    host.append(&amounts(0, 500, 5));
    let status = host.wait("idle");
    assert_eq!((&status["position"], &status["handled"]), (&500.into(), &500.into()));
    assert_eq!(host.digest("idle"), nothing);

    // A module that wants other categories passes over these, and has still seen the whole log.
    host.deploy("orders", guests::ORDERS_V1);
    let status = host.wait("orders");
    assert_eq!((&status["position"], &status["handled"]), (&500.into(), &0.into()), "{status}");
}

#[test]
fn documents_are_listed_by_prefix_and_page() {
    let host = Host::start();
    host.append(&amounts(0, 120, 120));
    host.deploy("totals", guests::COUNTER);
    host.wait("totals");
    let keys = |query: &str| -> Vec<String> {
        let page = host.get(&format!("/api/v1/projections/totals/documents/counts?{query}")).ok();
        page["documents"].as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("prefix=Item-11&limit=4"), ["Item-11", "Item-110", "Item-111", "Item-112"]);
    assert_eq!(keys("prefix=Item-11&after=Item-117"), ["Item-118", "Item-119"]);
    assert!(keys("prefix=Nothing").is_empty());
    let all = host.documents("totals", "counts");
    assert_eq!(all.len(), 120);
    let queried = host.cli_json(&["projection", "query", "totals", "counts", "--limit", "1000"]);
    let queried = queried.as_array().unwrap();
    assert_eq!(queried.len(), 120);
    for document in queried {
        assert_eq!(all.get(document["key"].as_str().unwrap()), Some(&document["value"]));
    }
}

#[test]
fn a_key_may_hold_any_character() {
    let host = Host::start();
    let stream = "Item-a/b c?d=e&f#g%ü";
    host.append(&[amount(1, stream)]);
    host.deploy("totals", guests::COUNTER);
    host.wait("totals");
    let one = host.cli_json(&["projection", "query", "totals", "counts", stream]);
    assert_eq!(one, json!([{ "key": stream, "value": { "count": 1, "last_amount": 1 } }]));
}

#[test]
fn a_paused_projection_handles_nothing_until_it_is_resumed() {
    let mut host = Host::start();
    host.append(&amounts(0, 100, 1));
    host.deploy("paused", guests::MENDED);
    host.deploy("witness", guests::MENDED);
    host.wait("paused");
    assert_eq!(host.command("paused", "pause").ok()["state"], "paused");

    host.append(&amounts(100, 400, 1));
    // The witness has seen them all; the paused one stands still.
    host.wait("witness");
    let status = host.status("paused");
    assert_eq!((&status["state"], &status["position"], &status["lag"]), (&"paused".into(), &100.into(), &400.into()));
    assert_eq!(positions(&host.document("paused", "counts", "Item-0").unwrap()), (1..=100).collect::<Vec<_>>());

    // Also after a restart.
    host.restart();
    host.append(&amounts(500, 1, 1));
    host.wait("witness");
    assert_eq!(host.status("paused")["state"], "paused");
    assert_eq!(host.number("paused", "position"), 100);

    host.command("paused", "resume").ok();
    host.wait("paused");
    assert_eq!(positions(&host.document("paused", "counts", "Item-0").unwrap()), (1..=501).collect::<Vec<_>>());
    assert_eq!(host.digest("paused"), host.digest("witness"));
}

#[test]
fn waiting_for_a_paused_projection_says_so() {
    let host = Host::start();
    host.deploy("totals", guests::COUNTER);
    host.command("totals", "pause").ok();
    host.append(&[amount(1, "Item-1")]);
    let answer = host.get("/api/v1/projections/totals/wait?timeout=60");
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(answer.json()["detail"].as_str().unwrap().contains("paused"), "{}", answer.body);
}

#[test]
fn a_projection_may_begin_at_the_end_or_in_the_middle() {
    let host = Host::start();
    host.append(&amounts(0, 10, 1));
    host.deploy_with("end", guests::MENDED, json!({ "from": "end" }));
    host.deploy_with("middle", guests::MENDED, json!({ "from": "after:7" }));
    host.append(&amounts(10, 2, 1));
    host.wait("end");
    host.wait("middle");
    assert_eq!(positions(&host.document("end", "counts", "Item-0").unwrap()), [11, 12]);
    assert_eq!(positions(&host.document("middle", "counts", "Item-0").unwrap()), [8, 9, 10, 11, 12]);
}

#[test]
fn a_module_reads_its_configuration() {
    let host = Host::start();
    host.append(&[event(1, "Item-1", "Any", json!({}))]);
    let module = host.push(guests::CONFIGURED);
    let deploy =
        ["projection", "deploy", "shop", "--module", &module, "--config", "currency=EUR", "--config", "vat=19=x"];
    host.cli(&deploy).ok();
    host.wait("shop");
    let expected = json!({ "currency": "EUR", "vat": "19=x" });
    assert_eq!(host.status("shop")["config"], expected);
    assert_eq!(host.document("shop", "settings", "Item-1"), Some(expected));
}

#[test]
fn a_removed_projection_leaves_room_for_another() {
    let mut host = Host::start();
    host.append(&amounts(0, 20, 2));
    host.deploy("totals", guests::COUNTER);
    host.wait("totals");
    host.delete("/api/v1/projections/totals").ok();
    host.get("/api/v1/projections/totals").problem(404, "not-found");
    host.restart();
    host.get("/api/v1/projections/totals").problem(404, "not-found");
    assert!(!host.history("totals").is_empty(), "the history went with the projection");

    // Its documents went with it: the new one has only its own.
    host.deploy_with("totals", guests::COUNTER, json!({ "from": "after:18" }));
    host.wait("totals");
    let counts = host.documents("totals", "counts");
    assert_eq!(counts.values().map(|count| count["count"].as_u64().unwrap()).sum::<u64>(), 2, "{counts:?}");
}

#[test]
fn a_projection_goes_on_where_it_was_after_a_restart() {
    let mut host = Host::start();
    host.append(&amounts(0, 50, 1));
    host.deploy("seen", guests::MENDED);
    host.wait("seen");
    assert!(host.terminate().success());
    host.restart();
    host.append(&amounts(50, 50, 1));
    host.wait("seen");
    assert_eq!(positions(&host.document("seen", "counts", "Item-0").unwrap()), (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_deployment_that_cannot_be_is_refused() {
    let host = Host::start();
    let module = host.push(guests::COUNTER);
    let deploy = |body: Value| host.post("/api/v1/projections", &body);
    deploy(json!({ "name": "totals", "module": module, "from": "beginning" })).ok();
    for (status, words, body) in [
        (409, "totals", json!({ "name": "totals", "module": module })),
        (422, "no name", json!({ "name": "no name", "module": module })),
        (404, "ffffffff", json!({ "name": "other", "module": "f".repeat(64) })),
        (422, "form", json!({ "name": "other", "module": module, "form": "end" })),
        (422, "sometimes", json!({ "name": "other", "module": module, "from": "sometimes" })),
        (422, "deadline", json!({ "name": "other", "module": module, "limits": { "deadline": 1 } })),
    ] {
        let answer = deploy(body.clone());
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.json()["detail"].as_str().unwrap().contains(words), "{body}: {}", answer.body);
    }
    let list = host.cli_json(&["projection", "list"]);
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn questions_about_what_is_not_there_say_what_is() {
    let host = Host::start();
    host.deploy("totals", guests::COUNTER);
    host.get("/api/v1/projections/other").problem(404, "not-found");
    let answer = host.get("/api/v1/projections/totals/documents/missing");
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert!(answer.json()["detail"].as_str().unwrap().contains("counts"), "{}", answer.body);
    host.get("/api/v1/projections/totals/documents/counts/nobody").problem(404, "not-found");
}

#[test]
fn who_follows_a_projection_is_told_of_every_move() {
    let host = Host::start();
    host.deploy("totals", guests::COUNTER);
    let mut told = host.client().follow("/api/v1/projections/totals/changes").filter_map(|line| {
        let data = line.strip_prefix("data:")?.to_owned();
        Some(serde_json::from_str::<Value>(&data).unwrap())
    });
    assert_eq!(told.next().unwrap()["position"], 0);
    host.append(&amounts(0, 25, 5));
    let last = told.find(|moved| moved["position"] == 25).expect("the stream ended before the projection moved");
    assert_eq!((&last["handled"], &last["generation"]), (&25.into(), &1.into()));
    // The stream ends with the projection.
    host.delete("/api/v1/projections/totals").ok();
    assert_eq!(told.count(), 0);
}

#[test]
fn many_projections_read_one_log() {
    let host = Host::start();
    let names: Vec<_> = (0..20).map(|n| format!("totals-{n}")).collect();
    for name in &names {
        host.deploy(name, guests::COUNTER);
    }
    host.append(&amounts(0, 200, 5));
    let digests: Vec<_> = names
        .iter()
        .map(|name| {
            host.wait(name);
            host.digest(name)
        })
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    wait::until("all to be live", || {
        let list = host.cli_json(&["projection", "list"]);
        list.as_array().unwrap().iter().all(|it| it["state"] == "live").then_some(())
    });
}
