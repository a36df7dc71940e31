//! Spans as people and programs read them: recorded spans turned into plain values.

use std::{borrow::Cow, collections::BTreeMap};

use lantern_core::{
    Timestamp,
    module::Failure,
    witness::{Attribute, GuestSpan, SpanKind, SpanStatus},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    messages::{self, Channel, MessageSpan, Told},
    names,
    record::{HandleSpan, Labels, Link, Moment, Span, SpanRef, kind_name},
};

/// A span, as JSON shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanView {
    /// The trace, 32 hexadecimal digits.
    pub trace_id: String,
    /// The span, 16 hexadecimal digits.
    pub span_id: String,
    /// The span around it; `None` for a root.
    pub parent_span_id: Option<String>,
    /// Its name.
    pub name: String,
    /// `internal`, `client`, `server`, `producer` or `consumer`.
    pub kind: &'static str,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// `unset`, `ok` or `error`.
    pub status: &'static str,
    /// What went wrong, where the status is `error`.
    pub error: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// What happened during it.
    pub events: Vec<EventView>,
    /// Spans it is related to.
    pub links: Vec<LinkView>,
    /// The library that made it: `lantern`, or what the guest said.
    pub scope: String,
}

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventView {
    /// What.
    pub name: String,
    /// When.
    pub time: Timestamp,
    /// Details.
    pub attributes: BTreeMap<String, Value>,
}

/// A span that another is related to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkView {
    /// Its trace, 32 hexadecimal digits.
    pub trace_id: String,
    /// Its id, 16 hexadecimal digits.
    pub span_id: String,
}

impl From<SpanRef<'_>> for SpanView {
    fn from(span: SpanRef<'_>) -> Self {
        match span {
            SpanRef::Handle(labels, span) => handle(labels, span),
            SpanRef::Guest(labels, span) => guest(labels, span),
            SpanRef::Message(channel, span) => message(channel, span),
            SpanRef::Host(span) => host(span),
        }
    }
}

fn handle(labels: &Labels, span: &HandleSpan) -> SpanView {
    let mut attributes = BTreeMap::new();
    let mut set = |key: &str, value: Value| attributes.insert(key.to_owned(), value);
    set(labels.key(), labels.name.as_str().into());
    set(names::MODULE, labels.module.as_str().into());
    set(names::EVENT_TYPE, span.event_type.as_str().into());
    set(names::EVENT_ID, span.event_id.to_string().into());
    set(names::AGGREGATE_ID, span.stream.id().into());
    set(names::AGGREGATE_TYPE, span.stream.category().into());
    set(names::STREAM, span.stream.as_str().into());
    set(names::POSITION, span.position.0.into());
    set(names::VERSION, span.version.0.into());
    set(names::ATTEMPT, span.attempt.into());
    if let Some(tenant) = &span.tenant {
        set(names::TENANT, tenant.as_ref().into());
    }
    if span.attempt > 1 {
        set(names::RETRY_COUNT, (span.attempt - 1).into());
    }
    if span.dry_run {
        set(names::DRY_RUN, true.into());
    }
    if span.emitted > 0 {
        set(names::EMITTED, span.emitted.into());
    }
    if span.timers > 0 {
        set(names::TIMERS, span.timers.into());
    }
    if span.statements > 0 {
        set(names::SQL_STATEMENTS, span.statements.into());
        set(names::SQL_TIME, span.statement_time.into());
    }
    if let Some(failure) = &span.failure {
        set(names::ERROR_TYPE, kind_name(failure.kind).into());
        set(names::EVENTSOURCE_ERROR_TYPE, kind_name(failure.kind).into());
    }
    SpanView {
        trace_id: trace_id(span.trace_id),
        span_id: span_id(span.span_id),
        parent_span_id: parent(span.parent),
        name: labels.handle().into(),
        kind: kind(SpanKind::Internal),
        start: span.start,
        end: span.end,
        status: if span.failure.is_some() { "error" } else { "unset" },
        error: span.failure.as_ref().map(|failure| failure.message.clone()),
        attributes,
        events: span.failure.iter().map(|failure| event(&exception(failure, span.end))).collect(),
        links: span.link.iter().map(link).collect(),
        scope: names::SCOPE.into(),
    }
}

