//! What an operator and a program look at: health, metrics, the OpenAPI document.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Host, events::amounts, guests, wait};

#[test]
fn health_tells_life_and_readiness() {
    let host = Host::start();
    assert_eq!(host.get("/health/live").status, 200);
    assert_eq!(host.get("/health/ready").ok()["status"], "ready");

    // A projection that needs an operator is told, and keeps nobody else from being served.
    host.deploy_with("bad", guests::TRAPPING, json!({ "failure_policy": { "then": "stop" } }));
    host.append(&amounts(0, 1, 1));
    host.wait_until("bad", "stopped", |status| status["state"] == "error");
    let ready = host.get("/health/ready").ok();
    assert_eq!((&ready["status"], &ready["in_error"][0]["name"]), (&"degraded".into(), &"bad".into()), "{ready}");
}

#[test]
fn metrics_tell_what_a_projection_does() {
    let host = Host::start();
    host.append(&amounts(0, 300, 3));
    host.deploy("totals", guests::COUNTER);
    host.deploy("bad", guests::TRAPPING);
    host.wait("totals");
    host.wait("bad");
    let answer = host.get("/metrics");
    assert!(answer.header("content-type").is_some_and(|it| it.contains("text")), "{:?}", answer.headers);

    let totals = [r#"subscription="totals""#];
    let is = |name, value: f64| host.metric(name, &totals).filter(|it| *it == value);
    wait::until("300 handled events in the metrics", || is("subscription_events_processed_total", 300.0));
    wait::until("300 measured calls", || is("subscription_processing_duration_milliseconds_count", 300.0));
    assert_eq!(host.metric("subscription_lag", &totals), Some(0.0));
    assert_eq!(host.metric("subscription_state", &totals), Some(3.0), "3 is live");
    assert_eq!(host.metric("subscription_parked", &[r#"subscription="bad""#]), Some(300.0));
    assert_eq!(host.metric("event_store_events_appended_total", &[]), Some(300.0));
    assert!(answer.body.contains("# TYPE subscription_events_processed"), "{}", answer.body);
}

#[test]
fn the_openapi_document_lists_every_route() {
    let host = Host::start();
    let document = host.get("/api/v1/openapi.json").ok();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with('3')), "{}", document["openapi"]);
    let listed: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let path = without_names(path);
            methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let missing: Vec<_> = ROUTES.iter().filter(|route| !listed.contains(**route)).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}\nlisted: {listed:#?}");
}

/// What a parameter is called does not matter.
fn without_names(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

const ROUTES: [&str; 38] = [
    "POST /api/v1/projections/{}/sql",
    "POST /api/v1/handlers/{}/sql",
    "POST /api/v1/events",
    "GET /api/v1/events",
    "GET /api/v1/events/export",
    "GET /api/v1/events/{}",
    "POST /api/v1/streams/{}/events",
    "GET /api/v1/streams/{}",
    "GET /api/v1/log",
    "POST /api/v1/modules",
    "GET /api/v1/modules",
    "GET /api/v1/modules/{}",
    "DELETE /api/v1/modules/{}",
    "POST /api/v1/projections",
    "GET /api/v1/projections",
    "GET /api/v1/projections/{}",
    "DELETE /api/v1/projections/{}",
    "POST /api/v1/projections/{}/pause",
    "POST /api/v1/projections/{}/resume",
    "POST /api/v1/projections/{}/swap",
    "POST /api/v1/projections/{}/rollback",
    "POST /api/v1/projections/{}/rebuild",
    "GET /api/v1/projections/{}/wait",
    "GET /api/v1/projections/{}/changes",
    "GET /api/v1/projections/{}/digest",
    "GET /api/v1/projections/{}/history",
    "GET /api/v1/projections/{}/collections",
    "GET /api/v1/projections/{}/documents/{}",
    "GET /api/v1/projections/{}/documents/{}/{}",
    "GET /api/v1/projections/{}/dead-letters",
    "GET /api/v1/projections/{}/dead-letters/{}",
    "POST /api/v1/projections/{}/dead-letters/retry",
    "POST /api/v1/projections/{}/dead-letters/{}/skip",
    "GET /api/v1/traces/{}",
    "GET /api/v1/openapi.json",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
];
