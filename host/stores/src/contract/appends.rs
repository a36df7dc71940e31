//! Appends: places, expected versions, atomicity, size, and that an event comes back as it went in.

use std::{collections::BTreeMap, sync::Arc};

use lantern_core::{
    Event, Expected, Filter, Log, Metadata, NewEvent, Payload, Position, Timestamp, TraceContext, Version,
    log::{AppendError, MAX_APPEND, Range},
};

use super::samples::{append, append_some, assert_dense, event, head, json, read_all, stream, to, try_append};

pub(super) async fn positions_and_versions_are_dense(log: &dyn Log) {
    assert_eq!(head(log), Position::START, "a new log is empty");
    for (name, count) in [("A-1", 3), ("B-1", 1), ("A-1", 2), ("A-2", 4)] {
        let before = head(log);
        let version = log.stream_version(&stream(name)).await.unwrap();
        let events: Vec<_> = (0..count).map(|_| event("Counted")).collect();
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let places = append(log, name, events).await;
        for (index, place) in places.iter().enumerate() {
            assert_eq!(place.id, ids[index], "answers are in the order of the events");
            assert_eq!(place.position.0, before.0 + index as u64 + 1);
            assert_eq!(place.version.0, version.0 + index as u64 + 1);
        }
        assert_eq!(head(log).0, before.0 + count, "what is acknowledged is below the head");
    }
    let events = read_all(log, &Filter::all(), 100).await;
    assert_eq!(events.len(), 10);
    assert_dense(&events);
}

pub(super) async fn the_expected_version_decides(log: &dyn Log) {
    let cases = [
        (0, Expected::Any, true),
        (0, Expected::NoStream, true),
        (0, Expected::StreamExists, false),
        (0, Expected::Exact(Version(0)), true),
        (0, Expected::Exact(Version(1)), false),
        (2, Expected::Any, true),
        (2, Expected::NoStream, false),
        (2, Expected::StreamExists, true),
        (2, Expected::Exact(Version(0)), false),
        (2, Expected::Exact(Version(1)), false),
        (2, Expected::Exact(Version(2)), true),
        (2, Expected::Exact(Version(3)), false),
        (2, Expected::Exact(Version(u64::MAX)), false),
    ];
    for (index, (version, expected, fits)) in cases.into_iter().enumerate() {
        let name = format!("Case-{index}");
        if version > 0 {
            append_some(log, &name, version).await;
        }
        let before = head(log);
        let answer = try_append(log, &name, expected, event("Tried")).await;
        if fits {
            assert_eq!(answer.unwrap().version, Version(version as u64 + 1), "case {index}");
            continue;
        }
        let actual = Version(version as u64);
        let wrong = AppendError::WrongExpectedVersion { stream: stream(&name), expected, actual };
        assert_eq!(answer, Err(wrong), "case {index}");
        assert_eq!(head(log), before, "a refused append changes nothing");
        assert_eq!(log.stream_version(&stream(&name)).await, Ok(actual));
    }
}

pub(super) async fn an_append_is_atomic_over_streams(log: &dyn Log) {
    append_some(log, "A-1", 1).await;
    let both = |expected| {
        vec![
            to("B-1", Expected::NoStream, vec![event("First"), event("Second")]),
            to("A-1", expected, vec![event("Third")]),
        ]
    };
    let refused = log.append(both(Expected::NoStream)).await;
    assert!(matches!(refused, Err(AppendError::WrongExpectedVersion { .. })), "{refused:?}");
    assert_eq!(head(log), Position(1), "no part of a refused append is there");
    assert_eq!(log.stream_version(&stream("B-1")).await, Ok(Version::NONE));
    assert_eq!(log.read_stream(&stream("B-1"), Range::default()).await, Ok(Vec::new()));

    let places = log.append(both(Expected::Exact(Version(1)))).await.unwrap();
    let places: Vec<_> = places.iter().map(|place| (place.position.0, place.version.0)).collect();
    assert_eq!(places, [(2, 1), (3, 2), (4, 2)]);
    // A stream that was refused once must not leave anything behind that a later append trips over.
    assert_dense(&read_all(log, &Filter::all(), 100).await);
}

