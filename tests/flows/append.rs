//! Appending over HTTP: places, expected versions, idempotency, all or nothing, and what refusals say.

use serde_json::{Value, json};

use crate::support::{
    Answer, Host, HostOptions,
    events::{amount, event, id},
};

fn append_expecting(host: &Host, expected: &str, event: &Value) -> Answer {
    host.post(&format!("/api/v1/events?expected={expected}"), event)
}

#[test]
fn an_append_is_answered_with_the_places_of_its_events() {
    let host = Host::start();
    let answer = host.append(&[amount(1, "Item-a"), amount(2, "Item-b"), amount(3, "Item-a")]);
    let expected = json!([
        { "id": id(1), "stream": "Item-a", "version": 1, "position": 1 },
        { "id": id(2), "stream": "Item-b", "version": 1, "position": 2 },
        { "id": id(3), "stream": "Item-a", "version": 2, "position": 3 },
    ]);
    assert_eq!(answer["events"], expected);
    assert_eq!(answer["head"], 3);
    assert_eq!(host.head(), 3);
}

#[test]
fn the_memory_store_keeps_the_same_promises() {
    let host = Host::start_with(HostOptions::default().argument("--store").argument("memory"));
    host.append(&[amount(1, "Item-a"), amount(2, "Item-a")]);
    assert_eq!(append_expecting(&host, "1", &amount(3, "Item-a")).problem(409, "wrong-expected-version")["actual"], 2);
    assert_eq!(append_expecting(&host, "2", &amount(3, "Item-a")).ok()["events"][0]["position"], 3);
}

#[test]
fn an_event_comes_back_as_it_was_sent() {
    let host = Host::start();
    let mut sent =
        event(7, "Item-ä b/c", "Counted", json!({ "text": "ü \u{1F3EE}", "big": 9_007_199_254_740_993_u64 }));
    let more = json!({
        "correlationid": "c-1", "causationid": "c-0", "tenant": "acme", "actor": "ada", "schemaversion": 3,
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "vendor=1",
        "shelf": "left", "time": "2026-01-02T03:04:05.678901234Z",
    });
    sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.append(std::slice::from_ref(&sent));

    let mut read = host.get(&format!("/api/v1/events/{}", id(7))).ok();
    let read = read.as_object_mut().unwrap();
    assert_eq!((read.remove("position"), read.remove("streamversion")), (Some(json!(1)), Some(json!(1))));
    read.remove("datacontenttype");
    assert_eq!(Value::from(read.clone()), sent);
}

#[test]
fn bytes_come_back_as_they_were_sent() {
    let host = Host::start();
    let mut sent = event(1, "Blob-1", "Stored", Value::Null);
    let sent_fields = sent.as_object_mut().unwrap();
    sent_fields.remove("data");
    sent_fields.insert("data_base64".into(), "AAEC//79".into());
    sent_fields.insert("datacontenttype".into(), "application/octet-stream".into());
    host.append(std::slice::from_ref(&sent));
    let read = host.get(&format!("/api/v1/events/{}", id(1))).ok();
    assert_eq!(read["data_base64"], "AAEC//79");
    assert_eq!(read["datacontenttype"], "application/octet-stream");
}