fn message(channel: &Channel, span: &MessageSpan) -> SpanView {
    let mut attributes = BTreeMap::new();
    messages::attributes(channel, span, |key, value| {
        let value = match value {
            Told::Text(text) => text.into(),
            Told::Number(number) => number.into(),
        };
        attributes.insert(key.to_owned(), value);
    });
    SpanView {
        trace_id: trace_id(span.trace_id),
        span_id: span_id(span.span_id),
        parent_span_id: parent(span.parent),
        name: channel.way.span().into(),
        kind: kind(channel.way.kind()),
        start: span.start,
        end: span.end,
        status: if span.failure.is_some() { "error" } else { "unset" },
        error: span.failure.as_ref().map(|(_, message)| message.as_ref().into()),
        attributes,
        events: Vec::new(),
        links: span.link.iter().map(link).collect(),
        scope: names::SCOPE.into(),
    }
}

fn host(span: &Span) -> SpanView {
    SpanView {
        trace_id: trace_id(span.trace_id),
        span_id: span_id(span.span_id),
        parent_span_id: parent(span.parent),
        name: span.name.to_string(),
        kind: kind(span.kind),
        start: span.start,
        end: span.end,
        status: status(&span.status),
        error: error(&span.status),
        attributes: map(&span.attributes),
        events: span.events.iter().map(event).collect(),
        links: span.links.iter().map(link).collect(),
        scope: names::SCOPE.into(),
    }
}

fn guest(labels: &Labels, span: &GuestSpan) -> SpanView {
    let mut attributes = guest_map(&span.attributes);
    attributes.entry(labels.key().into()).or_insert_with(|| labels.name.as_str().into());
    SpanView {
        trace_id: trace_id(span.trace_id),
        span_id: span_id(span.span_id),
        parent_span_id: parent(span.parent_span_id),
        name: span.name.clone(),
        kind: kind(span.kind),
        start: span.start,
        end: span.end,
        status: status(&span.status),
        error: error(&span.status),
        attributes,
        events: span.events.iter().map(guest_event).collect(),
        links: span
            .links
            .iter()
            .map(|(trace, span, _)| LinkView { trace_id: trace_id(*trace), span_id: span_id(*span) })
            .collect(),
        scope: span.scope.clone(),
    }
}

/// The span event of a failure.
pub(crate) fn exception(failure: &Failure, at: Timestamp) -> Moment {
    let mut attributes = vec![
        (Cow::from(names::EXCEPTION_TYPE), Value::from(kind_name(failure.kind))),
        (names::EXCEPTION_MESSAGE.into(), failure.message.as_str().into()),
    ];
    if let Some(backtrace) = &failure.backtrace {
        attributes.push((names::EXCEPTION_STACKTRACE.into(), backtrace.as_str().into()));
    }
    Moment { name: names::EXCEPTION.into(), at, attributes }
}

/// The value of a guest's attribute: what its JSON text says, or the text itself where it is no JSON.
pub(crate) fn guest_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// A trace id as 32 hexadecimal digits.
pub(crate) fn trace_id(id: u128) -> String {
    format!("{id:032x}")
}

/// A span id as 16 hexadecimal digits.
pub(crate) fn span_id(id: u64) -> String {
    format!("{id:016x}")
}

fn parent(id: u64) -> Option<String> {
    (id != 0).then(|| span_id(id))
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Internal => "internal",
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn status(status: &SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error(_) => "error",
    }
}

fn error(status: &SpanStatus) -> Option<String> {
    if let SpanStatus::Error(text) = status { Some(text.clone()) } else { None }
}

fn link(link: &Link) -> LinkView {
    LinkView { trace_id: trace_id(link.trace_id), span_id: span_id(link.span_id) }
}

fn event(moment: &Moment) -> EventView {
    EventView { name: moment.name.to_string(), time: moment.at, attributes: map(&moment.attributes) }
}

fn guest_event((name, time, attributes): &(String, Timestamp, Vec<Attribute>)) -> EventView {
    EventView { name: name.clone(), time: *time, attributes: guest_map(attributes) }
}

fn map(attributes: &[(Cow<'static, str>, Value)]) -> BTreeMap<String, Value> {
    attributes.iter().map(|(key, value)| (key.to_string(), value.clone())).collect()
}

fn guest_map(attributes: &[Attribute]) -> BTreeMap<String, Value> {
    attributes.iter().map(|(key, value)| (key.clone(), guest_value(value))).collect()
}
