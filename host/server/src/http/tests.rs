//! The API as a client meets it, before a memory store: shapes, statuses, and what stands in no other test.

use std::{collections::BTreeSet, time::Duration};

use lantern_core::{Kind, Position, Subject};
use serde_json::{Value, json};

use super::{
    Problem,
    fixture::{Answer, Served},
    waiting,
};

/// A host with three events and the projection `counts`, which has seen them.
async fn with_counts() -> Served {
    let served = Served::open().await;
    let events = ["A-1", "B-1", "A-1"].map(|stream| json!({ "type": "T", "subject": stream, "data": {} }));
    served.post("/api/v1/events", &json!(events)).await.is(200);
    let kept = served.post_as("/api/v1/modules", "application/wasm", ("x", "y"), "module 1").await.is(201);
    let deploy = json!({ "name": "counts", "module": kept["digest"], "config": { "a": "b" } });
    served.post("/api/v1/projections", &deploy).await.is(201);
    served.get("/api/v1/projections/counts/wait").await.is(200);
    served
}

impl Answer {
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Checks that it is a problem of a status and type.
    #[track_caller]
    pub(super) fn problem(self, status: u16, slug: &str) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.body);
        assert_eq!(self.body["type"], slug, "{}", self.body);
        self.is(status)
    }
}

#[tokio::test]
async fn a_host_that_starts_or_ends_says_so_and_takes_no_work() {
    let served = Served::closed().await;
    served.get("/health/live").await.is(200);
    let starting = served.get("/health/ready").await;
    assert_eq!(starting.headers["retry-after"], "1");
    starting.problem(503, "starting");
    served.get("/api/v1/log").await.problem(503, "starting");

    let served = Served::open().await;
    assert_eq!(served.get("/health/ready").await.is(200)["status"], "ready");
    served.door.close();
    served.get("/health/ready").await.problem(503, "shutting-down");
    served.post("/api/v1/events", &json!([])).await.problem(503, "shutting-down");
}

#[tokio::test]
async fn who_waits_is_told_when_the_host_ends() {
    let served = with_counts().await;
    let host = served.door.host().unwrap();
    let subject = Subject { kind: Kind::Projection, name: "counts".parse().unwrap() };
    let waiting = waiting::until(&host, &served.door, &subject, Position(1000), Duration::from_secs(600));
    // The first is begun before the second runs.
    let (answer, ()) = tokio::join!(waiting, async { served.door.close() });
    assert_eq!(answer.unwrap_err().slug, "shutting-down");
}

#[tokio::test]
async fn an_append_is_answered_with_places_unless_less_is_preferred() {
    let served = Served::open().await;
    let lines =
        "{\"id\":\"a\",\"type\":\"T\",\"subject\":\"A-1\"}\n\n{\"id\":\"b\",\"type\":\"T\",\"subject\":\"B-1\"}\n";
    let answer = served.post_as("/api/v1/events", "application/x-ndjson", ("x", "y"), lines).await.is(200);
    assert_eq!(answer["events"][1]["stream"], "B-1");
    assert_eq!((&answer["appended"], &answer["already_there"], &answer["head"]), (&json!(2), &json!(0), &json!(2)));
    let minimal = ("prefer", "return=minimal");
    let answer = served.post_as("/api/v1/events", "application/x-ndjson", minimal, lines).await.is(200);
    assert_eq!(answer, json!({ "appended": 0, "already_there": 2, "head": 2 }));
}

#[tokio::test]
async fn events_of_a_stream_need_no_subject_in_whatever_form_they_come() {
    let served = Served::open().await;
    let (path, event) = ("/api/v1/streams/A-1/events", json!({ "type": "T", "data": 1 }));
    served.post(path, &json!({ "events": [event, event] })).await.is(200);
    served.post(path, &json!([event, event])).await.is(200);
    served.post(path, &event).await.is(200);
    let lines = format!("{event}\n{event}\n");
    served.post_as(path, "application/x-ndjson", ("x", "y"), &lines).await.is(200);
    let stream = served.get("/api/v1/streams/A-1?from=6").await.is(200);
    assert_eq!((&stream["version"], &stream["events"][1]["subject"]), (&json!(7), &json!("A-1")));
    let other = json!({ "type": "T", "subject": "A-2" });
    assert_eq!(served.post(path, &other).await.problem(422, "invalid-event")["field"], "subject");
    served.post(path, &json!({ "events": [event], "more": 1 })).await.problem(422, "invalid-request");
    served.get("/api/v1/streams/A-2").await.problem(404, "not-found");
}