pub(super) async fn entries_of_a_call_see_those_before(log: &dyn Log) {
    let places = log.append(vec![
        to("A-1", Expected::NoStream, vec![event("One"), event("Two")]),
        to("B-1", Expected::NoStream, vec![event("One")]),
        to("A-1", Expected::Exact(Version(2)), vec![event("Three")]),
    ]);
    let versions: Vec<_> = places.await.unwrap().iter().map(|place| place.version.0).collect();
    assert_eq!(versions, [1, 2, 1, 3]);

    let refused = log.append(vec![
        to("A-2", Expected::NoStream, vec![event("One")]),
        to("A-2", Expected::NoStream, vec![event("Two")]),
    ]);
    let actual = Version(1);
    let wrong = AppendError::WrongExpectedVersion { stream: stream("A-2"), expected: Expected::NoStream, actual };
    assert_eq!(refused.await, Err(wrong));
    assert_eq!(head(log), Position(4));
}

pub(super) async fn too_little_and_too_much_is_refused(log: &dyn Log) {
    assert_eq!(log.append(Vec::new()).await, Err(AppendError::Empty));
    let half_empty = vec![to("A-1", Expected::Any, vec![event("One")]), to("A-2", Expected::Any, Vec::new())];
    assert_eq!(log.append(half_empty).await, Err(AppendError::Empty));
    let many = |count| (0..count).map(|_| event("Many")).collect::<Vec<_>>();
    let over = vec![to("A-1", Expected::Any, many(MAX_APPEND)), to("A-2", Expected::Any, many(1))];
    assert_eq!(log.append(over).await, Err(AppendError::TooLarge(MAX_APPEND + 1)));
    assert_eq!(head(log), Position::START);
    let places = append(log, "A-1", many(MAX_APPEND)).await;
    assert_eq!(places.last().map(|place| place.position), Some(Position(MAX_APPEND as u64)));
}

pub(super) async fn every_part_of_an_event_is_kept(log: &dyn Log) {
    let events = rich_events();
    let places = append(log, "Rich-é 日本-1", events.clone()).await;
    let expected = events.into_iter().zip(places).map(|(event, place)| Event {
        id: event.id,
        event_type: event.event_type,
        schema_version: event.schema_version,
        stream: stream("Rich-é 日本-1"),
        version: place.version,
        position: place.position,
        time: event.time,
        data: event.data,
        metadata: event.metadata,
    });
    let expected: Vec<_> = expected.collect();
    assert_eq!(read_all(log, &Filter::all(), 100).await, expected);
    assert_eq!(log.read_stream(&stream("Rich-é 日本-1"), Range::default()).await, Ok(expected.clone()));
    for event in expected {
        assert_eq!(log.event(event.id).await, Ok(Some(event)));
    }
}

/// Events that between them use every part, and its edges.
fn rich_events() -> Vec<NewEvent> {
    let bytes = |content_type: &str, data: &'static [u8]| Payload::Bytes {
        content_type: content_type.into(),
        data: bytes::Bytes::from_static(data),
    };
    let metadata = Metadata {
        source: Some("https://example.org/shop".into()),
        correlation_id: Some("correlation".into()),
        causation_id: Some("".into()),
        tenant: Some("tenant".into()),
        actor: Some("ann\0é".into()),
        trace: Some(TraceContext {
            trace_id: u128::MAX - 1,
            span_id: u64::MAX,
            flags: 255,
            state: Some("vendor=1,other=2".into()),
        }),
        extra: Some(Arc::new(BTreeMap::from([("".into(), "\"\n\0".into()), ("é".into(), "".into())]))),
    };
    let trace = TraceContext { trace_id: 1, span_id: 1, flags: 0, state: None };
    vec![
        NewEvent { data: json(r#"{"text":"\u0000é日本 \" '"}"#), metadata, ..event("Everything") },
        NewEvent { schema_version: u32::MAX, time: Timestamp(i64::MIN), ..event("Early") },
        NewEvent { schema_version: 0, time: Timestamp(i64::MAX), data: json("null"), ..event("Late 'quoted' é") },
        NewEvent { data: bytes("application/octet-stream", b"\0\xff\xfe"), ..event("Bytes") },
        NewEvent { data: bytes("text/plain; charset=utf-8", b""), ..event("NoBytes") },
        // Bytes that happen to be JSON stay bytes.
        NewEvent { data: bytes("application/json", b"{}"), ..event("JsonBytes") },
        NewEvent { metadata: Metadata { trace: Some(trace), ..Metadata::default() }, ..event("Traced") },
    ]
}
