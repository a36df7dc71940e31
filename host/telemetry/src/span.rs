//! Spans of the host's cold paths: an HTTP request, an append, a batch.

use std::{borrow::Cow, sync::Arc};

use lantern_core::{
    Clock, SystemClock, Timestamp, TraceContext,
    module::Failure,
    witness::{SpanKind, SpanStatus},
};
use serde_json::Value;

use crate::{
    ids, names,
    pipeline::Pipeline,
    propagation,
    record::{Link, Moment, Span, kept, kind_name},
    telemetry::Telemetry,
    view,
};

/// The most span events one span keeps.
const MAX_EVENTS: usize = 32;

/// A span that is about to begin.
#[must_use = "a span begins with `start`"]
pub struct SpanBuilder<'a> {
    telemetry: &'a Telemetry,
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: Option<TraceContext>,
    attributes: Vec<(Cow<'static, str>, Value)>,
    links: Vec<Link>,
    since: Option<Timestamp>,
}

/// A span that has begun. It ends with [`ActiveSpan::end`] or when it is dropped.
pub struct ActiveSpan {
    context: TraceContext,
    /// Where the span goes; `None` when it is not recorded.
    recorded: Option<(Span, Arc<Pipeline>)>,
}

impl Telemetry {
    /// A span, by default under [`propagation::current`]. Names are few: what varies goes into attributes.
    pub fn span(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> SpanBuilder<'_> {
        SpanBuilder {
            telemetry: self,
            name: name.into(),
            kind,
            parent: propagation::current(),
            attributes: Vec::new(),
            links: Vec::new(),
            since: None,
        }
    }
}

impl SpanBuilder<'_> {
    /// Puts it under this context, or makes it a root.
    pub fn parent(mut self, parent: impl Into<Option<TraceContext>>) -> Self {
        self.parent = parent.into();
        self
    }

    /// Adds an attribute.
    pub fn attribute(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// Relates it to a span of another trace.
    pub fn link(mut self, context: &TraceContext) -> Self {
        self.links.push(Link { trace_id: context.trace_id, span_id: context.span_id });
        self
    }

    /// Has it begin at an earlier moment.
    pub(crate) fn since(mut self, moment: Timestamp) -> Self {
        self.since = Some(moment);
        self
    }

    /// Begins the span now.
    #[must_use]
    pub fn start(self) -> ActiveSpan {
        let parent = self.parent.as_ref();
        let trace_id = parent.map_or_else(ids::trace_id, |parent| parent.trace_id);
        let sampled = self.telemetry.sampler().decides(parent, trace_id);
        let context = match parent {
            // Without telemetry the host is no part of the trace: the caller's context goes on as it came.
            Some(parent) if !self.telemetry.is_enabled() => parent.clone(),
            _ => inside(parent, trace_id, sampled),
        };
        if !sampled {
            return ActiveSpan { context, recorded: None };
        }
        let start = self.since.unwrap_or_else(|| SystemClock.now());
        let span = Span {
            trace_id,
            span_id: context.span_id,
            parent: parent.map_or(0, |parent| parent.span_id),
            flags: context.flags,
            state: context.state.clone(),
            name: self.name,
            kind: self.kind,
            start,
            end: start,
            status: SpanStatus::Unset,
            attributes: self.attributes,
            events: Vec::new(),
            links: self.links,
        };
        ActiveSpan { context, recorded: Some((span, self.telemetry.pipeline().clone())) }
    }
}

/// The context of a new span under a parent, or of a new root of a trace.
pub(crate) fn inside(parent: Option<&TraceContext>, trace_id: u128, sampled: bool) -> TraceContext {
    let state = parent.and_then(|parent| parent.state.clone());
    TraceContext { trace_id, span_id: ids::span_id(), flags: u8::from(sampled), state }
}

