//! Tracing: one trace from the HTTP request to the guest's own spans, at a real collector, and never in the way.

use std::{collections::BTreeSet, net::TcpListener};

use serde_json::json;

use crate::support::{
    Host, HostOptions,
    collector::{Collector, Span},
    events::{amounts, event, id},
    guests, wait,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const HANDLE: &str = "eventsource.projection.handle";
const APPEND: &str = "eventsource.event_store.append_events";

fn exporting_to(collector: &Collector, protocol: &str) -> HostOptions {
    HostOptions::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
}

/// Appends one event under a given trace context.
#[track_caller]
fn append_traced(host: &Host, n: u64, traceparent: &str) -> crate::support::Answer {
    let body = event(n, "Item-7", "Counted", json!({ "amount": 1 })).to_string();
    let headers = [("content-type", "application/json"), ("traceparent", traceparent), ("tracestate", "vendor=1")];
    let answer = host.send("POST", "/api/v1/events", &headers, body.as_bytes());
    answer.ok();
    answer
}

#[track_caller]
fn is(span: &Span, attribute: &str, value: &str) {
    assert_eq!(span.attributes.get(attribute).map(String::as_str), Some(value), "`{attribute}` of {span:?}");
}

/// The acceptance picture: request, append, handle, guest spans, each the child of the one before.
fn one_trace_from_the_request_to_the_guest(collector: &Collector, protocol: &str) {
    let host = Host::start_with(exporting_to(collector, protocol));
    host.deploy("traced", guests::OTEL);
    host.wait_until("traced", "live", |status| status["state"] == "live");
    let answer = append_traced(&host, 1, &format!("00-{TRACE}-{PARENT}-01"));
    host.wait("traced");

    let inner = collector.span(TRACE, "inner work");
    let outer = collector.span(TRACE, "outer work");
    let handle = collector.span(TRACE, HANDLE);
    let append = collector.span(TRACE, APPEND);
    let request = collector.span(TRACE, "POST /api/v1/events");
    let parents: Vec<_> = [&request, &append, &handle, &outer, &inner].iter().map(|span| &*span.parent).collect();
    assert_eq!(parents, [PARENT, &request.span_id, &append.span_id, &handle.span_id, &outer.span_id]);
    assert_eq!(request.kind, 2, "the request is no SERVER span");
    assert_eq!(answer.header("traceparent"), Some(format!("00-{TRACE}-{}-01", request.span_id).as_str()));
    assert!(handle.links.is_empty(), "a live handle span needs no link: {handle:?}");
    for span in collector.trace(TRACE) {
        assert_eq!(span.service, "lantern");
        assert!(span.start > 0 && span.end >= span.start, "{span:?}");
    }

    is(&request, "http.request.method", "POST");
    is(&request, "http.response.status_code", "200");
    is(&append, "eventsource.event.count", "1");
    is(&handle, "eventsource.projection.name", "traced");
    is(&handle, "eventsource.event.type", "Counted");
    is(&handle, "eventsource.event.id", &id(1));
    is(&handle, "eventsource.aggregate.type", "Item");
    is(&handle, "eventsource.aggregate.id", "7");
    is(&handle, "eventsource.position", "1");
    is(&outer, "order.id", "7");
    is(&outer, "done", "true");
    assert_eq!(inner.status, 2, "the guest said that its span failed: {inner:?}");

    // The event carries the append's context, and the guest was told that of its handle span in every way.
    let stored = host.get(&format!("/api/v1/events/{}", id(1))).ok();
    assert_eq!(stored["traceparent"], format!("00-{TRACE}-{}-01", append.span_id));
    assert_eq!(stored["tracestate"], "vendor=1");
    let contexts = host.document("traced", "contexts", &id(1)).unwrap();
    let handle_context = format!("00-{TRACE}-{}-01", handle.span_id);
    assert_eq!((&contexts["argument"], &contexts["outer"]), (&json!(handle_context), &json!(handle_context)));
    // The innermost span that is open: the guest's own.
    assert_eq!(contexts["current"], format!("00-{TRACE}-{}-01", outer.span_id));
}

#[test]
fn one_trace_arrives_over_grpc() {
    one_trace_from_the_request_to_the_guest(&Collector::grpc(), "grpc");
}

#[test]
fn one_trace_arrives_over_http() {
    one_trace_from_the_request_to_the_guest(&Collector::http(), "http/protobuf");
}

#[test]
fn catching_up_has_a_trace_of_its_own_and_links_to_the_producer() {
    let collector = Collector::grpc();
    let host = Host::start_with(exporting_to(&collector, "grpc"));
    append_traced(&host, 1, &format!("00-{TRACE}-{PARENT}-01"));
    let append = collector.span(TRACE, APPEND);
    host.deploy("late", guests::OTEL);
    host.wait("late");

    let handle = wait::until("the handle span", || collector.named(HANDLE).into_iter().next());
    assert_ne!(handle.trace_id, TRACE, "catching up made the old trace grow");
    assert_eq!(handle.links, [(TRACE.to_owned(), append.span_id)]);
    let batch = collector.span(&handle.trace_id, "eventsource.catchup_runner.deliver_batch");
    assert_eq!(handle.parent, batch.span_id);
    is(&batch, "eventsource.batch.size", "1");
    assert_eq!(collector.span(&handle.trace_id, "outer work").parent, handle.span_id);
}

#[test]
fn a_failed_call_is_a_failed_span() {
    let collector = Collector::grpc();
    let host = Host::start_with(exporting_to(&collector, "grpc"));
    host.deploy("bad", guests::TRAPPING);
    host.wait_until("bad", "live", |status| status["state"] == "live");
    append_traced(&host, 1, &format!("00-{TRACE}-{PARENT}-01"));
    let handle = collector.span(TRACE, HANDLE);
    assert_eq!(handle.status, 2, "{handle:?}");
    host.wait("bad");
    // The dead letter leads to the trace.
    let letter = host.get("/api/v1/projections/bad/dead-letters/1").ok();
    assert_eq!(letter["trace_id"], TRACE, "{letter}");
}

#[test]
fn what_is_not_sampled_is_not_recorded_and_handed_on_as_such() {
    let collector = Collector::grpc();
    let host = Host::start_with(exporting_to(&collector, "grpc"));
    host.deploy("traced", guests::OTEL);
    host.wait_until("traced", "live", |status| status["state"] == "live");
    append_traced(&host, 1, &format!("00-{TRACE}-{PARENT}-00"));
    let sampled = "11111111111111111111111111111111";
    append_traced(&host, 2, &format!("00-{sampled}-{PARENT}-01"));
    // The second trace has arrived whole, so the first would have, too.
    collector.span(sampled, "inner work");
    assert!(collector.trace(TRACE).is_empty(), "{:?}", collector.trace(TRACE));
    let argument = host.document("traced", "contexts", &id(1)).unwrap()["argument"].clone();
    assert!(argument.as_str().is_some_and(|it| it.ends_with("-00")), "{argument}");
}

#[test]
fn the_log_of_a_guest_carries_its_trace() {
    let mut host = Host::start();
    host.deploy("traced", guests::OTEL);
    host.wait_until("traced", "live", |status| status["state"] == "live");
    append_traced(&host, 1, &format!("00-{TRACE}-{PARENT}-01"));
    host.wait("traced");
    let line = wait::until("the guest's line", || host.output().line_with("outer line of position 1"));
    // The line belongs to the span that was open when it was written.
    let current = host.document("traced", "contexts", &id(1)).unwrap()["current"].clone();
    let span = current.as_str().unwrap().split('-').nth(2).unwrap().to_owned();
    assert!(line.contains(TRACE) && line.contains(&span), "no {TRACE} or {span} in: {line}");
    assert!(line.contains("traced"), "the line does not name the projection: {line}");
    assert!(host.terminate().success());
}

#[test]
fn log_lines_can_be_json_for_programs() {
    let mut host = Host::start_with(HostOptions::default().variable("LANTERN_LOG_FORMAT", "json"));
    host.deploy("traced", guests::OTEL);
    host.wait_until("traced", "live", |status| status["state"] == "live");
    append_traced(&host, 1, &format!("00-{TRACE}-{PARENT}-01"));
    host.wait("traced");
    let line = wait::until("the guest's line", || host.output().line_with("inner line"));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["trace_id"], &line["message"]), (&json!(TRACE), &json!("inner line")), "{line}");
    assert!(line["level"].as_str().is_some_and(|level| level.eq_ignore_ascii_case("warn")), "{line}");
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16), "{line}");
    assert!(line["timestamp"].is_string() && line["logger"].is_string(), "{line}");
    assert!(host.terminate().success());
}

