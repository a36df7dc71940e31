//! Nested spans, log lines, and the enclosing context in every way a guest can learn it.

use lantern_guest::bindings::wasi::otel::tracing::{SpanContext, current_span_context, outer_span_context};
use lantern_guest::prelude::*;

#[derive(Serialize, Deserialize)]
struct Contexts {
    argument: String,
    outer: String,
    current: String,
}

/// By event id.
const CONTEXTS: Collection<Contexts> = Collection::new("contexts");

struct Otel;

fn traceparent(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id, context.span_id, context.trace_flags.bits())
}

impl Projection for Otel {
    const NAME: &str = "otel";
    const COLLECTIONS: &[&str] = &[CONTEXTS.name()];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        let mut outer = span!("outer work", order.id = event.stream_id(), position = event.position());
        info!("outer line of position {}", event.position());
        {
            let mut inner = span!("inner work", list = [1, 2, 3]);
            warn!("inner line");
            inner.error("lost");
        }
        outer.set("done", true);
        let (argument, outer) = (event.trace().traceparent(), traceparent(&outer_span_context()));
        CONTEXTS
            .put(event.id().to_string(), &Contexts { argument, outer, current: traceparent(&current_span_context()) })
    }
}

lantern_guest::projection!(Otel);
