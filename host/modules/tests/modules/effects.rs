//! Events that handlers ask for: which come out, and which never do.

use lantern_core::{
    Draft, Emission, Grants, Instance, Kind, Library as _, Payload, Timer, Timestamp,
    module::{Failure, FailureKind, Settings},
};

use crate::{
    crafted::{Crafted, Text, cancel, component, emit, emit_at, put},
    support::{event, failure, handle, library, load, settings},
};

fn granted() -> Settings {
    let grants = Grants { emit: true, schedule: true, ..Grants::default() };
    Settings { kind: Kind::Handler, grants, ..settings() }
}

async fn crafted_with(handle: String, settings: &Settings) -> Box<dyn Instance> {
    let crafted = Crafted { handle, is_handler: true, emits: true, schedules: true, ..Crafted::default() };
    let kept = library().push(component(&crafted)).await.unwrap();
    library().load(kept.digest, settings).await.unwrap().instance()
}

async fn crafted(handle: String) -> Box<dyn Instance> {
    crafted_with(handle, &granted()).await
}

fn emission() -> Emission {
    let data = Payload::Json("{}".into());
    let event_type = lantern_core::EventType::new("other").unwrap();
    let event = Draft { event_type, schema_version: 1, data, extra: None };
    Emission { stream: "Order-1".parse().unwrap(), event }
}

/// Emits [`emission`].
fn good() -> String {
    emit(Text::Stream, Text::Other, Text::Json)
}

#[track_caller]
fn assert_limit(failure: &Failure, parts: &[&str]) {
    assert_eq!(failure.kind, FailureKind::Limit, "{failure}");
    for part in parts {
        assert!(failure.message.contains(part), "{:?} lacks {part:?}", failure.message);
    }
}

#[tokio::test]
async fn what_is_asked_for_comes_out_in_order() {
    let later = emit_at(Text::Collection, 7, Text::Stream, Text::Other, Text::Json);
    let mut crafted = crafted([good(), later, cancel(Text::Other), good()].concat()).await;
    for position in 1..=2 {
        let effects = handle(&mut crafted, &event(position, "{}")).result.unwrap();
        assert_eq!(effects.emitted, [emission(), emission()]);
        let set = Timer::Set { key: "kept".into(), due: Timestamp(7), emission: emission() };
        assert_eq!(effects.timers, [set, Timer::Cancel { key: "other".into() }]);
        assert_eq!(effects.writes, []);
    }
}

#[tokio::test]
async fn a_handler_emits_through_the_sdk() {
    let settings = granted();
    let mut emitter = load("emitter", &settings).await.instance();
    let emitted = handle(&mut emitter, &event(3, r#"{"count":2}"#)).result.unwrap().emitted;
    let data = emitted.iter().map(|emission| match &emission.event.data {
        Payload::Json(text) => (emission.stream.as_str(), emission.event.event_type.as_str(), &**text),
        Payload::Bytes { .. } => panic!("bytes"),
    });
    let expected =
        [("Emitted-1", "Emitted", r#"{"of":3,"index":0}"#), ("Emitted-1", "Emitted", r#"{"of":3,"index":1}"#)];
    assert_eq!(data.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn nothing_of_a_call_that_fails_comes_out() {
    let mut emitter = load("emitter", &granted()).await.instance();
    let refused = failure(&mut emitter, &event(1, r#"{"count":3,"fail":true}"#));
    assert_eq!((refused.kind, refused.message.as_str()), (FailureKind::Permanent, "the trigger fails"));
    let good = |emitter: &mut _, position| handle(emitter, &event(position, "{}")).result.unwrap().emitted.len();
    assert_eq!(good(&mut emitter, 2), 1, "nothing of the call before");
    assert_eq!(failure(&mut emitter, &event(3, r#"{"count":3,"trap":true}"#)).kind, FailureKind::Trap);
    assert_eq!(good(&mut emitter, 4), 1);
}

#[tokio::test]
async fn a_broken_rule_ends_the_call_and_names_what_broke_it() {
    let (stream, other, json) = (Text::Stream, Text::Other, Text::Json);
    let cases: [(String, &[&str]); 6] = [
        (emit(other, other, json), &["`other` is no stream name"]),
        (emit(stream, Text::Zeros(1), json), &["`Order-1`", "no event type"]),
        (emit(stream, other, Text::Zeros(2)), &["`Order-1`", "`other`", "no JSON"]),
        (emit_at(Text::Zeros(2_000), 1, stream, other, json), &["schedule", "2000 bytes", "1 to 1024"]),
        (emit_at(other, 1, stream, other, Text::Zeros(2)), &["no JSON"]),
        (cancel(Text::Zeros(0)), &["0 bytes", "1 to 1024"]),
    ];
    for (instructions, parts) in cases {
        let mut crafted = crafted(instructions).await;
        for position in 1..=2 {
            assert_limit(&failure(&mut crafted, &event(position, "{}")), parts);
        }
    }
}

#[tokio::test]
async fn events_and_documents_have_one_room_together() {
    let mut settings = granted();
    settings.limits.host_call_bytes = 60;
    let documents = put(Text::Collection, Text::Other, Text::Json).repeat(5);
    let mut fits = crafted_with(format!("{documents} {}", good()), &settings).await;
    handle(&mut fits, &event(1, "{}")).result.unwrap();
    let mut crowded = crafted_with(format!("{documents} {}", good().repeat(2)), &settings).await;
    let limits = ["the event `other`", "60 bytes", "`host_call_bytes`"];
    assert_limit(&failure(&mut crowded, &event(1, "{}")), &limits);
}

#[tokio::test]
async fn one_call_emits_so_many_events_and_no_more() {
    let mut emitter = load("emitter", &granted()).await.instance();
    let most = handle(&mut emitter, &event(1, r#"{"count":1000}"#)).result.unwrap().emitted.len();
    assert_eq!(most, 1_000);
    assert_limit(&failure(&mut emitter, &event(2, r#"{"count":1001}"#)), &["more than 1000 events"]);
}

#[tokio::test]
async fn describing_asks_for_nothing() {
    let crafted = Crafted { describe: good(), is_handler: true, emits: true, ..Crafted::default() };
    let refused = library().push(component(&crafted)).await.unwrap_err().to_string();
    assert!(refused.contains("`describe` failed") && refused.contains("only `handle` may"), "{refused}");
}