impl ActiveSpan {
    /// The context for whatever happens inside.
    #[must_use]
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Whether anybody will see it. Where building an attribute costs, ask before.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Sets an attribute; one that was set before is replaced.
    pub fn set(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let Some((span, _)) = &mut self.recorded else { return };
        let (key, value) = (key.into(), value.into());
        match span.attributes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => span.attributes.push((key, value)),
        }
    }

    /// Notes that something happened. A span keeps the first 32 notes.
    pub fn event(&mut self, name: impl Into<Cow<'static, str>>, attributes: Vec<(Cow<'static, str>, Value)>) {
        let Some((span, _)) = &mut self.recorded else { return };
        if span.events.len() < MAX_EVENTS {
            span.events.push(Moment { name: name.into(), at: SystemClock.now(), attributes });
        }
    }

    /// Notes a failure: its kind, a short name out of few, and its text.
    pub fn error(&mut self, kind: &str, message: &str) {
        if self.recorded.is_none() {
            return;
        }
        self.set(names::ERROR_TYPE, kind);
        let attributes =
            vec![(names::EXCEPTION_TYPE.into(), kind.into()), (names::EXCEPTION_MESSAGE.into(), message.into())];
        self.event(names::EXCEPTION, attributes);
        if let Some((span, _)) = &mut self.recorded {
            span.status = SpanStatus::Error(message.into());
        }
    }

    /// Notes the failure of a call, with its call stack where it has one.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        self.set(names::ERROR_TYPE, kind_name(failure.kind));
        if let Some((span, _)) = &mut self.recorded {
            let failure = kept(failure);
            span.events.push(view::exception(&failure, SystemClock.now()));
            span.status = SpanStatus::Error(failure.message);
        }
    }

    /// Ends the span now.
    pub fn end(self) {
        drop(self);
    }

    /// Has it end at an earlier moment.
    pub(crate) fn end_at(mut self, moment: Timestamp) {
        self.finish(moment);
    }

    fn finish(&mut self, moment: Timestamp) {
        if let Some((mut span, pipeline)) = self.recorded.take() {
            span.end = moment.max(span.start);
            pipeline.span(span);
        }
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if self.is_recorded() {
            self.finish(SystemClock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_span_keeps_what_was_said_and_hangs_under_its_parent() {
        let telemetry = fixture::telemetry();
        let parent = telemetry.span("outer", SpanKind::Server).start();
        let mut span = telemetry.span("inner", SpanKind::Internal).parent(parent.context().clone()).start();
        span.set("a", 1);
        span.set("a", 2);
        span.error("unavailable", "no disk");
        let context = span.context().clone();
        span.end();
        parent.end();
        let spans = telemetry.trace(context.trace_id);
        assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["outer", "inner"]);
        let inner = &spans[1];
        assert_eq!(inner.parent_span_id.as_ref(), Some(&spans[0].span_id));
        assert_eq!((spans[0].kind, spans[0].parent_span_id.as_ref()), ("server", None));
        assert_eq!((inner.status, inner.error.as_deref()), ("error", Some("no disk")));
        assert_eq!(inner.attributes["a"], 2);
        assert_eq!(inner.attributes["error.type"], "unavailable");
        assert_eq!(inner.events[0].attributes["exception.message"], "no disk");
    }

    #[tokio::test]
    async fn the_scope_is_the_default_parent() {
        let telemetry = fixture::telemetry();
        let outer = telemetry.span("outer", SpanKind::Server).parent(None).start();
        let inner = propagation::scope(outer.context().clone(), async {
            telemetry.span("inner", SpanKind::Internal).start().context().clone()
        });
        let (inner, trace_id) = (inner.await, outer.context().trace_id);
        assert_eq!(inner.trace_id, trace_id);
        outer.end();
        assert_eq!(telemetry.trace(trace_id).len(), 2);
    }

    #[test]
    fn what_is_not_sampled_is_handed_on_without_the_flag() {
        let telemetry = fixture::with([("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
        let span = telemetry.span("s", SpanKind::Internal).start();
        assert!(!span.context().is_sampled() && !span.is_recorded());
        let trace_id = span.context().trace_id;
        span.end();
        assert!(telemetry.trace(trace_id).is_empty());
    }
}
