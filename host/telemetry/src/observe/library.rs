//! The library, watched: a handle span for each call of a processor's module. What it loads of other kinds is watched in
//! the file of their noun.
//!
//! | cause | trace | parent | link |
//! |---|---|---|---|
//! | live | of the span that produced the event, else a new one | that span | |
//! | replay | of the batch | the batch | the span that produced the event |
//! | dry run | a new one | | the span that produced the event |

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    AggregateModule, Call, Cause, Clock, Digest, Effects, Event, Instance, Library, Module, Outcome, SystemClock,
    Timestamp, TraceContext, View,
    module::{Description, Failure, Kept, LibraryError, Settings},
    upcasting::UpcasterModule,
};

use super::{
    aggregates, upcasters,
    witness::{self, LogBudget},
};
use crate::{
    Telemetry, ids,
    pipeline::Slot,
    record::{HandleSpan, Labels, Link, kept},
    span::inside,
};

struct ObservedLibrary {
    inner: Arc<dyn Library>,
    telemetry: Telemetry,
}

struct ObservedModule {
    inner: Arc<dyn Module>,
    telemetry: Telemetry,
    labels: Arc<Labels>,
}

struct ObservedInstance {
    inner: Box<dyn Instance>,
    telemetry: Telemetry,
    slot: Arc<Slot>,
    logs: LogBudget,
}

/// Watches a library, its modules and their instances.
#[must_use]
pub fn library(inner: Arc<dyn Library>, telemetry: &Telemetry) -> Arc<dyn Library> {
    Arc::new(ObservedLibrary { inner, telemetry: telemetry.clone() })
}

#[async_trait]
impl Library for ObservedLibrary {
    async fn push(&self, bytes: Bytes) -> Result<Kept, LibraryError> {
        self.inner.push(bytes).await
    }

    async fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        self.inner.list().await
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        self.inner.inspect(digest).await
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        self.inner.remove(digest).await
    }

    async fn load(&self, digest: Digest, settings: &Settings) -> Result<Arc<dyn Module>, LibraryError> {
        let inner = self.inner.load(digest, settings).await?;
        let labels = Arc::new(Labels::new(settings.kind, settings.name.clone(), inner.digest()));
        Ok(Arc::new(ObservedModule { inner, telemetry: self.telemetry.clone(), labels }))
    }

    async fn load_aggregate(
        &self,
        digest: Digest,
        settings: &Settings,
    ) -> Result<Arc<dyn AggregateModule>, LibraryError> {
        let inner = self.inner.load_aggregate(digest, settings).await?;
        let labels = Labels::new(settings.kind, settings.name.clone(), inner.digest());
        Ok(aggregates::module(inner, &self.telemetry, labels))
    }

    async fn load_upcaster(
        &self,
        digest: Digest,
        settings: &Settings,
    ) -> Result<Arc<dyn UpcasterModule>, LibraryError> {
        Ok(upcasters::module(self.inner.load_upcaster(digest, settings).await?, settings.name.clone()))
    }
}

impl Module for ObservedModule {
    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn description(&self) -> &Description {
        self.inner.description()
    }

    fn instance(&self) -> Box<dyn Instance> {
        Box::new(ObservedInstance {
            inner: self.inner.instance(),
            telemetry: self.telemetry.clone(),
            slot: Slot::new(self.labels.clone()),
            logs: LogBudget::default(),
        })
    }
}

