//! What a module is handed: the event with all it carries, the trace context and the configuration.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use lantern_core::{
    Call, Cause, Event, Instance, Library as _, Metadata, Payload, Position, Timestamp, TraceContext, Value, Version,
};
use uuid::Uuid;

use crate::{
    crafted::{Crafted, component},
    support::{event, library, load, nothing, project, settings},
};

/// Where things are in the memory of a module when `handle` begins, as the canonical ABI lays them out. The context is
/// at 0, the event at 40.
const TRACE_IDS: (u32, u32) = (0, 24);
const FLAGS: (u32, u32) = (24, 1);
const STATE: u32 = 32;
const ID: (u32, u32) = (40, 16);
const EVENT_TYPE: u32 = 56;
const SCHEMA_VERSION: (u32, u32) = (64, 4);
const STREAM: u32 = 68;
const PLACES_AND_TIME: (u32, u32) = (80, 24);
const CONTENT_TYPE: u32 = 108;
const IS_BYTES: (u32, u32) = (116, 1);
const DATA: u32 = 120;
const METADATA: u32 = 128;

/// Instructions for a text whose address and length stand at a place.
fn text(place: u32) -> String {
    format!("(i32.load offset={place} (local.get 0)) (i32.load offset={} (local.get 0))", place + 4)
}

/// Instructions for the bytes themselves at a place.
fn bytes((place, length): (u32, u32)) -> String {
    format!("(i32.add (local.get 0) (i32.const {place})) (i32.const {length})")
}

/// Instructions for a text of the pair of metadata at an index.
fn pair(index: u32, half: u32) -> String {
    let start = format!("(i32.load offset={METADATA} (local.get 0))");
    let place = 16 * index + 8 * half;
    format!("(i32.load offset={place} {start}) (i32.load offset={} {start})", place + 4)
}

/// Has a crafted module write each of some keys and values, and gives what it wrote.
async fn written(call: &Call<'_>, puts: &[(String, String)]) -> Vec<(String, String)> {
    let put = |(key, value): &(String, String)| format!("(call $put (i32.const 16) (i32.const 4) {key} {value})");
    let handle = puts.iter().map(put).collect::<String>();
    let kept = library().push(component(&Crafted { handle, ..Crafted::default() })).await.unwrap();
    let mut instance: Box<dyn Instance> = library().load(kept.digest, &settings()).await.unwrap().instance();
    let writes = instance.handle(call, &nothing()).result.unwrap().writes;
    writes.into_iter().map(|write| (write.key.to_string(), write.value.unwrap().to_string())).collect()
}

/// The bytes of some numbers as they lie in memory; small enough to be a text, as a key has to be.
fn numbers(numbers: &[u64]) -> String {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    String::from_utf8(bytes).unwrap()
}

fn full() -> Event {
    Event {
        id: Uuid::from_u64_pair(0x0102_0304_0506_0708, 0x1112_1314_1516_1718),
        schema_version: 5,
        version: Version(0x21),
        position: Position(0x22),
        time: Timestamp(0x23),
        metadata: Metadata {
            correlation_id: Some("\"the correlation\"".into()),
            causation_id: Some("\"the cause\"".into()),
            tenant: Some("\"the tenant\"".into()),
            actor: Some("\"the actor\"".into()),
            extra: Some(Arc::new(BTreeMap::from([("region".into(), "\"north\"".into())]))),
            ..Metadata::default()
        },
        ..event(1, "[1, 2]")
    }
}

fn call<'a>(event: &'a Event, trace: Option<&TraceContext>) -> Call<'a> {
    Call { event, cause: Cause::Live, attempt: 1, trace: trace.cloned() }
}

#[tokio::test]
async fn an_event_crosses_whole() {
    let event = full();
    let json = text(DATA);
    let keys =
        [text(STREAM), text(EVENT_TYPE), bytes(ID), bytes(SCHEMA_VERSION), bytes(PLACES_AND_TIME), bytes(IS_BYTES)];
    let written = written(&call(&event, None), &keys.map(|key| (key, json.clone()))).await;
    let keys = written.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>();
    let (id, places) = (numbers(&[0x0102_0304_0506_0708, 0x1112_1314_1516_1718]), numbers(&[0x21, 0x22, 0x23]));
    assert_eq!(keys, ["Order-1", "OrderPlaced", &id, "\u{5}\0\0\0", &places, "\0"]);
    assert!(written.iter().all(|(_, value)| value == "[1, 2]"));
}

#[tokio::test]
async fn metadata_cross_by_their_names() {
    let event = full();
    let written = written(&call(&event, None), &[0, 1, 2, 3, 4].map(|index| (pair(index, 0), pair(index, 1)))).await;
    let expected = [
        ("correlation-id", "the correlation"),
        ("causation-id", "the cause"),
        ("tenant", "the tenant"),
        ("actor", "the actor"),
        ("region", "north"),
    ];
    assert_eq!(written, expected.map(|(name, value)| (name.to_owned(), format!("\"{value}\""))));
}

#[tokio::test]
async fn bytes_cross_with_their_content_type() {
    let data = Payload::Bytes { content_type: "application/cbor".into(), data: Bytes::from_static(b"[3]") };
    let event = Event { data, ..full() };
    let keys = [text(CONTENT_TYPE), bytes(IS_BYTES)].map(|key| (key, text(DATA)));
    let written = written(&call(&event, None), &keys).await;
    assert_eq!(written, [("application/cbor", "[3]"), ("\u{1}", "[3]")].map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[tokio::test]
async fn the_trace_context_crosses() {
    let (event, state) = (full(), Some("vendor=1".into()));
    let trace = TraceContext { trace_id: (0x31 << 64) | 0x32, span_id: 0x33, flags: 1, state };
    let keys = [bytes(TRACE_IDS), bytes(FLAGS), text(STATE)].map(|key| (key, text(DATA)));
    let written = written(&call(&event, Some(&trace)), &keys).await;
    let keys = written.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>();
    assert_eq!(keys, [numbers(&[0x31, 0x32, 0x33]).as_str(), "\u{1}", "vendor=1"]);
}

#[tokio::test]
async fn a_call_that_is_not_traced_has_zeros_for_a_context() {
    let event = full();
    let written = written(&call(&event, None), &[(bytes((0, 40)), text(DATA))]).await;
    assert_eq!(written[0].0, "\0".repeat(40));
}

#[tokio::test]
async fn a_module_reads_the_configuration_of_its_deployment() {
    let mut settings = settings();
    settings.config.insert("currency".into(), "EUR".into());
    let mut configured = load("configured", &settings).await.instance();
    let documents = project(&mut configured, &[event(1, "{}")], "settings");
    assert_eq!(documents["Order-1"], Value::from(r#"{"currency":"EUR","vat":null}"#));
}
