//! Swap and rollback: between two events, tried before, kept in the history, refused without harm.

use serde_json::{Value, json};

use crate::support::{
    Host,
    events::{amounts, event, order_placed, order_shipped},
    guests,
};

/// What happened, and where.
fn happenings(host: &Host, name: &str) -> Vec<(String, Option<u64>)> {
    let what = |entry: &Value| (entry["what"].as_str().unwrap().to_owned(), entry["position"].as_u64());
    host.history(name).iter().map(what).collect()
}

#[test]
fn a_swap_keeps_the_read_model_and_a_rollback_goes_back() {
    let mut host = Host::start();
    host.append(&[order_placed(1, 1), order_placed(2, 2)]);
    host.deploy("orders", guests::ORDERS_V1);
    host.wait("orders");
    let (v1, v2) = (host.push(guests::ORDERS_V1), host.push(guests::ORDERS_V2));

    let swapped = host.swap("orders", guests::ORDERS_V2).ok();
    assert_eq!((&swapped["position"], &swapped["dry_run_events"]), (&2.into(), &2.into()), "{swapped}");
    assert_eq!((&swapped["from"], &swapped["to"]), (&v1.as_str().into(), &v2.as_str().into()));
    let status = host.status("orders");
    assert_eq!((&status["module"], &status["previous_module"]), (&v2.as_str().into(), &v1.as_str().into()));

    host.append(&[order_shipped(3, 1), order_placed(4, 3)]);
    host.wait("orders");
    let handled_by = |order: &str| {
        let order = host.document("orders", "orders", order).unwrap();
        (order["handled_by"].as_str().unwrap().to_owned(), order["position"].as_u64().unwrap())
    };
    assert_eq!(handled_by("2"), ("1.0.0".to_owned(), 2));
    assert_eq!(handled_by("1"), ("2.0.0".to_owned(), 3));
    assert_eq!(handled_by("3"), ("2.0.0".to_owned(), 4));
    let totals = json!({ "placed": 3, "shipped": 1, "amount": 7 });
    assert_eq!(host.document("orders", "totals", "all"), Some(totals));
    // The second version counts customers from there on.
    assert_eq!(host.documents("orders", "by_customer").len(), 2);

    let back = host.command("orders", "rollback").ok();
    assert_eq!((&back["position"], &back["to"]), (&4.into(), &v1.as_str().into()));
    host.append(&[order_shipped(5, 2)]);
    host.wait("orders");
    assert_eq!(host.document("orders", "orders", "2").unwrap()["handled_by"], "1.0.0");

    let expected = [("deployed", None), ("swapped", Some(2)), ("rolled-back", Some(4))];
    let expected: Vec<_> = expected.iter().map(|(what, position)| ((*what).to_owned(), *position)).collect();
    assert_eq!(happenings(&host, "orders"), expected);

    host.restart();
    assert_eq!(happenings(&host, "orders"), expected, "the history did not survive the restart");
    assert_eq!(host.status("orders")["module"], v1.as_str());
    host.append(&[order_shipped(6, 3)]);
    host.wait("orders");
    assert_eq!(host.document("orders", "orders", "3").unwrap()["handled_by"], "1.0.0");
}

#[test]
fn a_swap_that_fails_its_dry_run_changes_nothing() {
    let host = Host::start();
    host.append(&amounts(0, 100, 5));
    host.deploy("totals", guests::COUNTER);
    host.wait("totals");
    let (before, digest) = (host.status("totals"), host.digest("totals"));

    let answer = host.swap("totals", guests::TRAPPING);
    assert_eq!(answer.status, 422, "{}", answer.body);
    let problem = answer.json();
    assert!(problem["detail"].as_str().unwrap().contains("cannot bear Counted"), "{problem}");
    assert!(problem["position"].as_u64().is_some_and(|position| (1..=100).contains(&position)), "{problem}");

    assert_eq!(host.status("totals")["module"], before["module"]);
    assert_eq!(host.digest("totals"), digest, "the dry run left something behind");
    host.append(&amounts(100, 100, 5));
    assert_eq!(host.wait("totals")["handled"], 200);
    let history = host.history("totals");
    assert_eq!(history.last().unwrap()["what"], "swap-refused", "{history:?}");
    assert!(history.last().unwrap()["reason"].as_str().unwrap().contains("cannot bear"), "{history:?}");
}

#[test]
fn a_swap_that_makes_no_sense_is_refused() {
    let host = Host::start();
    host.deploy("totals", guests::COUNTER);
    assert_eq!(host.swap("totals", guests::COUNTER).status, 409);
    assert_eq!(host.command("totals", "rollback").status, 409);
    assert_eq!(host.swap("other", guests::COUNTER).status, 404);
    let unknown = json!({ "module": "e".repeat(64) });
    assert_eq!(host.post("/api/v1/projections/totals/swap", &unknown).status, 404);
}

#[test]
fn a_paused_projection_can_be_swapped() {
    let host = Host::start();
    host.append(&[order_placed(1, 1)]);
    host.deploy("orders", guests::ORDERS_V1);
    host.wait("orders");
    host.command("orders", "pause").ok();
    host.append(&[order_placed(2, 2)]);
    host.swap("orders", guests::ORDERS_V2).ok();
    assert_eq!(host.status("orders")["state"], "paused", "a swap resumed a paused projection");
    host.command("orders", "resume").ok();
    host.wait("orders");
    assert_eq!(host.document("orders", "orders", "1").unwrap()["handled_by"], "1.0.0");
    assert_eq!(host.document("orders", "orders", "2").unwrap()["handled_by"], "2.0.0");
}

#[test]
fn a_dry_run_on_an_empty_log_finds_nothing_wrong() {
    let host = Host::start();
    host.deploy("totals", guests::COUNTER);
    let swapped = host.swap("totals", guests::POISON).ok();
    assert_eq!((&swapped["position"], &swapped["dry_run_events"]), (&0.into(), &0.into()), "{swapped}");
    host.append(&[event(1, "Item-1", "Any", json!({}))]);
    assert_eq!(host.wait("totals")["handled"], 1);
}
