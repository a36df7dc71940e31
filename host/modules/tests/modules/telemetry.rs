//! Spans and log lines of a guest, with their parents.

use lantern_core::{
    Call, Cause, Outcome, TraceContext,
    module::Limits,
    witness::{Level, SpanStatus},
};

use crate::support::{event, load, nothing, settings};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const HANDLE: u64 = 0x00f0_67aa_0ba9_02b7;

async fn handled(trace: Option<TraceContext>, limits: impl FnOnce(&mut Limits)) -> Outcome {
    let mut settings = settings();
    limits(&mut settings.limits);
    let mut otel = load("otel", &settings).await.instance();
    let outcome =
        otel.handle(&Call { event: &event(1, "{}"), cause: Cause::Live, attempt: 1, trace: trace.clone() }, &nothing());
    assert!(outcome.result.is_ok(), "{outcome:?}");
    outcome
}

fn traced() -> Option<TraceContext> {
    let state = Some("vendor=1".into());
    Some(TraceContext { trace_id: TRACE, span_id: HANDLE, flags: TraceContext::SAMPLED, state })
}

fn contexts(outcome: &Outcome) -> serde_json::Value {
    let writes = &outcome.result.as_ref().unwrap().writes;
    serde_json::from_str(writes[0].value.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn spans_hang_on_the_handle_span_and_on_each_other() {
    let outcome = handled(traced(), |_| ()).await;
    let [inner, outer] = &outcome.witness.spans[..] else { panic!("two spans: {outcome:?}") };
    assert_eq!((outer.name.as_str(), inner.name.as_str()), ("outer work", "inner work"));
    assert_eq!((outer.trace_id, inner.trace_id), (TRACE, TRACE));
    assert_eq!(outer.parent_span_id, HANDLE);
    assert_eq!(inner.parent_span_id, outer.span_id);
    assert_eq!(inner.status, SpanStatus::Error("lost".into()));
    assert!(outer.attributes.contains(&("done".into(), "true".into())), "{:?}", outer.attributes);
    assert_eq!(outer.scope, "otel");
    assert!(outer.start <= inner.start && inner.start <= inner.end && inner.end <= outer.end);
    assert!(outer.start > event(1, "{}").time, "the times are the host's, not those of the guest's clock");
}

#[tokio::test]
async fn lines_stand_in_the_span_they_were_written_in() {
    let outcome = handled(traced(), |_| ()).await;
    let [inner, outer] = &outcome.witness.spans[..] else { panic!("two spans") };
    let [first, second] = &outcome.witness.logs[..] else { panic!("two lines") };
    assert_eq!((first.level, first.message.as_str()), (Level::Info, "outer line of position 1"));
    assert_eq!((first.span_id, second.span_id), (Some(outer.span_id), Some(inner.span_id)));
    assert_eq!((second.level, first.context.as_str()), (Level::Warn, "otel"));
}

#[tokio::test]
async fn a_guest_learns_its_context_in_every_way() {
    let outcome = handled(traced(), |_| ()).await;
    let handle = traced().unwrap().traceparent();
    let contexts = contexts(&outcome);
    assert_eq!((&contexts["argument"], &contexts["outer"]), (&handle.clone().into(), &handle.into()));
    // The span entered last is the guest's own, which is still open when it asks.
    let outer = TraceContext { span_id: outcome.witness.spans[1].span_id, ..traced().unwrap() };
    assert_eq!(contexts["current"], outer.traceparent());
}

#[tokio::test]
async fn a_call_that_is_not_traced_has_lines_and_no_spans() {
    let outcome = handled(None, |_| ()).await;
    assert_eq!((outcome.witness.spans.len(), outcome.witness.dropped_spans), (0, 0));
    assert_eq!(outcome.witness.logs.len(), 2);
    assert_eq!(outcome.witness.logs[0].span_id, None);
    assert_eq!(contexts(&outcome)["outer"], "00---00");
}

#[tokio::test]
async fn what_goes_over_the_limits_is_counted() {
    let outcome = handled(traced(), |limits| (limits.spans, limits.log_lines) = (1, 1)).await;
    assert_eq!((outcome.witness.spans.len(), outcome.witness.dropped_spans), (1, 1));
    assert_eq!((outcome.witness.logs.len(), outcome.witness.dropped_logs), (1, 1));
}
