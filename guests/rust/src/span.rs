//! Spans of the module, inside the handle span of the host.

use crate::TraceContext;
use crate::bindings::wasi::otel::tracing::{
    Datetime, InstrumentationScope, KeyValue, SpanContext, SpanData, SpanKind, Status, TraceFlags,
};
use crate::host::tracing;
use serde::Serialize;
use std::cell::RefCell;
use std::fmt::Display;
use std::time::{SystemTime, UNIX_EPOCH};

/// What new spans hang on.
struct Current {
    /// The context of the handle span, with the id of the innermost open span in place of its own; none when the call is
    /// not sampled.
    context: Option<TraceContext>,
    /// From which the next span id is made.
    seed: u64,
    /// Name and version of the module.
    scope: (&'static str, &'static str),
}

thread_local! {
    static CURRENT: RefCell<Current> = const { RefCell::new(Current { context: None, seed: 0, scope: ("", "") }) };
}

/// Takes the context of the call that begins.
pub(crate) fn enter(context: &TraceContext, name: &'static str, version: &'static str) {
    CURRENT.with_borrow_mut(|current| {
        current.context = context.is_sampled().then(|| context.clone());
        current.seed = context.span;
        current.scope = (name, version);
    });
}

/// A span of the module's own, from [`span!`](crate::span) until it is dropped.
///
/// When the call in hand is not sampled it is empty and costs nothing.
#[must_use = "a span ends when it is dropped: write `let _span = span!(…);`"]
pub struct Span(Option<Box<Open>>);