#[tokio::test]
async fn an_event_in_binary_mode_goes_in_and_out() {
    let served = Served::open().await;
    let path = "/api/v1/streams/A-1/events";
    let place =
        served.post_as(path, "text/plain", ("ce-type", "Ge%C3%A4ndert"), "data").await.is(200)["events"][0].clone();
    let id = place["id"].as_str().unwrap();
    let answer = served.get(&format!("/api/v1/events/{id}?form=binary")).await;
    let header = |name| answer.headers.get(name).map(|value: &reqwest::header::HeaderValue| value.to_str().unwrap());
    assert_eq!((header("content-type"), header("ce-type")), (Some("text/plain"), Some("Ge%C3%A4ndert")));
    assert_eq!((header("ce-id"), header("ce-subject"), header("ce-position")), (Some(id), Some("A-1"), Some("1")));
    assert_eq!(answer.is(200), "data");
    let answer = served.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!(answer.headers["content-type"], "application/cloudevents+json");
    assert_eq!(answer.is(200)["type"], "Geändert");
    served.get(&format!("/api/v1/events/{id}?form=avro")).await.problem(422, "invalid-request");
}

#[tokio::test]
async fn a_refusal_of_binary_mode_names_the_header() {
    let served = Served::open().await;
    let post = |header, body| served.post_as("/api/v1/events", "application/json", header, body);
    let problem = post(("ce-type", "T"), "{}").await.problem(422, "invalid-event");
    assert_eq!((&problem["header"], &problem["field"]), (&json!("ce-subject"), &json!("subject")));
    assert!(problem["detail"].as_str().unwrap().contains("the header `ce-subject` is missing"), "{problem}");
    let problem = post(("ce-type", "T"), "{").await.problem(422, "invalid-event");
    assert!(problem["detail"].as_str().unwrap().contains("the body is no JSON"), "{problem}");
    // A batch whose sender repeats an attribute for those who hand it on.
    let (batch, event) = ("application/cloudevents-batch+json", json!([{ "type": "T", "subject": "A-1" }]));
    served.post_as("/api/v1/events", batch, ("ce-type", "T"), &event.to_string()).await.is(200);
}

#[tokio::test]
async fn an_event_without_a_binary_form_is_answered_in_the_other() {
    let served = Served::open().await;
    let event = json!({ "id": "a", "type": "T", "subject": "A-1", "datacontenttype": "application/json", "data_base64": "ew==" });
    let place = served.post("/api/v1/events", &event).await.is(200)["events"][0].clone();
    let answer = served.get(&format!("/api/v1/events/{}?form=binary", place["id"].as_str().unwrap())).await;
    assert_eq!(answer.headers["content-type"], "application/cloudevents+json");
    assert_eq!(answer.is(200)["data_base64"], "ew==");
}

