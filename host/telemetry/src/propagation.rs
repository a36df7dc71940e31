//! The trace context that the current task or call works under, and its two headers.

use std::{cell::RefCell, future::Future};

use lantern_core::TraceContext;

/// The name of the header that carries trace id, span id and flags.
pub const TRACEPARENT: &str = "traceparent";
/// The name of the header that carries what other systems added.
pub const TRACESTATE: &str = "tracestate";

tokio::task_local! {
    static TASK: TraceContext;
}

thread_local! {
    static THREAD: RefCell<Option<TraceContext>> = const { RefCell::new(None) };
}

/// Runs a future under a trace context. Tasks it spawns are not under it: give them a scope of their own.
pub async fn scope<F: Future>(context: TraceContext, future: F) -> F::Output {
    TASK.scope(context, future).await
}

/// Runs a function under a trace context, on a thread that serves no tasks.
pub fn sync_scope<T>(context: TraceContext, function: impl FnOnce() -> T) -> T {
    /// Puts the context before back, also when the function panics.
    struct Before(Option<TraceContext>);
    impl Drop for Before {
        fn drop(&mut self) {
            THREAD.set(self.0.take());
        }
    }
    let _before = Before(THREAD.replace(Some(context)));
    function()
}

/// The trace context this code runs under.
#[must_use]
pub fn current() -> Option<TraceContext> {
    let of_thread = || THREAD.try_with(|context| context.borrow().clone()).ok().flatten();
    TASK.try_with(Clone::clone).ok().or_else(of_thread)
}

/// The trace context in some headers, found by a function from a name to a value. `None` when there is none or when
/// it is malformed: then, as the W3C specification asks, a new trace begins.
pub fn extract<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<TraceContext> {
    TraceContext::parse(header(TRACEPARENT)?, header(TRACESTATE)).ok()
}

/// The headers that carry a trace context.
#[must_use]
pub fn inject(context: &TraceContext) -> Vec<(&'static str, String)> {
    let state = context.state.as_deref().map(|state| (TRACESTATE, state.to_owned()));
    std::iter::once((TRACEPARENT, context.traceparent())).chain(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(span_id: u64) -> TraceContext {
        TraceContext { trace_id: 7, span_id, flags: 1, state: Some("a=b".into()) }
    }

    #[tokio::test]
    async fn scopes_nest_and_tasks_do_not_mix() {
        let inner = scope(context(1), async {
            let inner = scope(context(2), async { current() }).await;
            (inner, current(), tokio::spawn(async { current() }).await.unwrap())
        });
        let (inner, outer, spawned) = inner.await;
        assert_eq!((inner, outer, spawned), (Some(context(2)), Some(context(1)), None));
        assert_eq!(current(), None);
    }

    #[test]
    fn a_scope_of_a_thread_ends_with_its_function_also_by_panic() {
        let within = sync_scope(context(1), || {
            let panicked = std::panic::catch_unwind(|| sync_scope(context(2), || panic!("on purpose")));
            assert!(panicked.is_err());
            current()
        });
        assert_eq!((within, current()), (Some(context(1)), None));
    }

    #[test]
    fn headers_survive_the_round_trip() {
        let headers = inject(&context(9));
        let find = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        assert_eq!(extract(find), Some(context(9)));
        assert_eq!(extract(|_| Some("nonsense")), None);
        assert_eq!(extract(|_| None), None);
    }
}
