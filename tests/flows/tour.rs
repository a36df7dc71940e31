//! The README's tour, typed at the command line: import, deploy, query, swap, roll back, rebuild, look, remove.

use serde_json::json;

use crate::support::{Host, artefacts, events::lines, events::order_placed, events::order_shipped, guests};

#[test]
fn the_tour() {
    let host = Host::start();
    let (v1, v2) = (artefacts::component(guests::ORDERS_V1), artefacts::component(guests::ORDERS_V2));
    let (v1, v2) = (v1.to_str().unwrap(), v2.to_str().unwrap());
    let totals = || host.cli_json(&["projection", "query", "orders", "totals", "all"]);

    let events: Vec<_> = (1..=50).map(|n| order_placed(n, n)).chain([order_shipped(51, 1)]).collect();
    host.cli_with_input(&["event", "import", "-"], lines(&events).as_bytes()).ok();
    host.cli(&["projection", "deploy", "orders", "--module", v1]).ok();
    host.cli(&["projection", "wait", "orders", "--timeout", "60"]).ok();
    assert_eq!(totals(), json!([{ "key": "all", "value": { "placed": 50, "shipped": 1, "amount": 1275 } }]));
    let shown = host.cli(&["projection", "query", "orders", "orders", "--prefix", "1", "--limit", "3"]);
    assert!(shown.ok().contains("shipped"), "{}", shown.stdout);

    host.cli(&["projection", "pause", "orders"]).ok();
    assert_eq!(host.cli_json(&["projection", "status", "orders"])["state"], "paused");
    host.cli(&["projection", "resume", "orders"]).ok();

    host.cli(&["projection", "swap", "orders", "--module", v2]).ok();
    host.cli_with_input(&["event", "import", "-"], lines(&[order_shipped(52, 2)]).as_bytes()).ok();
    host.cli(&["projection", "wait", "orders"]).ok();
    assert_eq!(totals()[0]["value"]["shipped"], 2);
    host.cli(&["projection", "rollback", "orders"]).ok();
    let digest = host.push(guests::ORDERS_V2);
    host.cli(&["projection", "swap", "orders", "--module", &digest[..10]]).ok();

    host.cli(&["projection", "rebuild", "orders", "--wait"]).ok();
    let first = host.cli_json(&["projection", "digest", "orders"]);
    host.cli(&["projection", "rebuild", "orders", "--wait"]).ok();
    let second = host.cli_json(&["projection", "digest", "orders"]);
    assert_eq!((&first["digest"], &first["position"]), (&second["digest"], &json!(52)));
    assert_eq!(host.cli_json(&["projection", "query", "orders", "by_customer"]).as_array().map(Vec::len), Some(7));

    let history = host.cli(&["projection", "history", "orders"]).ok().to_owned();
    let whats = ["deployed", "paused", "resumed", "swapped", "rolled-back", "promoted"];
    let normal = history.to_lowercase().replace([' ', '_'], "-");
    for what in whats {
        assert!(normal.contains(what), "no `{what}` in:\n{history}");
    }
    assert!(host.cli(&["dead-letter", "list", "orders"]).code == Some(0));

    host.cli(&["projection", "remove", "orders"]).ok();
    host.cli(&["projection", "status", "orders"]).failed(4);
    host.cli(&["module", "remove", &digest[..10]]).ok();
}
