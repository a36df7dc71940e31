//! Events bound to messages: the same event out and in again, in every form, and what other makers send.

use std::borrow::Cow;

use bytes::Bytes;
use lantern_core::{Message, Payload, bus::Form};
use proptest::prelude::*;

use super::{NOW, samples::events, strict};
use crate::cloud_events::{
    Absent, CloudEvent, Invalid, KEPT_CONTENT_TYPE,
    bound::{self, STRUCTURED},
    http,
};

/// A message of any protocol.
#[derive(Debug)]
struct Letter {
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Letter {
    fn of(message: &Message, form: Form) -> Self {
        let mut headers = Vec::new();
        let event = CloudEvent::message(message);
        let bound = bound::write(event, form, |name, value| headers.push((name.to_owned(), value.to_owned())));
        Self { content_type: Some(bound.content_type.into()), headers, body: bound.body }
    }

    fn new(content_type: Option<&str>, headers: &[(&str, &str)], body: &'static str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { content_type: content_type.map(Into::into), headers, body: body.into() }
    }

    fn read(&self, absent: &Absent<'_>) -> Result<Message, Invalid> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value.as_str())));
        bound::read(self.content_type.as_deref(), headers, &self.body, absent)
    }
}

/// The attributes that each event must have.
const NEEDED: [(&str, &str); 5] =
    [("specversion", "1.0"), ("id", "7"), ("source", "urn:s"), ("type", "T"), ("subject", "A-1")];

fn data(content_type: Option<&str>, body: &'static str) -> Payload {
    Letter::new(content_type, &NEEDED, body).read(&strict()).unwrap().event.data
}

fn refused(letter: &Letter) -> String {
    letter.read(&strict()).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn an_event_is_the_same_in_both_forms(event in events()) {
        let message = message(&event);
        for form in [Form::Binary, Form::Structured] {
            let letter = Letter::of(&message, form);
            prop_assert_eq!(&letter.read(&strict()).unwrap(), &message, "{:?}", letter);
        }
    }

    #[test]
    fn an_event_is_the_same_over_http(event in events()) {
        let mut headers = Vec::new();
        let bound = http::write(CloudEvent::exchange(&event), |name, value| headers.push((name, value.to_owned())));
        prop_assert!(headers.iter().all(|(_, value)| value.bytes().all(|byte| byte.is_ascii_graphic())));
        headers.push(("content-type".into(), bound.content_type.into()));
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let (stream, new) = http::read(headers, &bound.body, &strict()).unwrap();
        prop_assert_eq!(Message { stream, event: new }, message(&event));
    }

    #[test]
    fn headers_of_http_keep_every_value(text in any::<String>()) {
        let encoded = http::encode(&text);
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert_eq!(http::decode("name", &encoded).unwrap(), text.as_str());
    }

    #[test]
    fn no_message_makes_it_panic(content_type in any::<Option<String>>(), name in "[a-z]{0,9}", value in any::<String>(),
                                 body in any::<Vec<u8>>()) {
        let headers = vec![(name, value)];
        let _ = Letter { content_type: content_type.clone(), headers, body: body.clone().into() }.read(&strict());
        let _ = Letter { content_type, headers: Vec::new(), body: body.into() }.read(&strict());
    }
}

fn message(event: &lantern_core::Event) -> Message {
    let lantern_core::Event { id, event_type, schema_version, stream, time, data, metadata, .. } = event.clone();
    Message { stream, event: lantern_core::NewEvent { id, event_type, schema_version, time, data, metadata } }
}

#[test]
fn the_binary_form_has_the_data_alone_in_its_body() {
    let letter = Letter::new(Some("application/json"), &NEEDED, r#"{"a": 1.10}"#);
    let message = letter.read(&strict()).unwrap();
    let again = Letter::of(&message, Form::Binary);
    assert_eq!((again.content_type, again.body), (letter.content_type, letter.body));
    let names: Vec<_> = again.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["specversion", "id", "source", "type", "subject", "time"]);
}

#[test]
fn the_structured_form_has_all_in_its_body() {
    let message = Letter::new(None, &NEEDED, "1").read(&strict()).unwrap();
    let letter = Letter::of(&message, Form::Structured);
    assert_eq!(letter.content_type.as_deref(), Some(STRUCTURED));
    assert!(letter.headers.is_empty() && letter.body.starts_with(br#"{"specversion":"1.0","id":"7""#));
}

#[test]
fn an_event_that_one_form_cannot_carry_takes_the_other() {
    let mut message = Letter::new(None, &NEEDED, "1").read(&strict()).unwrap();
    message.event.data = Payload::Bytes { content_type: "application/json".into(), data: "1".into() };
    let letter = Letter::of(&message, Form::Binary);
    assert_eq!(letter.content_type.as_deref(), Some(STRUCTURED));
    assert_eq!(letter.read(&strict()).unwrap(), message);
    message.event.data = Payload::Json("{".into());
    assert_eq!(Letter::of(&message, Form::Structured).content_type.as_deref(), Some("application/json"));
}

#[test]
fn the_content_type_decides_what_the_data_is() {
    let bytes = |content_type: &str, data: &'static str| Payload::Bytes {
        content_type: content_type.into(),
        data: data.into(),
    };
    assert_eq!(data(Some("application/json"), r#"{"a":1}"#), Payload::Json(r#"{"a":1}"#.into()));
    assert_eq!(data(Some("text/plain"), "1"), bytes("text/plain", "1"));
    assert_eq!(data(None, "1"), Payload::Json("1".into()));
    assert_eq!(data(None, "one"), bytes("application/octet-stream", "one"));
    assert_eq!(data(None, ""), Payload::Json("null".into()));
    let kept = Letter::new(Some("application/vnd.a+json"), &NEEDED, "1").read(&strict()).unwrap();
    assert_eq!(kept.event.metadata.extra.unwrap()[KEPT_CONTENT_TYPE], "application/vnd.a+json");
}

#[test]
fn a_subject_that_is_no_stream_goes_to_the_category() {
    let absent = Absent { stream: None, category: Some("Sensor"), time: NOW, id: None };
    let stream = |subject: Option<&str>| {
        let mut headers = NEEDED[..4].to_vec();
        headers.extend(subject.map(|subject| ("subject", subject)));
        Letter::new(None, &headers, "1").read(&absent).unwrap().stream
    };
    assert_eq!(stream(Some("Order-1")).as_str(), "Order-1");
    assert_eq!(stream(Some("hall/3")).as_str(), "Sensor-hall/3");
    assert_eq!(stream(Some("")).as_str(), "Sensor-7");
    assert_eq!(stream(None).as_str(), "Sensor-7");
    assert!(refused(&Letter::new(None, &NEEDED[..4], "1")).contains("`subject` is missing"));
}

#[test]
fn an_envelope_without_its_content_type_is_read() {
    let body = r#"{"specversion":"1.0","id":"7","source":"urn:s","type":"T","subject":"A-1"}"#;
    for content_type in [None, Some("application/json"), Some("Application/CloudEvents+JSON; charset=utf-8")] {
        let message = Letter::new(content_type, &[], body).read(&strict()).unwrap();
        assert_eq!(message.stream.as_str(), "A-1");
    }
}

#[test]
fn a_trace_that_cannot_be_read_is_left_out() {
    let mut headers = NEEDED.to_vec();
    headers.push(("traceparent", "00-nonsense"));
    assert_eq!(Letter::new(None, &headers, "1").read(&strict()).unwrap().event.metadata.trace, None);
    headers[5].1 = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert!(Letter::new(None, &headers, "1").read(&strict()).unwrap().event.metadata.trace.is_some());
}

#[test]
fn refusals_say_what_is_wrong() {
    let plain = Letter::new(Some("application/json"), &[], r#"{"order":1}"#);
    assert!(refused(&plain).contains("is no CloudEvent"));
    assert!(refused(&Letter::new(Some("application/json"), &NEEDED, "{")).contains("`data` is no JSON"));
    assert!(refused(&Letter::new(Some("application/cloudevents+avro"), &[], "")).contains("only `application/cloud"));
    assert!(refused(&Letter::new(Some("application/cloudevents-batch+json"), &[], "[]")).contains("only"));
    assert!(refused(&Letter::new(None, &NEEDED[2..], "1")).contains("`id` is missing"));
    let mut old = NEEDED;
    old[0].1 = "0.3";
    assert!(refused(&Letter::new(None, &old, "1")).contains("only \"1.0\" is known"));
}
