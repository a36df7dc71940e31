//! Event ids: an event is in the log at most once, however often it is sent.

use std::sync::Arc;

use lantern_core::{
    Expected, Filter, Log, Metadata, NewEvent, Payload, Position, Timestamp, Version, log::AppendError,
};

use super::samples::{append, append_some, assert_dense, event, head, json, read_all, stream, to, try_append};

pub(super) async fn an_append_sent_again_is_answered_alike(log: &dyn Log) {
    let mut calls = vec![
        to("A-1", Expected::NoStream, vec![event("One"), event("Two")]),
        to("B-1", Expected::Exact(Version(0)), vec![event("Three")]),
    ];
    let first = log.append(calls.clone()).await.unwrap();
    append_some(log, "A-1", 3).await;
    let before = head(log);
    assert_eq!(log.append(calls.clone()).await.as_ref(), Ok(&first), "also when the streams have moved on");

    // A client that sends an append again may do so at another time and in another trace.
    for append in &mut calls {
        for event in &mut append.events {
            event.time = Timestamp(1);
            event.metadata = Metadata { actor: Some(Arc::from("somebody")), ..Metadata::default() };
        }
    }
    assert_eq!(log.append(calls.clone()).await.as_ref(), Ok(&first), "time and metadata do not matter");
    assert_eq!(log.append(vec![calls[1].clone()]).await.as_deref(), Ok(&first[2..]), "a part of it is there too");
    assert_eq!(head(log), before, "nothing was appended");
    let kept = log.event(first[0].id).await.unwrap().unwrap();
    assert_ne!(kept.time, Timestamp(1), "the event stays what it was");
}

pub(super) async fn an_id_with_other_content_is_refused(log: &dyn Log) {
    let bytes = |content_type: &str| Payload::Bytes { content_type: content_type.into(), data: "{}".into() };
    append_some(log, "A-1", 1).await;
    let json_event = event("Original");
    let bytes_event = NewEvent { data: bytes("a/b"), ..event("Original") };
    append(log, "A-1", vec![json_event.clone(), bytes_event.clone()]).await;
    append_some(log, "A-2", 1).await;
    let renamed = lantern_core::EventType::new("Renamed").unwrap();
    let cases = [
        ("A-2", json_event.clone()),
        ("A-3", json_event.clone()),
        ("A-1", NewEvent { event_type: renamed, ..json_event.clone() }),
        ("A-1", NewEvent { event_type: event("Counted").event_type, ..json_event.clone() }),
        ("A-1", NewEvent { schema_version: 2, ..json_event.clone() }),
        ("A-1", NewEvent { data: json("{ }"), ..json_event.clone() }),
        ("A-1", NewEvent { data: bytes("application/json"), ..json_event.clone() }),
        ("A-1", NewEvent { data: json("{}"), ..bytes_event.clone() }),
        ("A-1", NewEvent { data: bytes("a/c"), ..bytes_event.clone() }),
    ];
    let before = head(log);
    for (index, (name, changed)) in cases.into_iter().enumerate() {
        let id = changed.id;
        let position = if id == json_event.id { Position(2) } else { Position(3) };
        let refused = AppendError::DuplicateEvent { id, position };
        for expected in [Expected::Any, Expected::StreamExists] {
            let call = vec![to("New-1", Expected::Any, vec![event("New")]), to(name, expected, vec![changed.clone()])];
            assert_eq!(log.append(call).await.as_ref(), Err(&refused), "case {index}");
        }
    }
    assert_eq!(head(log), before, "nothing beside a duplicate is appended");
    assert_dense(&read_all(log, &Filter::all(), 100).await);
}

pub(super) async fn without_expectation_the_rest_is_appended(log: &dyn Log) {
    let there = event("There");
    let first = append(log, "A-1", vec![there.clone()]).await;
    append_some(log, "B-1", 1).await;
    let places = append(log, "A-1", vec![event("Before"), there.clone(), event("After")]).await;
    let found: Vec<_> = places.iter().map(|place| (place.position.0, place.version.0)).collect();
    assert_eq!(found, [(3, 2), (1, 1), (4, 3)]);
    assert_eq!(places[1], first[0]);
    assert_eq!(log.stream_version(&stream("A-1")).await, Ok(Version(3)));
    // The version that counts is that of the last new event, also when the last one sent is an old one.
    let places = append(log, "A-1", vec![event("New"), there]).await;
    assert_eq!(places[0].version, Version(4));
    let next = try_append(log, "A-1", Expected::Exact(Version(4)), event("Next")).await.unwrap();
    assert_eq!(next.version, Version(5));
    assert_dense(&read_all(log, &Filter::all(), 100).await);
}

pub(super) async fn with_an_expectation_a_part_is_refused(log: &dyn Log) {
    let there = event("There");
    append(log, "A-1", vec![there.clone()]).await;
    let call = |expected| vec![to("A-1", expected, vec![there.clone(), event("New")])];
    let (expected, actual) = (Expected::Exact(Version(0)), Version(1));
    let wrong = AppendError::WrongExpectedVersion { stream: stream("A-1"), expected, actual };
    assert_eq!(log.append(call(expected)).await, Err(wrong), "what the writer believed of the stream is not so");
    let duplicate = AppendError::DuplicateEvent { id: there.id, position: Position(1) };
    for expected in [Expected::Exact(Version(1)), Expected::StreamExists] {
        assert_eq!(log.append(call(expected)).await.as_ref(), Err(&duplicate));
    }
    assert_eq!(head(log), Position(1));
}

pub(super) async fn an_id_twice_in_a_call_is_one_event(log: &dyn Log) {
    let twice = event("Twice");
    let places = append(log, "A-1", vec![twice.clone(), event("Between"), twice.clone()]).await;
    assert_eq!(places[0], places[2]);
    assert_eq!(head(log), Position(2));
    let other = event("Other");
    let changed = NewEvent { data: json("1"), ..other.clone() };
    for second in [to("A-1", Expected::Any, vec![changed]), to("A-2", Expected::Any, vec![other.clone()])] {
        let call = vec![to("A-1", Expected::Any, vec![other.clone()]), second];
        let refused = log.append(call).await;
        assert!(matches!(refused, Err(AppendError::DuplicateEvent { id, .. }) if id == other.id), "{refused:?}");
    }
    let call = vec![to("A-1", Expected::Exact(Version(2)), vec![other.clone(), other.clone()])];
    assert!(matches!(log.append(call).await, Err(AppendError::DuplicateEvent { .. })));
    assert_eq!(head(log), Position(2));
}
