//! Spans as OTLP messages, written straight from the records.
//!
//! The way through the SDK's span type and the generated messages makes some forty allocations a span and costs ten
//! times as much, which a busy host cannot spare. The generated messages check this file in its test.

mod attribute;
mod span;
mod wire;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use opentelemetry_proto::tonic::{common::v1::InstrumentationScope, resource::v1::Resource};
use prost::Message;

use super::queue::Chunk;
use crate::{names, record::SpanRef};

/// The longest key and length of a field.
const MAX_HEAD: usize = 11;

/// Field numbers of `ExportTraceServiceRequest`, `ResourceSpans` and `ScopeSpans`.
mod envelope {
    pub(super) const RESOURCE_SPANS: u8 = 1;
    pub(super) const RESOURCE: u8 = 1;
    pub(super) const SCOPE_SPANS: u8 = 2;
    pub(super) const SCOPE: u8 = 1;
    pub(super) const SPAN: u8 = 2;
}

/// Writes requests for one resource.
#[derive(Debug)]
pub(crate) struct Encoder {
    resource: Vec<u8>,
    scope: Vec<u8>,
    /// The buffer of the request before, once that is delivered: a fresh one for each would be a megabyte of pages to
    /// clear.
    spare: Arc<Mutex<Vec<u8>>>,
}

/// A request on its way, which gives its buffer back.
struct Request {
    buffer: Vec<u8>,
    /// Where the request begins: the room before it is what its head left of what was reserved.
    start: usize,
    spare: Arc<Mutex<Vec<u8>>>,
}

impl AsRef<[u8]> for Request {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut self.buffer);
    }
}

impl Encoder {
    pub(crate) fn new(resource: &Resource, version: String) -> Self {
        let scope = scope(names::SCOPE, version);
        Self { resource: resource.encode_to_vec(), scope, spare: Arc::default() }
    }

    /// An `ExportTraceServiceRequest` with these spans.
    pub(crate) fn request(&self, chunk: &Chunk) -> Bytes {
        // The lengths in the head are known last, so room is left for it. Each level has a key and a length.
        let room = self.resource.len() + self.scope.len() + 4 * MAX_HEAD;
        let mut buffer = std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner));
        buffer.clear();
        buffer.resize(room, 0);
        let mut guests: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for recorded in chunk.spans() {
            match recorded {
                SpanRef::Handle(labels, span) => {
                    wire::message(&mut buffer, envelope::SPAN, |buffer| span::handle(buffer, labels, span));
                }
                SpanRef::Host(span) => wire::message(&mut buffer, envelope::SPAN, |buffer| span::host(buffer, span)),
                SpanRef::Message(channel, span) => {
                    wire::message(&mut buffer, envelope::SPAN, |buffer| span::message(buffer, channel, span));
                }
                SpanRef::Guest(labels, span) => {
                    let buffer = guests.entry(&span.scope).or_default();
                    wire::message(buffer, envelope::SPAN, |buffer| span::guest(buffer, labels, span));
                }
            }
        }
        let host_spans = buffer.len() - room;
        for (name, spans) in &guests {
            let scope = scope(name, String::new());
            scope_head(&mut buffer, &scope, spans.len());
            buffer.extend_from_slice(spans);
        }
        let mut host_head = Vec::new();
        if host_spans > 0 {
            scope_head(&mut host_head, &self.scope, host_spans);
        }
        let scopes = host_head.len() + buffer.len() - room;
        let mut head = Vec::with_capacity(room);
        wire::length(&mut head, envelope::RESOURCE_SPANS, wire::field_length(self.resource.len()) + scopes);
        wire::bytes(&mut head, envelope::RESOURCE, &self.resource);
        head.extend_from_slice(&host_head);
        let start = room - head.len();
        buffer[start..room].copy_from_slice(&head);
        Bytes::from_owner(Request { buffer, start, spare: self.spare.clone() })
    }
}

/// The head of a `ScopeSpans` whose spans follow.
fn scope_head(buffer: &mut Vec<u8>, scope: &[u8], spans: usize) {
    wire::length(buffer, envelope::SCOPE_SPANS, wire::field_length(scope.len()) + spans);
    wire::bytes(buffer, envelope::SCOPE, scope);
}

