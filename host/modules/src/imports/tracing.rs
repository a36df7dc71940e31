//! `wasi:otel/tracing`: the spans of the module.
//!
//! Ids are read leniently: a span whose ids cannot be read is counted and dropped, it never ends the call.

use lantern_core::{
    Timestamp,
    witness::{Attribute, GuestSpan, SpanKind, SpanStatus},
};

use crate::{
    bindings::processor::wasi::otel::{
        tracing::{self as wit, Host, SpanContext, SpanData, TraceFlags},
        types,
    },
    state::{State, cut},
};

/// The name under which the interface is served.
pub(super) const NAME: &str = "wasi:otel/tracing@0.2.0-rc.2";

impl types::Host for State {}

impl Host for State {
    fn on_start(&mut self, context: SpanContext) -> wasmtime::Result<()> {
        if self.telemetry.is_recording()
            && let Some(span) = span_id(&context.span_id)
        {
            self.telemetry.start_span(span);
        }
        Ok(())
    }

    fn on_end(&mut self, span: SpanData) -> wasmtime::Result<()> {
        if !self.telemetry.is_recording() {
            return Ok(());
        }
        match finished(span) {
            Some(span) => self.telemetry.end_span(span),
            None => self.telemetry.drop_span(),
        }
        Ok(())
    }

    /// The handle span: what the module's outermost spans hang on. Empty when the call is not traced.
    fn outer_span_context(&mut self) -> wasmtime::Result<SpanContext> {
        Ok(self.enclosing(None))
    }

    /// The span entered last: the innermost open one of the module, else the handle span. The two names differ in
    /// meaning because the later text changed it, so that a component made of several finds its caller's span.
    fn current_span_context(&mut self) -> wasmtime::Result<SpanContext> {
        Ok(self.enclosing(self.telemetry.innermost()))
    }
}

impl State {
    fn enclosing(&self, inner: Option<u64>) -> SpanContext {
        let Some(handle) = self.telemetry.handle_span() else { return none() };
        let flags = if handle.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::empty() };
        let pairs = handle.state.as_deref().unwrap_or_default().split(',').filter_map(|pair| pair.split_once('='));
        SpanContext {
            trace_id: format!("{:032x}", handle.trace_id),
            span_id: format!("{:016x}", inner.unwrap_or(handle.span_id)),
            trace_flags: flags,
            is_remote: inner.is_none(),
            trace_state: pairs.map(|(key, value)| (key.trim().into(), value.trim().into())).collect(),
        }
    }
}

/// The context of a call that is not traced: ids that are not set are empty.
fn none() -> SpanContext {
    SpanContext {
        trace_id: String::new(),
        span_id: String::new(),
        trace_flags: TraceFlags::empty(),
        is_remote: false,
        trace_state: Vec::new(),
    }
}

/// The span as core knows it, its times aside; nothing when its ids cannot be read.
fn finished(span: SpanData) -> Option<GuestSpan> {
    let parent = span.parent_span_id.trim();
    let parent_span_id = if parent.is_empty() { 0 } else { u64::from_str_radix(parent, 16).ok()? };
    let now = Timestamp(0);
    let events = span.events.into_iter().map(|event| (cut(&event.name), now, attributes(event.attributes)));
    let links = span.links.into_iter().filter_map(|link| {
        let context = link.span_context;
        Some((trace_id(&context.trace_id)?, span_id(&context.span_id)?, attributes(link.attributes)))
    });
    Some(GuestSpan {
        trace_id: trace_id(&span.span_context.trace_id)?,
        span_id: span_id(&span.span_context.span_id)?,
        parent_span_id,
        kind: kind(span.span_kind),
        name: cut(&span.name),
        start: now,
        end: now,
        status: status(span.status),
        attributes: attributes(span.attributes),
        events: events.collect(),
        links: links.collect(),
        scope: cut(&span.instrumentation_scope.name),
    })
}

/// Reads a trace id; zero is none.
fn trace_id(text: &str) -> Option<u128> {
    u128::from_str_radix(text.trim(), 16).ok().filter(|id| *id != 0)
}

/// Reads a span id; zero is none.
pub(super) fn span_id(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim(), 16).ok().filter(|id| *id != 0)
}

/// Attributes as core knows them.
pub(super) fn attributes(pairs: Vec<types::KeyValue>) -> Vec<Attribute> {
    pairs.into_iter().map(|pair| (cut(&pair.key), cut(&pair.value))).collect()
}

fn kind(kind: wit::SpanKind) -> SpanKind {
    match kind {
        wit::SpanKind::Client => SpanKind::Client,
        wit::SpanKind::Server => SpanKind::Server,
        wit::SpanKind::Producer => SpanKind::Producer,
        wit::SpanKind::Consumer => SpanKind::Consumer,
        wit::SpanKind::Internal => SpanKind::Internal,
    }
}

fn status(status: wit::Status) -> SpanStatus {
    match status {
        wit::Status::Unset => SpanStatus::Unset,
        wit::Status::Ok => SpanStatus::Ok,
        wit::Status::Error(reason) => SpanStatus::Error(cut(&reason)),
    }
}
