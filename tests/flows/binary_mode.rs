//! CloudEvents over HTTP in binary mode: attributes as headers and data as the body, in and out, and what refusals name.

use serde_json::json;

use crate::support::{
    Answer, Host,
    events::{amount, id},
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The attributes that the specification asks of every event, and the stream.
fn needed(id: &str) -> Vec<(&str, &str)> {
    vec![
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "urn:shop"),
        ("ce-type", "Noted"),
        ("ce-subject", "Item-%C3%A4%20b"),
    ]
}

fn append(host: &Host, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    host.send("POST", "/api/v1/events", headers, body)
}

#[test]
fn an_event_goes_in_and_out_in_either_mode() {
    let host = Host::start();
    let id = id(1);
    let data = r#"{"text": "\u00fc", "big": 9007199254740993, "exact": 1.10}"#;
    let mut headers = needed(&id);
    headers.extend([
        ("content-type", "application/vnd.note+json"),
        ("ce-time", "2026-01-02T03:04:05.678901234Z"),
        ("ce-schemaversion", "3"),
        ("ce-correlationid", "c%25%22"),
        ("ce-traceparent", TRACE),
        ("ce-tracestate", "vendor=1"),
        ("ce-shelf", "\"links \\\"oben\\\"\""),
        ("x-other", "passed over"),
    ]);
    let place = append(&host, &headers, data.as_bytes()).ok()["events"][0].clone();
    assert_eq!(place, json!({ "id": id, "stream": "Item-ä b", "version": 1, "position": 1 }));

    let structured = host.get(&format!("/api/v1/events/{id}"));
    assert_eq!(structured.header("content-type"), Some("application/cloudevents+json"));
    assert!(structured.body.contains(data), "{}", structured.body);
    let event = structured.ok();
    for (name, value) in [
        ("source", json!("urn:shop")),
        ("type", json!("Noted")),
        ("subject", json!("Item-ä b")),
        ("time", json!("2026-01-02T03:04:05.678901234Z")),
        ("datacontenttype", json!("application/vnd.note+json")),
        ("schemaversion", json!(3)),
        ("correlationid", json!("c%\"")),
        ("traceparent", json!(TRACE)),
        ("tracestate", json!("vendor=1")),
        ("shelf", json!("links \"oben\"")),
    ] {
        assert_eq!(event[name], value, "{name}");
    }

    let binary = host.get(&format!("/api/v1/events/{id}?form=binary"));
    assert_eq!((binary.status, binary.body.as_str()), (200, data));
    for (name, value) in &headers[..headers.len() - 2] {
        assert_eq!(binary.header(name), Some(*value), "{name}");
    }
    assert_eq!(binary.header("ce-shelf"), Some("links%20%22oben%22"));
    assert_eq!((binary.header("ce-position"), binary.header("ce-streamversion")), (Some("1"), Some("1")));

    // What came out goes in again, and is there already.
    let again = binary.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let again: Vec<_> = again.filter(|(name, _)| name.starts_with("ce-") || *name == "content-type").collect();
    assert_eq!(append(&host, &again, data.as_bytes()).ok()["already_there"], 1);
    let headers = [("content-type", "application/cloudevents+json")];
    assert_eq!(append(&host, &headers, structured.body.as_bytes()).ok()["already_there"], 1);
}

#[test]
fn data_of_any_kind_is_the_body() {
    let host = Host::start();
    for (n, content_type, body, expected) in [
        (1, Some("application/octet-stream"), &b"\0\xff"[..], json!({ "data_base64": "AP8=" })),
        (2, Some("text/plain; charset=utf-8"), b"a\nb", json!({ "data": "a\nb" })),
        (3, Some("application/x-ndjson"), b"{}\n{}\n", json!({ "data": "{}\n{}\n" })),
        (4, None, b"[1]", json!({ "data": [1] })),
        (5, None, b"", json!({ "data": null })),
    ] {
        let id = id(n);
        let mut headers = needed(&id);
        headers.extend(content_type.map(|content_type| ("content-type", content_type)));
        append(&host, &headers, body).ok();
        let event = host.get(&format!("/api/v1/events/{id}")).ok();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(event[name], *value, "{event}");
        }
    }
    let binary = host.get(&format!("/api/v1/events/{}?form=binary", id(2)));
    assert_eq!((binary.header("content-type"), binary.body.as_str()), (Some("text/plain; charset=utf-8"), "a\nb"));
}

#[test]
fn expected_versions_and_repetition_are_as_in_the_other_forms() {
    let host = Host::start();
    host.append(&[amount(1, "Item-a")]);
    let path = "/api/v1/streams/Item-a/events?expected=1";
    let headers = [("ce-type", "Noted"), ("content-type", "application/json")];
    let first = host.send("POST", path, &headers, b"{}").ok();
    assert_eq!((&first["events"][0]["stream"], &first["events"][0]["version"]), (&json!("Item-a"), &json!(2)));
    host.send("POST", path, &headers, b"{}").problem(409, "wrong-expected-version");

    let id = id(2);
    append(&host, &needed(&id), b"1").ok();
    assert_eq!(append(&host, &needed(&id), b"1").ok()["already_there"], 1);
    append(&host, &needed(&id), b"2").problem(409, "duplicate-event");
}

#[test]
fn an_event_without_a_trace_of_its_own_takes_that_of_the_request() {
    let host = Host::start();
    let id = id(1);
    let mut headers = needed(&id);
    headers.push(("traceparent", TRACE));
    append(&host, &headers, b"1").ok();
    let binary = host.get(&format!("/api/v1/events/{id}?form=binary"));
    let trace = binary.header("ce-traceparent").unwrap();
    // The span that appended it, under the sender's.
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace != TRACE, "{trace}");
}

#[test]
fn a_refusal_names_the_header() {
    let host = Host::start();
    let id = id(1);
    for (header, value, words) in [
        ("ce-specversion", Some("0.3"), "only \"1.0\" is known"),
        ("ce-id", Some(""), "is empty"),
        ("ce-type", None, "is missing"),
        ("ce-subject", None, "it names the stream"),
        ("ce-subject", Some("nodash"), "category-id"),
        ("ce-time", Some("yesterday"), "RFC 3339"),
        ("ce-actor", Some("%ff"), "no UTF-8"),
        ("ce-schemaversion", Some("0"), "from 1"),
        ("ce-traceparent", Some("00-1-2-3"), "no traceparent"),
        ("ce-my_own", Some("1"), "lower-case letters and digits"),
        ("ce-datacontenttype", Some("text/plain"), "leave `ce-datacontenttype` out"),
    ] {
        let mut headers = needed(&id);
        headers.retain(|(name, _)| *name != header);
        headers.extend(value.map(|value| (header, value)));
        let problem = append(&host, &headers, b"1").problem(422, "invalid-event");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(header) && detail.contains(words), "{header}: {problem}");
    }
    let mut headers = needed(&id);
    headers.push(("content-type", "application/json"));
    let problem = append(&host, &headers, b"{").problem(422, "invalid-event");
    assert!(problem["detail"].as_str().unwrap().contains("the body is no JSON"), "{problem}");
    assert_eq!(host.head(), 0);
}
