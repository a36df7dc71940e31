//! The fields of a span, for each way it may be recorded.

use std::borrow::Cow;

use lantern_core::{
    Timestamp, TraceContext,
    witness::{Attribute, GuestSpan, SpanKind, SpanStatus},
};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind as ProtoKind, status::StatusCode};
use serde_json::Value;

use super::{
    attribute::{attribute, int, text},
    wire,
};
use crate::{
    messages::{self, Channel, MessageSpan, Told},
    names,
    record::{HandleSpan, Labels, Link, Moment, Span, kind_name},
    view,
};

/// Field numbers of `Span`.
mod field {
    pub(super) const TRACE_ID: u8 = 1;
    pub(super) const SPAN_ID: u8 = 2;
    pub(super) const TRACE_STATE: u8 = 3;
    pub(super) const PARENT: u8 = 4;
    pub(super) const NAME: u8 = 5;
    pub(super) const KIND: u8 = 6;
    pub(super) const START: u8 = 7;
    pub(super) const END: u8 = 8;
    pub(super) const ATTRIBUTE: u8 = 9;
    pub(super) const EVENT: u8 = 11;
    pub(super) const LINK: u8 = 13;
    pub(super) const STATUS: u8 = 15;
    pub(super) const FLAGS: u8 = 16;
}

/// Field numbers of `Span.Event`, `Span.Link` and `Status`.
mod part {
    pub(super) const EVENT_TIME: u8 = 1;
    pub(super) const EVENT_NAME: u8 = 2;
    pub(super) const EVENT_ATTRIBUTE: u8 = 3;
    pub(super) const LINK_TRACE_ID: u8 = 1;
    pub(super) const LINK_SPAN_ID: u8 = 2;
    pub(super) const LINK_ATTRIBUTE: u8 = 4;
    pub(super) const STATUS_MESSAGE: u8 = 2;
    pub(super) const STATUS_CODE: u8 = 3;
}

pub(super) fn handle(buffer: &mut Vec<u8>, labels: &Labels, span: &HandleSpan) {
    ids(buffer, span.trace_id, span.span_id, span.parent, span.state.as_deref());
    wire::bytes(buffer, field::NAME, labels.handle().as_bytes());
    wire::number(buffer, field::KIND, ProtoKind::Internal as u64);
    times(buffer, span.start, span.end);
    let mut event_id = [0; 36];
    let mut set = |key, value: &str| text(buffer, field::ATTRIBUTE, key, value);
    set(labels.key(), labels.name.as_str());
    set(names::MODULE, &labels.module);
    set(names::EVENT_TYPE, span.event_type.as_str());
    set(names::EVENT_ID, span.event_id.hyphenated().encode_lower(&mut event_id));
    set(names::AGGREGATE_ID, span.stream.id());
    set(names::AGGREGATE_TYPE, span.stream.category());
    set(names::STREAM, span.stream.as_str());
    if let Some(tenant) = &span.tenant {
        set(names::TENANT, tenant);
    }
    if let Some(failure) = &span.failure {
        set(names::ERROR_TYPE, kind_name(failure.kind));
        set(names::EVENTSOURCE_ERROR_TYPE, kind_name(failure.kind));
    }
    int(buffer, field::ATTRIBUTE, names::POSITION, span.position.0);
    int(buffer, field::ATTRIBUTE, names::VERSION, span.version.0);
    int(buffer, field::ATTRIBUTE, names::ATTEMPT, span.attempt.into());
    if span.attempt > 1 {
        int(buffer, field::ATTRIBUTE, names::RETRY_COUNT, (span.attempt - 1).into());
    }
    if span.emitted > 0 {
        int(buffer, field::ATTRIBUTE, names::EMITTED, span.emitted.into());
    }
    if span.timers > 0 {
        int(buffer, field::ATTRIBUTE, names::TIMERS, span.timers.into());
    }
    if span.statements > 0 {
        int(buffer, field::ATTRIBUTE, names::SQL_STATEMENTS, span.statements.into());
        int(buffer, field::ATTRIBUTE, names::SQL_TIME, span.statement_time.into());
    }
    if span.dry_run {
        attribute(buffer, field::ATTRIBUTE, names::DRY_RUN, &Value::Bool(true));
    }
    if let Some(failure) = &span.failure {
        event(buffer, &view::exception(failure, span.end));
    }
    if let Some(related) = span.link {
        link(buffer, related, &[]);
    }
    if let Some(failure) = &span.failure {
        status(buffer, StatusCode::Error, &failure.message);
    }
    wire::fixed32(buffer, field::FLAGS, span.flags.into());
}

pub(super) fn message(buffer: &mut Vec<u8>, channel: &Channel, span: &MessageSpan) {
    ids(buffer, span.trace_id, span.span_id, span.parent, span.state.as_deref());
    wire::bytes(buffer, field::NAME, channel.way.span().as_bytes());
    wire::number(buffer, field::KIND, kind(channel.way.kind()));
    times(buffer, span.start, span.end);
    messages::attributes(channel, span, |key, value| match value {
        Told::Text(value) => text(buffer, field::ATTRIBUTE, key, value),
        Told::Number(number) => int(buffer, field::ATTRIBUTE, key, number),
    });
    if let Some(related) = span.link {
        link(buffer, related, &[]);
    }
    if let Some((_, message)) = &span.failure {
        status(buffer, StatusCode::Error, message);
    }
    wire::fixed32(buffer, field::FLAGS, span.flags.into());
}

