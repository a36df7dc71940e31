//! What modules are handed, as the bindings want it: lent, so that the engine copies it straight into the module's memory.

use lantern_core::{Command, Event, Metadata, Payload, TraceContext};

use crate::bindings::{aggregate::exports::lantern::module::aggregates, processor::lantern::module::types as wit};

/// Lends the pairs of some metadata. The usual metadata have no free pairs and cost no allocation.
pub(crate) fn with_pairs<T>(metadata: &Metadata, work: impl FnOnce(&[(&str, &str)]) -> T) -> T {
    let mut named = [("", ""); 4];
    let mut count = 0;
    for pair in named_pairs(metadata) {
        named[count] = pair;
        count += 1;
    }
    let named = &named[..count];
    if metadata.extra.is_none() {
        return work(named);
    }
    work(&named.iter().copied().chain(free_pairs(metadata)).collect::<Vec<_>>())
}

/// Lends some events.
pub(crate) fn with_events<T>(events: &[Event], work: impl FnOnce(&[wit::Event<'_>]) -> T) -> T {
    if let [event] = events {
        return with_pairs(&event.metadata, |pairs| work(&[self::event(event, pairs)]));
    }
    let mut pairs = Vec::with_capacity(events.len() * 2);
    let mut ends = Vec::with_capacity(events.len());
    for event in events {
        pairs.extend(named_pairs(&event.metadata).chain(free_pairs(&event.metadata)));
        ends.push(pairs.len());
    }
    let mut start = 0;
    let lent =
        events.iter().zip(ends).map(|(event, end)| self::event(event, &pairs[std::mem::replace(&mut start, end)..end]));
    work(&lent.collect::<Vec<_>>())
}

fn named_pairs(metadata: &Metadata) -> impl Iterator<Item = (&str, &str)> {
    let ids = [
        ("correlation-id", &metadata.correlation_id),
        ("causation-id", &metadata.causation_id),
        ("tenant", &metadata.tenant),
        ("actor", &metadata.actor),
    ];
    ids.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
}

fn free_pairs(metadata: &Metadata) -> impl Iterator<Item = (&str, &str)> {
    metadata.extra.iter().flat_map(|extra| extra.iter()).map(|(name, value)| (name.as_str(), value.as_str()))
}

/// An event with these pairs.
pub(crate) fn event<'a>(event: &'a Event, metadata: &'a [(&'a str, &'a str)]) -> wit::Event<'a> {
    let (id_high, id_low) = event.id.as_u64_pair();
    let (content_type, data) = payload(&event.data);
    wit::Event {
        id_high,
        id_low,
        event_type: event.event_type.as_str(),
        schema_version: event.schema_version,
        stream: event.stream.as_str(),
        version: event.version.0,
        position: event.position.0,
        time: event.time.0,
        content_type,
        data,
        metadata,
    }
}

/// A command with these pairs.
pub(crate) fn command<'a>(command: &'a Command, metadata: &'a [(&'a str, &'a str)]) -> aggregates::Command<'a> {
    let (id_high, id_low) = command.id.as_u64_pair();
    let (content_type, data) = payload(&command.data);
    aggregates::Command {
        id_high,
        id_low,
        command_type: command.command_type.as_str(),
        time: command.received_at.0,
        content_type,
        data,
        metadata,
    }
}

/// A payload and its content type, which JSON need not say.
pub(crate) fn payload(payload: &Payload) -> (Option<&str>, wit::PayloadParam<'_>) {
    match payload {
        Payload::Json(text) => (None, wit::PayloadParam::Json(text)),
        Payload::Bytes { content_type, data } => (Some(content_type), wit::PayloadParam::Bytes(data)),
    }
}

/// A span's context; all zero when the call is not traced.
pub(crate) fn context(trace: Option<&TraceContext>) -> wit::TraceContext<'_> {
    wit::TraceContext {
        trace_id_high: trace.map_or(0, |trace| (trace.trace_id >> 64) as u64),
        trace_id_low: trace.map_or(0, |trace| trace.trace_id as u64),
        span_id: trace.map_or(0, |trace| trace.span_id),
        flags: trace.map_or(0, |trace| trace.flags),
        state: trace.and_then(|trace| trace.state.as_deref()),
    }
}