#[test]
fn an_id_and_a_time_are_made_where_none_are_given() {
    let host = Host::start();
    let answer = host.post("/api/v1/streams/Item-9/events", &json!({ "events": [{ "type": "Counted", "data": {} }] }));
    let made = answer.ok()["events"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(made.len(), 36, "{made} is no UUID");
    assert_eq!(made.as_bytes()[14], b'7', "{made} is no UUID of version 7");
    let read = host.get(&format!("/api/v1/events/{made}")).ok();
    assert_eq!(read["subject"], "Item-9");
    assert!(read["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{read}");
}

#[test]
fn expected_versions_are_checked() {
    let host = Host::start();
    append_expecting(&host, "no-stream", &amount(1, "Item-a")).ok();
    append_expecting(&host, "stream-exists", &amount(2, "Item-a")).ok();
    append_expecting(&host, "2", &amount(3, "Item-a")).ok();
    append_expecting(&host, "any", &amount(4, "Item-a")).ok();

    for (expected, event, actual) in [
        ("no-stream", amount(5, "Item-a"), 4),
        ("3", amount(5, "Item-a"), 4),
        ("5", amount(5, "Item-a"), 4),
        ("stream-exists", amount(5, "Item-new"), 0),
        ("1", amount(5, "Item-new"), 0),
    ] {
        let problem = append_expecting(&host, expected, &event).problem(409, "wrong-expected-version");
        assert_eq!(problem["actual"], actual, "{problem}");
        let told = problem["expected"].as_str().map_or_else(|| problem["expected"].to_string(), str::to_owned);
        assert_eq!(told, expected, "{problem}");
    }
    assert_eq!(host.head(), 4, "a refused append left something behind");
}

#[test]
fn an_expectation_over_several_streams_is_refused() {
    let host = Host::start();
    let answer = host.post("/api/v1/events?expected=no-stream", &json!([amount(1, "Item-a"), amount(2, "Item-b")]));
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert_eq!(host.head(), 0);
}

#[test]
fn sending_an_append_again_gives_the_first_answer() {
    let host = Host::start();
    let events = [amount(1, "Item-a"), amount(2, "Item-b")];
    let first = host.append(&events);
    host.append(&[amount(3, "Item-a")]);
    let second = host.append(&events);
    assert_eq!(second["events"], first["events"]);
    assert_eq!(host.head(), 3);

    // Also under an expectation that the first append met and that does not hold any more.
    let again = append_expecting(&host, "no-stream", &amount(2, "Item-b"));
    assert_eq!(again.ok()["events"][0], first["events"][1]);
}

#[test]
fn an_id_with_other_content_is_refused_and_nothing_is_appended() {
    let host = Host::start();
    host.append(&[amount(1, "Item-a"), amount(2, "Item-a")]);
    let other = event(2, "Item-a", "Counted", json!({ "amount": 999 }));
    let problem = host.post("/api/v1/events", &json!([amount(3, "Item-a"), other])).problem(409, "duplicate-event");
    assert_eq!(problem["position"], 2, "{problem}");
    assert_eq!(host.head(), 2, "the good event of a refused append was kept");
}

#[test]
fn an_invalid_member_refuses_the_whole_batch_and_is_named() {
    let host = Host::start();
    let broken = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut event = amount(3, "Item-a");
        change(event.as_object_mut().unwrap());
        event
    };
    for (field, event) in [
        ("type", broken(&|event| drop(event.remove("type")))),
        ("subject", broken(&|event| drop(event.insert("subject".into(), "nodash".into())))),
        ("time", broken(&|event| drop(event.insert("time".into(), "yesterday".into())))),
        ("specversion", broken(&|event| drop(event.insert("specversion".into(), "0.3".into())))),
        ("traceparent", broken(&|event| drop(event.insert("traceparent".into(), "00-1-2-3".into())))),
        ("nested", broken(&|event| drop(event.insert("nested".into(), json!({ "a": 1 }))))),
    ] {
        let answer = host.post("/api/v1/events", &json!([amount(1, "Item-a"), amount(2, "Item-a"), event]));
        assert_eq!(answer.status, 422, "{field}: {}", answer.body);
        let problem = answer.json();
        assert_eq!(problem["index"], 2, "{field}: {problem}");
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
    assert_eq!(host.head(), 0);
}

#[test]
fn what_is_no_event_at_all_is_refused() {
    let host = Host::start();
    for (content_type, body) in [
        ("application/json", "{"),
        ("application/json", "17"),
        ("application/json", "[]"),
        ("application/cloudevents-batch+json", "[[]]"),
        ("application/x-ndjson", "no json\n"),
    ] {
        let answer = host.send("POST", "/api/v1/events", &[("content-type", content_type)], body.as_bytes());
        assert!((400..500).contains(&answer.status), "{body} was answered with {}: {}", answer.status, answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{body}: {}", answer.body);
    }
    assert_eq!(host.head(), 0);
}

#[test]
fn json_lines_are_one_append() {
    let host = Host::start();
    let body = crate::support::events::lines(&[amount(1, "Item-a"), amount(2, "Item-b")]);
    let headers = [("content-type", "application/x-ndjson")];
    assert_eq!(host.send("POST", "/api/v1/events", &headers, body.as_bytes()).ok()["head"], 2);
    // The second line is the first of another append, which is refused as a whole.
    let body = format!("{}\n{{\"specversion\":\"1.0\"}}\n", amount(3, "Item-a"));
    assert_eq!(host.send("POST", "/api/v1/events", &headers, body.as_bytes()).status, 422);
    assert_eq!(host.head(), 2);
}

#[test]
fn an_append_of_too_many_events_is_refused() {
    let host = Host::start();
    let events: Vec<_> = (0..10_001).map(|n| amount(n, "Item-a")).collect();
    let answer = host.post("/api/v1/events", &Value::from(events));
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.json()["detail"].as_str().unwrap().contains("10000"), "{}", answer.body);
    assert_eq!(host.head(), 0);
}