pub(super) fn host(buffer: &mut Vec<u8>, span: &Span) {
    ids(buffer, span.trace_id, span.span_id, span.parent, span.state.as_deref());
    wire::bytes(buffer, field::NAME, span.name.as_bytes());
    wire::number(buffer, field::KIND, kind(span.kind));
    times(buffer, span.start, span.end);
    for (key, value) in &span.attributes {
        attribute(buffer, field::ATTRIBUTE, key, value);
    }
    span.events.iter().for_each(|moment| event(buffer, moment));
    span.links.iter().for_each(|related| link(buffer, *related, &[]));
    span_status(buffer, &span.status);
    wire::fixed32(buffer, field::FLAGS, span.flags.into());
}

pub(super) fn guest(buffer: &mut Vec<u8>, labels: &Labels, span: &GuestSpan) {
    ids(buffer, span.trace_id, span.span_id, span.parent_span_id, None);
    wire::bytes(buffer, field::NAME, span.name.as_bytes());
    wire::number(buffer, field::KIND, kind(span.kind));
    times(buffer, span.start, span.end);
    for (key, value) in &span.attributes {
        attribute(buffer, field::ATTRIBUTE, key, &view::guest_value(value));
    }
    if !span.attributes.iter().any(|(key, _)| key == labels.key()) {
        text(buffer, field::ATTRIBUTE, labels.key(), labels.name.as_str());
    }
    for (name, at, attributes) in &span.events {
        event(buffer, &Moment { name: Cow::Owned(name.clone()), at: *at, attributes: guest_values(attributes) });
    }
    for (trace_id, span_id, attributes) in &span.links {
        link(buffer, Link { trace_id: *trace_id, span_id: *span_id }, attributes);
    }
    span_status(buffer, &span.status);
    wire::fixed32(buffer, field::FLAGS, u32::from(TraceContext::SAMPLED));
}

fn ids(buffer: &mut Vec<u8>, trace_id: u128, span_id: u64, parent: u64, state: Option<&str>) {
    wire::bytes(buffer, field::TRACE_ID, &trace_id.to_be_bytes());
    wire::bytes(buffer, field::SPAN_ID, &span_id.to_be_bytes());
    if let Some(state) = state {
        wire::bytes(buffer, field::TRACE_STATE, state.as_bytes());
    }
    if parent != 0 {
        wire::bytes(buffer, field::PARENT, &parent.to_be_bytes());
    }
}

fn times(buffer: &mut Vec<u8>, start: Timestamp, end: Timestamp) {
    wire::fixed64(buffer, field::START, nanos(start));
    wire::fixed64(buffer, field::END, nanos(end));
}

/// OTLP knows no time before 1970.
fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}

fn event(buffer: &mut Vec<u8>, moment: &Moment) {
    wire::message(buffer, field::EVENT, |buffer| {
        wire::fixed64(buffer, part::EVENT_TIME, nanos(moment.at));
        wire::bytes(buffer, part::EVENT_NAME, moment.name.as_bytes());
        for (key, value) in &moment.attributes {
            attribute(buffer, part::EVENT_ATTRIBUTE, key, value);
        }
    });
}

fn link(buffer: &mut Vec<u8>, link: Link, attributes: &[Attribute]) {
    wire::message(buffer, field::LINK, |buffer| {
        wire::bytes(buffer, part::LINK_TRACE_ID, &link.trace_id.to_be_bytes());
        wire::bytes(buffer, part::LINK_SPAN_ID, &link.span_id.to_be_bytes());
        for (key, value) in attributes {
            attribute(buffer, part::LINK_ATTRIBUTE, key, &view::guest_value(value));
        }
    });
}

fn span_status(buffer: &mut Vec<u8>, of: &SpanStatus) {
    match of {
        SpanStatus::Unset => {}
        SpanStatus::Ok => status(buffer, StatusCode::Ok, ""),
        SpanStatus::Error(text) => status(buffer, StatusCode::Error, text),
    }
}

fn status(buffer: &mut Vec<u8>, code: StatusCode, message: &str) {
    wire::message(buffer, field::STATUS, |buffer| {
        wire::bytes(buffer, part::STATUS_MESSAGE, message.as_bytes());
        wire::number(buffer, part::STATUS_CODE, code as u64);
    });
}

fn kind(kind: SpanKind) -> u64 {
    let kind = match kind {
        SpanKind::Internal => ProtoKind::Internal,
        SpanKind::Client => ProtoKind::Client,
        SpanKind::Server => ProtoKind::Server,
        SpanKind::Producer => ProtoKind::Producer,
        SpanKind::Consumer => ProtoKind::Consumer,
    };
    kind as u64
}

fn guest_values(attributes: &[Attribute]) -> Vec<(Cow<'static, str>, Value)> {
    attributes.iter().map(|(key, value)| (key.clone().into(), view::guest_value(value))).collect()
}