struct Open {
    name: String,
    context: TraceContext,
    parent: u64,
    start: Datetime,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Span {
    /// Opens a span inside the innermost open one. [`span!`](crate::span) calls this.
    pub fn start(name: impl Into<String>) -> Self {
        let opened = CURRENT.with_borrow_mut(|current| {
            let context = current.context.as_mut()?;
            let parent = context.span;
            context.span = next_id(&mut current.seed);
            Some((context.clone(), parent))
        });
        Self(opened.map(|(context, parent)| {
            tracing::on_start(&span_context(&context));
            Box::new(Open {
                name: name.into(),
                context,
                parent,
                start: now(),
                attributes: Vec::new(),
                status: Status::Unset,
            })
        }))
    }

    /// Whether anything said about the span is kept.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Says something about the work: text, a number, a flag or a list of them.
    pub fn set(&mut self, key: &str, value: impl Serialize) {
        if let Some(open) = &mut self.0
            && let Ok(value) = serde_json::to_string(&value)
        {
            match open.attributes.iter_mut().find(|attribute| attribute.key == key) {
                Some(attribute) => attribute.value = value,
                None => open.attributes.push(KeyValue { key: key.to_owned(), value }),
            }
        }
    }

    /// Marks the work as failed.
    pub fn error(&mut self, reason: impl Display) {
        if let Some(open) = &mut self.0 {
            open.status = Status::Error(reason.to_string());
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let scope = CURRENT.with_borrow_mut(|current| {
            // Another span is the innermost one when guards are dropped out of order, or kept beyond the call.
            if let Some(context) = &mut current.context
                && context.span == open.context.span
            {
                context.span = open.parent;
            }
            current.scope
        });
        tracing::on_end(&SpanData {
            span_context: span_context(&open.context),
            parent_span_id: format!("{:016x}", open.parent),
            span_kind: SpanKind::Internal,
            name: open.name,
            start_time: open.start,
            end_time: now(),
            attributes: open.attributes,
            events: Vec::new(),
            links: Vec::new(),
            status: open.status,
            instrumentation_scope: InstrumentationScope {
                name: scope.0.to_owned(),
                version: Some(scope.1.to_owned()),
                schema_url: None,
                attributes: Vec::new(),
            },
            dropped_attributes: 0,
            dropped_events: 0,
            dropped_links: 0,
        });
    }
}

/// Made from the id of the handle span and not from the random numbers of the event: those belong to the projection, and
/// what it draws must not depend on whether the call is traced. The steps are those of SplitMix64.
fn next_id(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut id = *seed;
    id = (id ^ id >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ id >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Zero is no span id.
    (id ^ id >> 31).max(1)
}

fn span_context(context: &TraceContext) -> SpanContext {
    let state = context.state.as_deref().unwrap_or_default();
    SpanContext {
        trace_id: format!("{:016x}{:016x}", context.trace.0, context.trace.1),
        span_id: format!("{:016x}", context.span),
        trace_flags: TraceFlags::SAMPLED,
        is_remote: false,
        trace_state: state
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect(),
    }
}

/// Inside a projection this is the time of the event; the host puts the true times in its place.
fn now() -> Datetime {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Datetime { seconds: time.as_secs(), nanoseconds: time.subsec_nanos() }
}

/// Opens a [`Span`] that lasts until it is dropped: `let _span = span!("price lookup", order = id, shop.country = "nl");`.
///
/// The values may be anything serde can write as JSON; they are looked at only when the call is traced.
#[macro_export]
macro_rules! span {
    ($name:expr $(, $key:ident $(. $part:ident)* = $value:expr)* $(,)?) => {{
        #[allow(unused_mut, reason = "a span may have no attributes")]
        let mut span = $crate::Span::start($name);
        if span.is_recording() {
            $(span.set(::core::concat!(::core::stringify!($key) $(, ".", ::core::stringify!($part))*), &$value);)*
        }
        span
    }};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::memory;

    fn traced(state: Option<&str>, flags: u8) -> TraceContext {
        TraceContext { trace: (1, 2), span: 7, flags, state: state.map(str::to_owned) }
    }

    fn enter(context: &TraceContext) {
        super::enter(context, "orders", "1.2.0");
    }

    #[test]
    fn spans_nest() {
        enter(&traced(Some("a=1, b=2"), 1));
        {
            let mut outer = span!("outer", order.id = 42, customer = "ada");
            drop(span!("first"));
            let _second = span!("second");
            outer.set("customer", "bob");
            outer.error("lost");
        }
        drop(span!(format!("{}", "after")));

        let (started, ended) =
            memory::with(|memory| (std::mem::take(&mut memory.started), std::mem::take(&mut memory.ended)));
        let names = ended.iter().map(|span| span.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["first", "second", "outer", "after"]);
        let [first, second, outer, after] = &ended[..] else { panic!("four spans") };
        let handle = "0000000000000007";
        assert_eq!([&outer.parent_span_id, &after.parent_span_id], [handle, handle]);
        assert_eq!([&first.parent_span_id, &second.parent_span_id], [&outer.span_context.span_id; 2]);
        let ids = started.iter().map(|context| context.span_id.as_str()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(ids.len(), 4);
        assert!(ids.iter().all(|id| id.len() == 16));
        assert_eq!(started[0].trace_id, "00000000000000010000000000000002");
        assert_eq!(started[0].trace_state, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let attributes =
            outer.attributes.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())).collect::<Vec<_>>();
        assert_eq!(attributes, [("order.id", "42"), ("customer", "\"bob\"")]);
        assert!(matches!(&outer.status, Status::Error(reason) if reason == "lost"));
        assert_eq!(
            (outer.instrumentation_scope.name.as_str(), outer.instrumentation_scope.version.as_deref()),
            ("orders", Some("1.2.0"))
        );
    }

    #[test]
    fn the_same_call_gives_the_same_ids() {
        let ids = || {
            enter(&traced(None, 1));
            drop(span!("one"));
            drop(span!("two"));
            memory::with(|memory| {
                std::mem::take(&mut memory.started).into_iter().map(|context| context.span_id).collect::<Vec<_>>()
            })
        };
        assert_eq!(ids(), ids());
    }

    #[test]
    fn an_unsampled_call_looks_at_nothing() {
        enter(&traced(None, 0));
        fn looked_at() -> u64 {
            panic!("looked at")
        }
        let span = span!("none", value = looked_at());
        assert!(!span.is_recording());
        drop(span);
        assert_eq!(memory::with(|memory| memory.started.len() + memory.ended.len()), 0);
    }
}