#[test]
fn a_trace_is_shown_as_a_tree() {
    let host = Host::start();
    host.deploy("traced", guests::OTEL);
    host.wait_until("traced", "live", |status| status["state"] == "live");
    append_traced(&host, 1, &format!("00-{TRACE}-{PARENT}-01"));
    let names = ["POST /api/v1/events", APPEND, HANDLE, "outer work", "inner work"];
    let shown = wait::until("the whole trace", || {
        let shown = host.cli(&["trace", TRACE]);
        (shown.code == Some(0) && names.iter().all(|name| shown.stdout.contains(name))).then_some(shown.stdout)
    });
    // Each span stands below and to the right of the one it belongs to.
    let places: Vec<_> = names
        .iter()
        .map(|name| {
            let (row, line) = shown.lines().enumerate().find(|(_, line)| line.contains(name)).unwrap();
            (row, line[..line.find(name).unwrap()].chars().count())
        })
        .collect();
    assert!(places.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{places:?}\n{shown}");

    let spans = host.cli_json(&["trace", TRACE]);
    let spans = spans["spans"].as_array().unwrap();
    let told: BTreeSet<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert!(names.iter().all(|name| told.contains(name)), "{told:?}");
    host.cli(&["trace", "00000000000000000000000000000abc"]).failed(4);
}

/// A collector that is away, hangs or answers nonsense changes nothing of what the host does.
#[track_caller]
fn nothing_is_held_up(endpoint: &str) {
    let options = HostOptions::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .variable("OTEL_BSP_SCHEDULE_DELAY", "10")
        .variable("OTEL_BSP_MAX_QUEUE_SIZE", "64");
    let mut host = Host::start_with(options);
    host.deploy("totals", guests::COUNTER);
    for round in 0..20 {
        host.append(&amounts(round * 100, 100, 10));
    }
    assert_eq!(host.wait("totals")["handled"], 2000);
    wait::until("the lost spans to be counted", || {
        host.metric("telemetry_spans_dropped_total", &[]).filter(|lost| *lost > 0.0)
    });
    assert!(host.terminate().success());
}

#[test]
fn a_collector_that_is_away_holds_nothing_up() {
    // The port was free a moment ago, and nobody answers there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    nothing_is_held_up(&format!("http://127.0.0.1:{port}"));
}

#[test]
fn a_collector_that_never_answers_holds_nothing_up() {
    // Connections are taken by the system, but nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    nothing_is_held_up(&format!("http://{}", silent.local_addr().unwrap()));
}