impl Instance for ObservedInstance {
    fn handle(&mut self, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome {
        let trace = self.open(call);
        let sampled = self.telemetry.is_enabled() && trace.as_ref().is_some_and(TraceContext::is_sampled);
        let start = SystemClock.now();
        let mut outcome = self.inner.handle(&Call { trace: trace.clone(), ..call.clone() }, view);
        // The machine's clock may be set back meanwhile; a span that ends before it begins helps nobody.
        let end = SystemClock.now().max(start);
        let said = std::mem::take(&mut outcome.witness);
        let ran = (said.statements, said.statement_time);
        let dropped_logs = said.dropped_logs + self.logs.tell(&said.logs, self.slot.labels(), trace.as_ref());
        let guests = match &trace {
            Some(trace) if sampled => witness::rooted(said.spans, trace),
            _ => Vec::new(),
        };
        // Told also when it is not recorded: what is emitted carries the decision on.
        outcome.trace = trace.clone().filter(|_| self.telemetry.is_enabled());
        let result = outcome.result.as_ref();
        let failure = result.err();
        self.telemetry.pipeline().gather(&self.slot, |pending| {
            if !matches!(call.cause, Cause::DryRun) {
                let kind = failure.map(|failure| failure.kind);
                pending.tally().call(&call.event.event_type, kind, end.since(start));
            }
            pending.tally().dropped(said.dropped_spans, dropped_logs);
            if let Some(trace) = trace.filter(|_| sampled) {
                pending.handle(span(call, trace, (start, end), result, ran));
            }
            pending.guests(guests);
        });
        outcome
    }
}

impl ObservedInstance {
    /// The context of the handle span, recorded or not. Without telemetry, what came with a live event goes on.
    fn open(&self, call: &Call<'_>) -> Option<TraceContext> {
        let produced = call.event.metadata.trace.as_ref();
        let sampler = self.telemetry.sampler();
        match call.cause {
            _ if !self.telemetry.is_enabled() => produced.filter(|_| matches!(call.cause, Cause::Live)).cloned(),
            Cause::Live => {
                let trace_id = produced.map_or_else(ids::trace_id, |context| context.trace_id);
                Some(inside(produced, trace_id, sampler.decides(produced, trace_id)))
            }
            // The batch is a root: its flag only says that nobody has decided against it.
            Cause::Replay { batch } => {
                let sampled = batch.is_sampled() && sampler.decides_root(batch.trace_id);
                Some(inside(Some(batch), batch.trace_id, sampled))
            }
            Cause::DryRun => {
                let trace_id = ids::trace_id();
                Some(inside(None, trace_id, sampler.decides_root(trace_id)))
            }
        }
    }
}

/// The handle span of a call.
fn span(
    call: &Call<'_>,
    trace: TraceContext,
    (start, end): (Timestamp, Timestamp),
    result: Result<&Effects, &Failure>,
    (statements, statement_time): (u32, Duration),
) -> HandleSpan {
    let event: &Event = call.event;
    let asked = |of: fn(&Effects) -> usize| result.map_or(0, |effects| u16::try_from(of(effects)).unwrap_or(u16::MAX));
    let produced = event.metadata.trace.as_ref();
    let link = produced.map(|context| Link { trace_id: context.trace_id, span_id: context.span_id });
    let (parent, link) = match call.cause {
        Cause::Live => (produced.map_or(0, |context| context.span_id), None),
        Cause::Replay { batch } => (batch.span_id, link),
        Cause::DryRun => (0, link),
    };
    HandleSpan {
        trace_id: trace.trace_id,
        span_id: trace.span_id,
        parent,
        flags: trace.flags,
        dry_run: matches!(call.cause, Cause::DryRun),
        emitted: asked(|effects| effects.emitted.len()),
        timers: asked(|effects| effects.timers.len()),
        statements: u16::try_from(statements).unwrap_or(u16::MAX),
        statement_time: u32::try_from(statement_time.as_micros()).unwrap_or(u32::MAX),
        attempt: call.attempt,
        state: trace.state,
        link,
        start,
        end,
        event_id: event.id,
        event_type: event.event_type.clone(),
        stream: event.stream.clone(),
        version: event.version,
        position: event.position,
        tenant: event.metadata.tenant.clone(),
        failure: result.err().map(kept),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use lantern_core::{Kind, aggregate::Decide, module::FailureKind};

    use super::*;
    use crate::{
        SpanView,
        fixture::{self, ports},
    };

    /// What a call left: the context the guest saw, the outcome's trace, the spans of that trace.
    struct Left {
        seen: Option<TraceContext>,
        trace: Option<TraceContext>,
        spans: Vec<SpanView>,
    }

    async fn call(telemetry: &Telemetry, event: &Event, cause: Cause<'_>) -> Left {
        let seen = Arc::new(Mutex::new(None));
        let see = seen.clone();
        let closure = ports::Closure::new(move |call| {
            see.lock().unwrap().clone_from(&call.trace);
            ports::well()
        });
        let mut instance = closure.watched(telemetry).await;
        let outcome = ports::handle(instance.as_mut(), event, cause);
        let seen = seen.lock().unwrap().clone();
        let spans = seen.as_ref().map(|context| telemetry.trace(context.trace_id)).unwrap_or_default();
        Left { seen, trace: outcome.trace, spans }
    }

    #[tokio::test]
    async fn a_live_event_is_handled_under_the_span_that_produced_it() {
        let telemetry = fixture::telemetry();
        let left = call(&telemetry, &ports::event(Some(ports::context(10, 20))), Cause::Live).await;
        let [span] = left.spans.as_slice() else { panic!("{:?}", left.spans) };
        assert_eq!(
            (span.trace_id.as_str(), span.parent_span_id.as_deref()),
            ("0000000000000000000000000000000a", Some("0000000000000014"))
        );
        assert!(span.links.is_empty());
        assert_eq!(span.name, "eventsource.projection.handle");
        let seen = left.seen.unwrap();
        assert_eq!(format!("{:016x}", seen.span_id), span.span_id, "the guest sees the handle span");
        assert_eq!((seen.flags, seen.state.as_deref()), (1, Some("vendor=1")));
        assert_eq!(left.trace, Some(seen), "what it emits hangs under the handle span");
        let expected = serde_json::json!({
            "eventsource.projection.name": "orders",
            "eventsource.event.type": "OrderPlaced",
            "eventsource.event.id": "00000000-0000-0000-0000-000000000005",
            "eventsource.aggregate.id": "42",
            "eventsource.aggregate.type": "Order",
            "eventsource.stream.id": "Order-42",
            "eventsource.position": 9,
            "eventsource.version": 3,
            "eventsource.tenant.id": "acme",
            "lantern.module.digest": "07".repeat(32),
            "lantern.attempt": 1,
        });
        assert_eq!(serde_json::to_value(&span.attributes).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_live_event_without_a_context_begins_a_trace() {
        let telemetry = fixture::telemetry();
        let left = call(&telemetry, &ports::event(None), Cause::Live).await;
        assert_eq!(left.spans[0].parent_span_id, None);
        assert!(left.spans[0].links.is_empty());
    }

    #[tokio::test]
    async fn a_late_event_is_handled_under_its_batch_and_linked_to_its_producer() {
        let telemetry = fixture::telemetry();
        let batch = ports::context(30, 40);
        let left = call(&telemetry, &ports::event(Some(ports::context(10, 20))), Cause::Replay { batch: &batch }).await;
        let span = &left.spans[0];
        assert_eq!(left.trace.unwrap().trace_id, 30);
        assert_eq!(span.parent_span_id.as_deref(), Some("0000000000000028"));
        assert_eq!(span.links[0].trace_id, "0000000000000000000000000000000a");
        assert_eq!(span.links[0].span_id, "0000000000000014");
        assert!(telemetry.trace(10).is_empty(), "old traces do not grow");
    }

    #[tokio::test]
    async fn a_dry_run_is_a_trace_of_its_own_and_is_not_counted() {
        let telemetry = fixture::telemetry();
        let left = call(&telemetry, &ports::event(Some(ports::context(10, 20))), Cause::DryRun).await;
        let span = &left.spans[0];
        assert_ne!(left.trace.unwrap().trace_id, 10);
        assert_eq!((span.parent_span_id.as_deref(), span.links.len()), (None, 1));
        assert_eq!(span.attributes["lantern.dry_run"], true);
        assert!(!telemetry.metrics().contains("subscription_events_processed_total{"), "{}", telemetry.metrics());
    }

    #[tokio::test]
    async fn the_sampler_decides_and_the_guest_is_told() {
        let unsampled = TraceContext { flags: 0, ..ports::context(10, 20) };
        let check = async |sampler: &str, trace: &TraceContext, cause: Cause<'_>, expected: bool| {
            let telemetry = fixture::with([("OTEL_TRACES_SAMPLER", sampler)]);
            let left = call(&telemetry, &ports::event(Some(trace.clone())), cause).await;
            let seen = left.seen.unwrap();
            assert_eq!((seen.is_sampled(), left.spans.len()), (expected, usize::from(expected)), "{sampler} {trace}");
            assert_eq!(left.trace, Some(seen), "{sampler} {trace} {cause:?}");
            assert!(telemetry.metrics().contains("status=\"success\"} 1"), "{}", telemetry.metrics());
        };
        let sampled = ports::context(10, 20);
        let batch = ports::context(30, 40);
        check("parentbased_always_on", &unsampled, Cause::Live, false).await;
        check("always_on", &unsampled, Cause::Live, true).await;
        check("parentbased_always_off", &sampled, Cause::Live, true).await;
        check("always_off", &sampled, Cause::Live, false).await;
        check("parentbased_always_off", &sampled, Cause::Replay { batch: &batch }, false).await;
        check("parentbased_always_on", &unsampled, Cause::Replay { batch: &batch }, true).await;
        check("parentbased_always_on", &sampled, Cause::Replay { batch: &unsampled }, false).await;
    }

    #[tokio::test]
    async fn without_telemetry_the_context_goes_on_as_it_came() {
        let telemetry = fixture::with([("OTEL_SDK_DISABLED", "true")]);
        let left = call(&telemetry, &ports::event(Some(ports::context(10, 20))), Cause::Live).await;
        assert_eq!(left.seen, Some(ports::context(10, 20)));
        assert_eq!((left.trace, left.spans.len()), (None, 0));
        assert_eq!(call(&telemetry, &ports::event(None), Cause::Live).await.seen, None);
    }

    #[tokio::test]
    async fn a_failure_is_told_with_kind_text_and_stack() {
        let telemetry = fixture::telemetry();
        let closure = ports::Closure::new(|_| {
            let backtrace = Some("at handle".into());
            ports::failed(Failure { backtrace, ..Failure::new(FailureKind::Trap, "out of bounds") })
        });
        let mut instance = closure.watched(&telemetry).await;
        let event = ports::event(Some(ports::context(10, 20)));
        let view: Arc<dyn View> = Arc::new(ports::Nothing);
        let outcome = instance.handle(&Call { event: &event, cause: Cause::Live, attempt: 3, trace: None }, &view);
        assert_eq!(outcome.result.unwrap_err().message, "out of bounds");
        let span = &telemetry.trace(10)[0];
        assert_eq!((span.status, span.error.as_deref()), ("error", Some("out of bounds")));
        assert_eq!(span.attributes["error.type"], "trap");
        assert_eq!(span.attributes["eventsource.error.type"], "trap");
        assert_eq!(
            (&span.attributes["lantern.attempt"], &span.attributes["eventsource.retry.count"]),
            (&3.into(), &2.into())
        );
        assert_eq!(span.events[0].name, "exception");
        assert_eq!(span.events[0].attributes["exception.message"], "out of bounds");
        assert_eq!(span.events[0].attributes["exception.stacktrace"], "at handle");
        let metrics = telemetry.metrics();
        let line = "subscription_events_failed_total{subscription=\"orders\",error_type=\"trap\"} 1";
        assert!(metrics.contains(line), "{metrics}");
    }

    #[tokio::test]
    async fn a_handler_is_named_as_one_and_its_effects_are_counted() {
        let telemetry = fixture::telemetry();
        let closure = ports::Closure::new(|_| Ok(ports::emits(2, 1)).into());
        let mut instance = closure.deployed(Kind::Handler, &telemetry).await;
        ports::handle(instance.as_mut(), &ports::event(Some(ports::context(10, 20))), Cause::Live);
        let span = &telemetry.trace(10)[0];
        assert_eq!(span.name, "eventsource.handler.handle");
        assert_eq!(span.attributes["eventsource.handler.name"], "orders");
        assert!(!span.attributes.contains_key("eventsource.projection.name"));
        assert_eq!((&span.attributes["lantern.emitted"], &span.attributes["lantern.timers"]), (&2.into(), &1.into()));
        let metrics = telemetry.metrics();
        assert!(metrics.contains("subscription_processing_duration_milliseconds_count{subscription=\"orders\"} 1"));
    }

    #[tokio::test]
    async fn what_it_loads_of_other_kinds_is_watched_too() {
        let telemetry = fixture::telemetry();
        let library = library(Arc::new(ports::Closure::new(|_| ports::well())), &telemetry);
        let settings = ports::settings(Kind::Aggregate, "Order");
        let module = library.load_aggregate(Digest([7; 32]), &settings).await.unwrap();
        let mut instance = module.instance(&"Order-42".parse().unwrap());
        instance.evolve(&[ports::event(None)]).unwrap();
        let command = ports::command();
        instance.decide(&Decide { news: &[], command: &command, attempt: 1, trace: None });
        assert_eq!(telemetry.trace(10).len(), 2, "the load and the decision");
    }

    #[tokio::test]
    async fn spans_of_guests_hang_under_the_handle_span() {
        let telemetry = fixture::telemetry();
        let closure = ports::Closure::new(|call| {
            let handle = call.trace.clone().unwrap();
            let mut outcome = ports::well();
            outcome.witness.spans = vec![
                fixture::guest(handle.trace_id, 1, handle.span_id),
                fixture::guest(handle.trace_id, 2, 0),
                fixture::guest(99, 3, 0),
                fixture::guest(99, 4, 3),
                fixture::guest(99, 5, 77),
            ];
            outcome.witness.dropped_spans = 6;
            outcome
        });
        let mut instance = closure.watched(&telemetry).await;
        let outcome = ports::handle(instance.as_mut(), &ports::event(Some(ports::context(10, 20))), Cause::Live);
        assert!(outcome.witness.spans.is_empty(), "the witness is drained");
        let spans = telemetry.trace(10);
        let handle = spans.iter().find(|span| span.scope == "lantern").unwrap().span_id.clone();
        let parent = |id: u64| {
            let id = format!("{id:016x}");
            spans.iter().find(|span| span.span_id == id).unwrap().parent_span_id.clone().unwrap()
        };
        assert_eq!([parent(1), parent(2), parent(3), parent(5)], [(); 4].map(|()| handle.clone()));
        assert_eq!(parent(4), "0000000000000003");
        assert!(telemetry.trace(99).is_empty());
        assert!(telemetry.metrics().contains("guest_spans_dropped_total{subscription=\"orders\"} 6"));
    }

    #[tokio::test]
    async fn many_calls_leave_as_many_spans_and_counts() {
        let telemetry = fixture::telemetry();
        let closure = ports::Closure::new(|_| ports::well());
        let batch = ports::context(30, 40);
        let mut instance = closure.watched(&telemetry).await;
        let event = ports::event(None);
        for _ in 0..1000 {
            ports::handle(instance.as_mut(), &event, Cause::Replay { batch: &batch });
        }
        assert_eq!(telemetry.trace(30).len(), 1000);
        let metrics = telemetry.metrics();
        for line in [
            "subscription_events_processed_total{subscription=\"orders\",event_type=\"OrderPlaced\",status=\"success\"} 1000",
            "subscription_processing_duration_milliseconds_count{subscription=\"orders\"} 1000",
            "telemetry_spans_recorded_total 1000",
        ] {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }
    }
}
