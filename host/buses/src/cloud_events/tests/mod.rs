//! What is read, what is refused, and that nothing is lost on the way out and in again.

mod bound;
mod samples;

use lantern_core::{Event, Metadata, NewEvent, Payload, Position, StreamName, Timestamp, Version};
use proptest::prelude::*;
use uuid::Uuid;

use samples::events;

use super::{Absent, CloudEvent, Invalid, KEPT_CONTENT_TYPE, KEPT_ID, read};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);

fn strict() -> Absent<'static> {
    Absent { stream: None, category: None, time: NOW, id: None }
}

fn placed(stream: StreamName, new: NewEvent) -> Event {
    let NewEvent { id, event_type, schema_version, time, data, metadata } = new;
    let (version, position) = (Version(3), Position(17));
    Event { id, event_type, schema_version, stream, version, position, time, data, metadata }
}

fn exchanged(event: &Event) -> String {
    serde_json::to_string(&CloudEvent::exchange(event)).unwrap()
}

fn event(text: &str) -> Event {
    let (stream, new) = read(text, &strict()).unwrap();
    placed(stream, new)
}

/// A valid event with further members.
fn with(members: &str) -> String {
    format!(r#"{{"id":"13b80ef6-f4b9-5903-a893-9d746fd76d8d","type":"T","subject":"A-1"{members}}}"#)
}

#[track_caller]
fn refused(text: &str, field: Option<&str>, reason: &str) {
    let invalid: Invalid = read(text, &strict()).unwrap_err();
    assert_eq!(invalid.field.as_deref(), field, "{invalid}");
    assert!(invalid.reason.contains(reason), "{invalid}");
}

#[test]
fn every_attribute_arrives() {
    let event = event(
        r#"{"specversion":"1.0","id":"13b80ef6-f4b9-5903-a893-9d746fd76d8d","source":"urn:bank","type":"Paid",
            "subject":"Order-4-2","time":"2011-10-01T00:38:44.546+02:00","datacontenttype":"application/json",
            "schemaversion":3,"correlationid":"c","causationid":"d","tenant":"t","actor":"a","dataschema":"urn:s",
            "traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"v=1",
            "priority":7,"urgent":true,"region":"eu","gone":null,"data":{"b": 1.10, "a":[1e400, null]}}"#,
    );
    assert_eq!(event.id, Uuid::from_u128(0x13b8_0ef6_f4b9_5903_a893_9d74_6fd7_6d8d));
    assert_eq!((event.stream.as_str(), event.event_type.as_str()), ("Order-4-2", "Paid"));
    assert_eq!((event.schema_version, event.time.to_string().as_str()), (3, "2011-09-30T22:38:44.546Z"));
    assert_eq!(event.data, Payload::Json(r#"{"b": 1.10, "a":[1e400, null]}"#.into()));
    let metadata = event.metadata;
    let texts = [metadata.source, metadata.correlation_id, metadata.causation_id, metadata.tenant, metadata.actor];
    assert_eq!(texts.map(Option::unwrap).join(" "), "urn:bank c d t a");
    assert_eq!(metadata.trace.unwrap().state.as_deref(), Some("v=1"));
    let extra: Vec<_> = metadata.extra.as_deref().unwrap().iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(extra, ["dataschema=urn:s", "priority=7", "region=eu", "urgent=true"]);
}

#[test]
fn what_may_be_absent_is_filled_in() {
    let stream: StreamName = "A-1".parse().unwrap();
    let absent = Absent { stream: Some(&stream), category: None, time: NOW, id: Some(Uuid::now_v7) };
    let (found, event) = read(r#"{"type":"T"}"#, &absent).unwrap();
    assert_eq!((found, event.time, event.schema_version), (stream.clone(), NOW, 1));
    assert_eq!((event.id.get_version_num(), event.data), (7, Payload::Json("null".into())));
    assert_eq!(event.metadata, Metadata::default());
    let other = read(r#"{"type":"T","subject":"A-2"}"#, &absent).unwrap_err();
    assert_eq!(other.field.as_deref(), Some("subject"));
}

#[test]
fn an_id_that_is_no_uuid_is_kept_and_differs_by_source() {
    let ids = |source: &str| {
        let event = event(&format!(r#"{{"id":"order/7","source":"{source}","type":"T","subject":"A-1"}}"#));
        assert_eq!(event.metadata.extra.as_ref().unwrap()[KEPT_ID], "order/7");
        assert!(exchanged(&event).contains(r#""id":"order/7""#));
        event.id
    };
    assert_eq!(ids("urn:a"), ids("urn:a"), "the same id every time");
    assert_ne!(ids("urn:a"), ids("urn:b"));
    assert_eq!(ids("urn:a").get_version_num(), 5);
    let upper = event(r#"{"id":"13B80EF6-F4B9-5903-A893-9D746FD76D8D","type":"T","subject":"A-1"}"#);
    assert_eq!(upper.id, event(&with("")).id);
    assert!(exchanged(&upper).contains("13B80EF6"), "the text stays as it was written");
}

#[test]
fn data_of_other_content_types_becomes_bytes() {
    let data = |members: &str| event(&with(members)).data;
    let bytes = |content_type: &str, data: &'static [u8]| Payload::Bytes {
        content_type: content_type.into(),
        data: data.into(),
    };
    assert_eq!(data(r#","datacontenttype":"text/plain","data":"a\nb""#), bytes("text/plain", b"a\nb"));
    assert_eq!(data(r#","datacontenttype":"text/plain""#), bytes("text/plain", b""));
    assert_eq!(data(r#","data_base64":"AP8=""#), bytes("application/octet-stream", b"\0\xff"));
    assert_eq!(data(r#","datacontenttype":"application/x+JSON","data":"a""#), Payload::Json(r#""a""#.into()));
    assert_eq!(data(r#","datacontenttype":"text/json; charset=utf-8","data":"a""#), Payload::Json(r#""a""#.into()));
}

#[test]
fn the_place_in_another_log_is_passed_over() {
    let event = event(&with(r#","position":4,"streamversion":2"#));
    assert_eq!(event.metadata, Metadata::default());
    let listing = serde_json::to_string(&CloudEvent::listing(&event)).unwrap();
    assert!(listing.contains(r#""position":17,"streamversion":3"#), "{listing}");
}

#[test]
fn refusals_name_the_field_and_the_reason() {
    refused("", None, "is no JSON object: EOF while parsing a value at column 0");
    refused("[1]", None, "is no JSON object");
    refused(r#"{"id":1"#, None, "at column 7");
    refused(r#"{"type":"T","subject":"A-1"}"#, Some("id"), "is missing");
    refused(r#"{"id":"a","subject":"A-1"}"#, Some("type"), "is missing");
    refused(r#"{"id":"a","type":"T"}"#, Some("subject"), "is missing");
    refused(r#"{"id":"a","type":"T","subject":"A"}"#, Some("subject"), "write `category-id`");
    refused(r#"{"id":"a","type":"","subject":"A-1"}"#, Some("type"), "1 to 256 bytes");
    refused(r#"{"id":"","type":"T","subject":"A-1"}"#, Some("id"), "is empty");
    refused(r#"{"id":7,"type":"T","subject":"A-1"}"#, Some("id"), "must be a text, not a number");
    refused(&with(r#","source":"""#), Some("source"), "is empty");
    refused(&with(r#","id":"again""#), Some("id"), "twice");
    refused(&with(r#","region":"eu","region":"us""#), Some("region"), "twice");
    refused(&with(r#","time":"yesterday""#), Some("time"), "RFC 3339");
    refused(&with(r#","specversion":"0.3""#), Some("specversion"), "1.0");
    refused(&with(r#","schemaversion":0"#), Some("schemaversion"), "from 1");
    refused(&with(r#","traceparent":"00-1-2-3""#), Some("traceparent"), "no traceparent");
    refused(&with(r#","data":1,"data_base64":"AA==""#), Some("data_base64"), "beside `data`");
    refused(&with(r#","data_base64":"?""#), Some("data_base64"), "no base64");
    refused(&with(r#","nested":{"a":1}"#), Some("nested"), "not an object");
    refused(&with(r#","share":0.5"#), Some("share"), "not a number");
    refused(&with(r#","correlationId":"x""#), Some("correlationId"), "lower-case");
}

proptest! {
    #[test]
    fn an_event_written_and_read_is_the_same(event in events()) {
        let text = exchanged(&event);
        prop_assert!(!text.contains('\n'));
        let (stream, new) = read(&text, &strict()).unwrap();
        let again = placed(stream, new);
        prop_assert_eq!(&again, &event);
        prop_assert_eq!(exchanged(&again), text);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), members in "[ -~]{0,60}") {
        let _ = read(&text, &strict());
        let _ = read(&with(&members), &strict());
    }
}

#[test]
fn foreign_content_types_of_json_survive() {
    let text = with(r#","datacontenttype":"application/vnd.order+json","data":"text""#);
    let event = event(&text);
    assert_eq!(event.metadata.extra.as_ref().unwrap()[KEPT_CONTENT_TYPE], "application/vnd.order+json");
    let written = exchanged(&event);
    assert_eq!(super::tests::event(&written), event);
    assert!(written.contains(r#""datacontenttype":"application/vnd.order+json""#));
}