/// An `InstrumentationScope`.
fn scope(name: &str, version: String) -> Vec<u8> {
    InstrumentationScope { name: name.into(), version, ..Default::default() }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use lantern_core::{
        Kind, Timestamp,
        module::{Failure, FailureKind},
        witness::{SpanKind, SpanStatus},
    };
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{AnyValue, KeyValue, any_value},
        trace::v1::Span as ProtoSpan,
    };

    use serde_json::Value;

    use super::*;
    use crate::{
        fixture::{self, ports},
        record::{Block, HandleSpan, Labels, Link, Moment},
        view::{EventView, LinkView, SpanView},
    };

    fn plain(value: Option<AnyValue>) -> Value {
        match value.and_then(|value| value.value) {
            None => Value::Null,
            Some(any_value::Value::StringValue(text)) => text.into(),
            Some(any_value::Value::BoolValue(yes)) => yes.into(),
            Some(any_value::Value::IntValue(int)) => int.into(),
            Some(any_value::Value::DoubleValue(float)) => float.into(),
            Some(any_value::Value::ArrayValue(array)) => {
                array.values.into_iter().map(|item| plain(Some(item))).collect()
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    fn map(attributes: Vec<KeyValue>) -> BTreeMap<String, Value> {
        let count = attributes.len();
        let map: BTreeMap<_, _> = attributes.into_iter().map(|pair| (pair.key, plain(pair.value))).collect();
        assert_eq!(map.len(), count, "a key is there twice");
        map
    }

    /// A decoded span, as the other way of showing spans has it.
    fn decoded(span: ProtoSpan, scope: &str) -> SpanView {
        let status = span.status.clone().unwrap_or_default();
        let at = |nanos: u64| Timestamp(i64::try_from(nanos).unwrap());
        SpanView {
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_span_id: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
            kind: ["unspecified", "internal", "server", "client", "producer", "consumer"][span.kind as usize],
            start: at(span.start_time_unix_nano),
            end: at(span.end_time_unix_nano),
            status: ["unset", "ok", "error"][status.code as usize],
            error: (status.code == 2).then_some(status.message),
            attributes: map(span.attributes),
            events: (span.events.into_iter())
                .map(|event| EventView {
                    name: event.name,
                    time: at(event.time_unix_nano),
                    attributes: map(event.attributes),
                })
                .collect(),
            links: (span.links.iter())
                .map(|link| LinkView { trace_id: hex(&link.trace_id), span_id: hex(&link.span_id) })
                .collect(),
            name: span.name,
            scope: scope.into(),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn handle_span() -> HandleSpan {
        let event = ports::event(None);
        HandleSpan {
            trace_id: 10,
            span_id: 20,
            parent: 0,
            flags: 1,
            dry_run: false,
            emitted: 0,
            timers: 0,
            statements: 0,
            statement_time: 0,
            attempt: 1,
            state: None,
            link: None,
            start: Timestamp(1_700_000_000_000_000_000),
            end: Timestamp(1_700_000_000_000_012_345),
            event_id: event.id,
            event_type: event.event_type,
            stream: event.stream,
            version: event.version,
            position: event.position,
            tenant: None,
            failure: None,
        }
    }

    fn calls() -> Block {
        let mut failure = Failure::new(FailureKind::Trap, "x".repeat(300));
        failure.backtrace = Some("at handle".into());
        let failed = HandleSpan {
            parent: 5,
            attempt: 300,
            dry_run: true,
            emitted: 2,
            timers: 300,
            statements: 12,
            statement_time: 3_456,
            link: Some(Link { trace_id: u128::MAX, span_id: u64::MAX }),
            tenant: Some("acme".into()),
            state: Some("vendor=1".into()),
            failure: Some(Box::new(failure)),
            ..handle_span()
        };
        let mut guest = fixture::guest(10, 21, 20);
        guest.kind = SpanKind::Client;
        guest.status = SpanStatus::Ok;
        let values = ["\"text\"", "-3", "1.5", "true", "null", "[1,\"a\"]", "no json", "18446744073709551615"];
        guest.attributes = values.iter().enumerate().map(|(n, value)| (format!("a{n}"), (*value).into())).collect();
        guest.events = vec![("noted".into(), Timestamp(7), vec![("k".into(), "1".into())])];
        guest.links = vec![(3, 4, vec![("k".into(), "1".into())])];
        let labels = labels(Kind::Projection);
        Block::Calls { labels, handles: vec![handle_span(), failed], guests: vec![guest], bytes: 0 }
    }

    fn labels(kind: Kind) -> Arc<Labels> {
        Arc::new(Labels::new(kind, "orders".parse().unwrap(), lantern_core::Digest([7; 32])))
    }

    fn host_spans() -> Block {
        let mut span = fixture::span(11, "POST /api/v1/events");
        span.kind = SpanKind::Server;
        span.status = SpanStatus::Error("no".into());
        span.attributes.push(("http.response.status_code".into(), 503.into()));
        span.events.push(Moment { name: "exception".into(), at: Timestamp(9), attributes: Vec::new() });
        span.links.push(Link { trace_id: 1, span_id: 2 });
        Block::Spans(vec![span])
    }

    #[test]
    fn what_is_written_is_what_the_generated_messages_read() {
        let resource = Resource { dropped_attributes_count: 3, ..Resource::default() };
        let blocks = [Arc::new(calls()), Arc::new(host_spans())];
        let request = Encoder::new(&resource, "1.2".into()).request(&Chunk::of(&blocks));
        let request = ExportTraceServiceRequest::decode(request).unwrap();
        let [of_resource] = request.resource_spans.as_slice() else { panic!("{request:?}") };
        assert_eq!(of_resource.resource.as_ref(), Some(&resource));
        let mut spans = Vec::new();
        let mut scopes = Vec::new();
        for scope in &of_resource.scope_spans {
            let named = scope.scope.clone().unwrap();
            spans.extend(scope.spans.iter().map(|span| decoded(span.clone(), &named.name)));
            scopes.push((named.name, named.version, scope.spans.len()));
        }
        let expected = [("lantern", "1.2", 3), ("guest", "", 1)].map(|(n, v, c)| (n.to_owned(), v.to_owned(), c));
        assert_eq!(scopes, expected);
        let mut views: Vec<SpanView> = blocks.iter().flat_map(|block| block.spans()).map(SpanView::from).collect();
        // The guest's spans come last, in a scope of their own; what does not fit an integer travels as a double.
        let mut guest = views.remove(2);
        guest.attributes.insert("a7".into(), 18_446_744_073_709_551_615_f64.into());
        views.push(guest);
        assert_eq!(spans, views);
        let raw = &of_resource.scope_spans[0].spans[1];
        assert_eq!((raw.flags, raw.trace_state.as_str()), (1, "vendor=1"));
    }

    #[test]
    fn messages_are_written_alike_both_ways() {
        use lantern_core::bus::{Offset, Partition, Receipt};

        use crate::messages::{Carried, Channel, MessageSpan, Way};

        let event = ports::event(None);
        let carried = Carried {
            id: event.id,
            event_type: event.event_type,
            stream: event.stream,
            tenant: Some("acme".into()),
            correlation: Some("request".into()),
        };
        let context = ports::context(10, 20);
        let receipt = Receipt { partition: Partition(3), offset: Offset::Number(41), session: 1 };
        let link = Some(Link { trace_id: 1, span_id: 2 });
        let failure = Some(("unreachable", Arc::from("away")));
        let span = MessageSpan { parent: 5, link, failure, ..MessageSpan::at(&context, Timestamp(7), Some(carried)) };
        for system in ["kafka", "rabbitmq", "redis", "memory"] {
            for (way, group) in [(Way::Publish, None), (Way::Consume, Some("shop".into()))] {
                let channel = Channel { way, system, topic: "orders".into(), group, old_keys: true };
                let span = if way == Way::Consume { span.clone().from(receipt) } else { span.clone() };
                let mut buffer = Vec::new();
                span::message(&mut buffer, &channel, &span);
                let read = ProtoSpan::decode(buffer.as_slice()).unwrap();
                assert_eq!(decoded(read, "lantern"), SpanView::from(SpanRef::Message(&channel, &span)));
            }
        }
    }

    #[test]
    fn every_kind_of_module_is_named_alike_both_ways() {
        let expected = [
            (Kind::Projection, "eventsource.projection.name"),
            (Kind::Handler, "eventsource.handler.name"),
            (Kind::Aggregate, "eventsource.aggregate.type"),
            (Kind::Upcaster, "lantern.upcaster.name"),
        ];
        for (kind, key) in expected {
            let (labels, guest) = (labels(kind), fixture::guest(10, 21, 20));
            let mut buffer = Vec::new();
            span::guest(&mut buffer, &labels, &guest);
            let read = ProtoSpan::decode(buffer.as_slice()).unwrap();
            assert_eq!(map(read.attributes), BTreeMap::from([(key.into(), "orders".into())]));
            assert_eq!(SpanView::from(SpanRef::Guest(&labels, &guest)).attributes[key], "orders");
        }
        let labels = labels(Kind::Handler);
        let mut buffer = Vec::new();
        span::handle(&mut buffer, &labels, &handle_span());
        let read = ProtoSpan::decode(buffer.as_slice()).unwrap();
        assert_eq!(decoded(read, "lantern"), SpanView::from(SpanRef::Handle(&labels, &handle_span())));
    }

    #[test]
    fn what_is_nested_deeper_than_a_list_travels_as_text() {
        let mut span = fixture::span(1, "s");
        span.attributes.push(("deep".into(), serde_json::json!({"a": [1]})));
        let mut buffer = Vec::new();
        span::host(&mut buffer, &span);
        let span = ProtoSpan::decode(buffer.as_slice()).unwrap();
        assert_eq!(map(span.attributes)["deep"], "{\"a\":[1]}");
    }
}