#[tokio::test]
async fn a_duplicate_is_named_by_its_index() {
    let served = Served::open().await;
    let event = |id: &str, data: u8| json!({ "id": id, "type": "T", "subject": "A-1", "data": data });
    served.post("/api/v1/events", &event("a", 1)).await.is(200);
    let answer = served.post("/api/v1/events", &json!([event("b", 1), event("a", 2)])).await;
    let problem = answer.problem(409, "duplicate-event");
    assert_eq!((&problem["index"], &problem["position"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn bodies_of_other_kinds_are_refused() {
    let served = Served::open().await;
    let none = ("x", "y");
    served.post_as("/api/v1/events", "text/plain", none, "{}").await.problem(415, "unsupported-media-type");
    served.post_as("/api/v1/modules", "text/plain", none, "module").await.problem(415, "unsupported-media-type");
    served.post_as("/api/v1/modules", "application/wasm", none, "text").await.problem(422, "module-refused");
    served.post_as("/api/v1/projections", "text/plain", none, "{}").await.problem(415, "unsupported-media-type");
    let large = " ".repeat(2 << 20);
    served.post_as("/api/v1/projections", "application/json", none, &large).await.problem(413, "too-large");
    served.post_as("/api/v1/events", "application/json", none, &large).await.problem(422, "invalid-event");
}

#[tokio::test]
async fn routes_that_are_not_there_point_to_those_that_are() {
    let served = Served::open().await;
    let problem = served.get("/api/v2/events").await.problem(404, "not-found");
    assert!(problem["detail"].as_str().unwrap().contains("openapi.json"), "{problem}");
    served.delete("/api/v1/log").await.problem(405, "method-not-allowed");
    assert_eq!(served.get("/").await.is(200)["api"], "/api/v1/openapi.json");
}

#[tokio::test]
async fn a_page_that_leads_its_own_name_here_is_refused() {
    let served = Served::open().await;
    served.get_as("/api/v1/log", "localhost:7171").await.is(200);
    let problem = served.get_as("/api/v1/log", "evil.example").await.problem(421, "unknown-host");
    assert!(problem["detail"].as_str().unwrap().contains("`server.names`"), "{problem}");
    served.get_as("/metrics", "evil.example:7171").await.problem(421, "unknown-host");
}

#[tokio::test]
async fn a_digest_is_found_by_its_first_digits() {
    let served = with_counts().await;
    let digest = served.get("/api/v1/modules").await.is(200)["modules"][0]["digest"].as_str().unwrap().to_owned();
    let found = served.get(&format!("/api/v1/modules/{}", &digest[..6])).await.is(200);
    assert_eq!(found["digest"], digest.as_str());
    served.get(&format!("/api/v1/modules/sha256:{digest}")).await.is(200);
    served.get(&format!("/api/v1/modules/{}", &digest[..5])).await.problem(422, "invalid-request");
    let other: String = digest.chars().take(12).map(|c| if c == '0' { '1' } else { '0' }).collect();
    served.get(&format!("/api/v1/modules/{other}")).await.problem(404, "not-found");
    let problem = served.delete(&format!("/api/v1/modules/{digest}")).await.problem(409, "in-use");
    assert_eq!(problem["users"], json!([{ "kind": "projection", "name": "counts" }]));
}

#[tokio::test]
async fn documents_are_read_with_the_position_they_have() {
    let served = with_counts().await;
    let list = served.get("/api/v1/projections/counts/documents/counts").await.is(200);
    let documents = json!([{ "key": "A-1", "value": 2 }, { "key": "B-1", "value": 1 }]);
    assert_eq!(list, json!({ "documents": documents, "position": 3 }));
    let one = served.get("/api/v1/projections/counts/documents/counts/A%2D1?min_position=3").await.is(200);
    assert_eq!(one, json!({ "key": "A-1", "value": 2, "position": 3 }));
    let late = served.get("/api/v1/projections/counts/documents/counts/A-1?min_position=9&timeout=0.01").await;
    let late = late.problem(504, "timeout");
    assert_eq!(late["projection_status"]["position"], 3, "{late}");
    served.get("/api/v1/projections/counts/documents/other").await.problem(404, "not-found");
    served.get("/api/v1/projections/counts/documents/counts?limit=0").await.problem(422, "invalid-request");
    served.get("/api/v1/projections/counts/wait?timeout=-1").await.problem(422, "invalid-request");
}

#[tokio::test]
async fn a_request_is_the_server_side_of_its_trace() {
    let served = Served::open().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let event = r#"{"id":"a","type":"T","subject":"A-1"}"#;
    let answer = served.post_as("/api/v1/events", "application/json", ("traceparent", parent), event).await;
    let context = answer.headers["traceparent"].to_str().unwrap().to_owned();
    assert!(context.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{context}");
    answer.is(200);
    let trace = served.get("/api/v1/traces/4bf92f3577b34da6a3ce929d0e0e4736").await.is(200);
    let names: Vec<_> = trace["spans"].as_array().unwrap().iter().map(|span| span["name"].clone()).collect();
    assert_eq!(names, ["POST /api/v1/events", "eventsource.event_store.append_events"]);
    assert_eq!(trace["spans"][0]["parent_span_id"], "00f067aa0ba902b7");
    assert_eq!(trace["spans"][1]["parent_span_id"], trace["spans"][0]["span_id"]);
    served.get("/api/v1/traces/nonsense").await.problem(422, "invalid-request");
    assert!(!served.get("/health/live").await.headers.contains_key("traceparent"));
}

#[tokio::test]
async fn the_document_says_where_parameters_stand_and_what_answers_mean() {
    let served = Served::closed().await;
    let document = served.get("/api/v1/openapi.json").await.is(200);
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut ids = BTreeSet::new();
    for (path, operations) in object(&document["paths"]) {
        for (method, operation) in object(&operations) {
            let place = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{place} has the id of another operation");
            assert!(!operation.to_string().contains("processor"), "{place} speaks of processors");
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{place}");
            for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
                let in_path = path.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap()));
                assert_eq!(parameter["in"] == "path", in_path, "{place}: {parameter}");
                assert_eq!(parameter["required"], in_path, "{place}: {parameter}");
            }
            for (status, response) in object(&operation["responses"]) {
                let told = response["description"].as_str().is_some_and(|text| !text.is_empty());
                assert!(told, "{place} says nothing about {status}");
            }
        }
    }
}

/// The members of a shape in the OpenAPI document.
fn members(document: &Value, shape: &str) -> BTreeSet<String> {
    let shape = &document["components"]["schemas"][shape]["properties"];
    shape.as_object().unwrap().keys().cloned().collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn the_shapes_of_the_document_are_what_is_answered() {
    let served = with_counts().await;
    let document = served.get("/api/v1/openapi.json").await.is(200);
    let status = served.get("/api/v1/projections/counts").await.is(200);
    let kept = served.get("/api/v1/modules").await.is(200)["modules"][0].clone();
    let trace = {
        let answer = served.get("/api/v1/log").await;
        let trace_id = answer.headers["traceparent"].to_str().unwrap().split('-').nth(1).unwrap().to_owned();
        served.get(&format!("/api/v1/traces/{trace_id}")).await.is(200)
    };
    let next = served.post_as("/api/v1/modules", "application/wasm", ("x", "y"), "module 2").await.is(201);
    let swap = json!({ "module": next["digest"] });
    let swapped = served.post("/api/v1/projections/counts/swap", &swap).await.is(200);
    let retried = served.post("/api/v1/projections/counts/dead-letters/retry", &json!({ "all": true })).await.is(200);
    let module = served.push("aggregate 1").await;
    let deploy = json!({ "name": "Order", "module": module });
    let aggregate = served.post("/api/v1/aggregates", &deploy).await.is(201);
    let command = served.post("/api/v1/commands/Order-1/Add", &json!({})).await.is(200);
    let taken = served.post("/api/v1/streams/Order-1/snapshot", &json!({})).await.is(201);
    let next = json!({ "module": served.push("aggregate 2").await });
    let aggregate_swapped = served.post("/api/v1/aggregates/Order/swap", &next).await.is(200);
    let module = served.push("upcaster 1").await;
    let upcaster = served.post("/api/v1/upcasters", &json!({ "name": "t", "module": module })).await.is(201);
    let next = json!({ "module": served.push("upcaster 2").await });
    let upcaster_swapped = served.post("/api/v1/upcasters/t/swap", &next).await.is(200);
    for (shape, answered) in [
        ("Status", &status),
        ("Description", &status["description"]),
        ("Limits", &status["limits"]),
        ("Grants", &status["grants"]),
        ("AggregateStatus", &aggregate),
        ("AggregateDescription", &aggregate["description"]),
        ("Counters", &aggregate["counters"]),
        ("SnapshotCounts", &aggregate["counters"]["snapshots"]),
        ("AggregateSwapped", &aggregate_swapped),
        ("CommandAnswer", &command),
        ("Taken", &taken),
        ("UpcasterStatus", &upcaster),
        ("UpcasterDescription", &upcaster["description"]),
        ("Step", &upcaster["description"]["steps"][0]),
        ("UpcasterSwapped", &upcaster_swapped),
        ("FailurePolicy", &status["failure_policy"]),
        ("Kept", &kept),
        ("Swapped", &swapped),
        ("Retried", &retried),
        ("TraceAnswer", &trace),
        ("Span", &trace["spans"][0]),
        ("Problem", &Problem::invalid("for example").to_json()),
    ] {
        assert_eq!(members(&document, shape), keys(answered), "{shape}");
    }
    let event = served.get("/api/v1/events").await.is(200)["events"][0].clone();
    assert!(keys(&event).is_subset(&members(&document, "CloudEvent")), "{event}");
    let entry = served.get("/api/v1/projections/counts/history").await.is(200)["entries"][0].clone();
    assert!(members(&document, "Entry").is_subset(&keys(&entry)), "{entry}");
}
