//! The shapes of traces.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// A span.
#[derive(ToSchema)]
pub(in crate::http) struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    name: String,
    /// `internal`, `client`, `server`, `producer` or `consumer`.
    kind: String,
    start: String,
    end: String,
    /// `unset`, `ok` or `error`.
    status: String,
    error: Option<String>,
    attributes: BTreeMap<String, Value>,
    events: Vec<SpanEvent>,
    links: Vec<SpanLink>,
    scope: String,
}

/// Something that happened during a span.
#[derive(ToSchema)]
pub(in crate::http) struct SpanEvent {
    name: String,
    time: String,
    attributes: BTreeMap<String, Value>,
}

/// A span that another is related to.
#[derive(ToSchema)]
pub(in crate::http) struct SpanLink {
    trace_id: String,
    span_id: String,
}

/// A trace.
#[derive(ToSchema)]
pub(in crate::http) struct TraceAnswer {
    trace_id: String,
    spans: Vec<Span>,
}
