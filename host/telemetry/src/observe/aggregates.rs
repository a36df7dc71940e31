//! Aggregates, watched: a span for each decision, and one for what was folded before the first.
//!
//! The host loads an aggregate by calls that know nothing of the command that waits for it. So the load is told at the
//! first decision: when it began and ended, whether a snapshot was used, how many events were folded.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use lantern_core::{
    AggregateInstance, AggregateModule, Clock, Command, Decision, Digest, Event, StreamName, SystemClock, Timestamp,
    TraceContext, Version,
    aggregate::{AggregateDescription, Decide, Decided},
    module::Failure,
    witness::SpanKind,
};

use super::witness::{self, LogBudget};
use crate::{
    ActiveSpan, Telemetry, names,
    pipeline::Slot,
    record::{Labels, cut, kind_name},
};

/// The longest code of a rejection that is kept, in bytes.
const MAX_CODE: usize = 256;

struct ObservedModule {
    inner: Arc<dyn AggregateModule>,
    shared: Arc<Shared>,
}

/// What the instances of a module share, so that a loaded aggregate that rests costs next to nothing.
struct Shared {
    telemetry: Telemetry,
    slot: Arc<Slot>,
    logs: Mutex<LogBudget>,
}

struct ObservedInstance {
    inner: Box<dyn AggregateInstance>,
    shared: Arc<Shared>,
    stream: StreamName,
    /// Until the first decision.
    loading: Option<Loading>,
}

/// What was folded so far.
#[derive(Debug, Default)]
struct Loading {
    /// When the first call began and the last one ended.
    times: Option<(Timestamp, Timestamp)>,
    restored: bool,
    /// The versions of the first and the last event.
    versions: Option<(Version, Version)>,
    events: usize,
}

/// Watches an aggregate's module and its instances.
pub(super) fn module(
    inner: Arc<dyn AggregateModule>,
    telemetry: &Telemetry,
    labels: Labels,
) -> Arc<dyn AggregateModule> {
    let (telemetry, slot) = (telemetry.clone(), Slot::new(Arc::new(labels)));
    Arc::new(ObservedModule { inner, shared: Arc::new(Shared { telemetry, slot, logs: Mutex::default() }) })
}

impl AggregateModule for ObservedModule {
    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn description(&self) -> &AggregateDescription {
        self.inner.description()
    }

    fn instance(&self, stream: &StreamName) -> Box<dyn AggregateInstance> {
        Box::new(ObservedInstance {
            inner: self.inner.instance(stream),
            shared: self.shared.clone(),
            stream: stream.clone(),
            loading: Some(Loading::default()),
        })
    }
}

impl AggregateInstance for ObservedInstance {
    fn restore(&mut self, state: &[u8]) -> Result<(), Failure> {
        let began = SystemClock.now();
        let result = self.inner.restore(state);
        if let Some(loading) = &mut self.loading {
            loading.restored = result.is_ok();
            loading.note(began);
        }
        result
    }

    fn evolve(&mut self, events: &[Event]) -> Result<(), Failure> {
        let Some(loading) = &mut self.loading else { return self.inner.evolve(events) };
        let began = SystemClock.now();
        let result = self.inner.evolve(events);
        loading.note(began);
        loading.fold(events);
        if let Err(failure) = &result {
            self.loaded(None, Some(failure));
        }
        result
    }

    fn decide(&mut self, call: &Decide<'_>) -> Decided {
        let command = call.command;
        self.loaded(Some(command), None);
        let telemetry = &self.shared.telemetry;
        let parent = command.metadata.trace.clone();
        let mut span = telemetry.span(names::DECIDE, SpanKind::Internal).parent(parent.clone()).start();
        if span.is_recorded() {
            describe(&mut span, call, self.shared.slot.labels());
        }
        let own = telemetry.is_enabled().then(|| span.context().clone());
        let trace = own.clone().or(parent);
        let started = Instant::now();
        let mut decided = self.inner.decide(&Decide { trace: trace.clone(), ..call.clone() });
        let took = started.elapsed();
        let is_recorded = span.is_recorded();
        if is_recorded {
            conclude(&mut span, &decided.result);
        }
        span.end();
        self.shared.tell(&mut decided, trace.filter(|_| is_recorded).as_ref(), took);
        decided.trace = own;
        decided
    }

    fn snapshot(&mut self) -> Result<Bytes, Failure> {
        self.inner.snapshot()
    }

    fn memory(&self) -> u64 {
        self.inner.memory()
    }
}

impl Shared {
    /// Tells what the guest said, under the span of the decision.
    fn tell(&self, decided: &mut Decided, span: Option<&TraceContext>, took: std::time::Duration) {
        let said = std::mem::take(&mut decided.witness);
        let mut dropped_logs = said.dropped_logs;
        if !said.logs.is_empty() {
            let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
            dropped_logs += logs.tell(&said.logs, self.slot.labels(), span);
        }
        let guests = span.map_or_else(Vec::new, |span| witness::rooted(said.spans, span));
        self.telemetry.pipeline().gather(&self.slot, |pending| {
            pending.tally().decision(took);
            pending.tally().dropped(said.dropped_spans, dropped_logs);
            pending.guests(guests);
        });
    }
}

impl ObservedInstance {
    /// Records the load, once: when the first command is there, or when it failed.
    fn loaded(&mut self, command: Option<&Command>, failure: Option<&Failure>) {
        let Some(Loading { times: Some((began, ended)), restored, versions, events }) = self.loading.take() else {
            return;
        };
        // What was loaded before, for show or by a command that did not come so far, is no part of this one.
        let parent = command.filter(|command| ended >= command.received_at);
        let parent = parent.and_then(|command| command.metadata.trace.clone());
        let telemetry = &self.shared.telemetry;
        let mut span = telemetry.span(names::LOAD, SpanKind::Internal).parent(parent).since(began).start();
        if !span.is_recorded() {
            return;
        }
        of_stream(&mut span, &self.stream);
        span.set(names::SNAPSHOT_USED, restored);
        span.set(names::REPLAYED, events);
        if let Some((first, last)) = versions {
            span.set(names::VERSION, last.0);
            if restored {
                span.set(names::SNAPSHOT_VERSION, first.0.saturating_sub(1));
            }
        }
        if let Some(failure) = failure {
            fail(&mut span, failure);
        }
        span.end_at(ended);
    }
}

impl Loading {
    /// A call that began then has ended.
    fn note(&mut self, began: Timestamp) {
        let first = self.times.map_or(began, |(first, _)| first);
        self.times = Some((first, SystemClock.now()));
    }

    fn fold(&mut self, events: &[Event]) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        let first = self.versions.map_or(first.version, |(first, _)| first);
        self.versions = Some((first, last.version));
        self.events += events.len();
    }
}

fn of_stream(span: &mut ActiveSpan, stream: &StreamName) {
    span.set(names::AGGREGATE_ID, stream.id());
    span.set(names::AGGREGATE_TYPE, stream.category());
    span.set(names::STREAM, stream.as_str());
}

/// What is known before the decision.
fn describe(span: &mut ActiveSpan, call: &Decide<'_>, labels: &Labels) {
    let command = call.command;
    of_stream(span, &command.stream);
    span.set(names::COMMAND_ID, command.id.to_string());
    span.set(names::COMMAND_TYPE, command.command_type.as_str());
    span.set(names::MODULE, labels.module.as_str());
    span.set(names::ATTEMPT, call.attempt);
    if call.attempt > 1 {
        span.set(names::RETRY_COUNT, call.attempt - 1);
    }
    if let Some(tenant) = &command.metadata.tenant {
        span.set(names::TENANT, tenant.as_ref());
    }
}

/// What is known after it.
fn conclude(span: &mut ActiveSpan, result: &Result<Decision, Failure>) {
    match result {
        Ok(Decision::Accepted(events)) => {
            span.set(names::OUTCOME, "accepted");
            span.set(names::EVENT_COUNT, events.len());
        }
        Ok(Decision::Rejected(rejection)) => {
            span.set(names::OUTCOME, "rejected");
            span.set(names::REJECTION, cut(&rejection.code, MAX_CODE));
        }
        Err(failure) => {
            span.set(names::OUTCOME, "failed");
            fail(span, failure);
        }
    }
}

fn fail(span: &mut ActiveSpan, failure: &Failure) {
    span.failure(failure);
    span.set(names::EVENTSOURCE_ERROR_TYPE, kind_name(failure.kind));
}

#[cfg(test)]
mod tests {
    use lantern_core::{Kind, Rejection, Witness, module::FailureKind};

    use super::*;
    use crate::{
        SpanView,
        fixture::{self, ports, write_side::Decider},
    };

    fn instance(telemetry: &Telemetry, decider: Decider) -> Box<dyn AggregateInstance> {
        let labels = Labels::new(Kind::Aggregate, "Order".parse().unwrap(), Digest([7; 32]));
        module(Arc::new(decider), telemetry, labels).instance(&ports::command().stream)
    }

    /// What a decision with this result leaves: the answer and the spans of the command's trace.
    fn decide(attempt: u32, result: Result<Decision, Failure>) -> (Decided, Vec<SpanView>) {
        let telemetry = fixture::telemetry();
        let mut instance = instance(&telemetry, Decider::answering(result));
        let decided = instance.decide(&Decide { news: &[], command: &ports::command(), attempt, trace: None });
        (decided, telemetry.trace(10))
    }

    #[test]
    fn a_decision_is_a_span_under_the_command_and_the_parent_of_what_follows() {
        let draft = ports::emits(1, 0).emitted.remove(0).event;
        let (decided, spans) = decide(2, Ok(Decision::Accepted(vec![draft.clone(), draft])));
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(span.name, "eventsource.aggregate.decide");
        assert_eq!(span.parent_span_id.as_deref(), Some("0000000000000014"));
        let trace = decided.trace.unwrap();
        assert_eq!((trace.trace_id, format!("{:016x}", trace.span_id)), (10, span.span_id.clone()));
        let expected = serde_json::json!({
            "eventsource.aggregate.id": "42",
            "eventsource.aggregate.type": "Order",
            "eventsource.stream.id": "Order-42",
            "eventsource.event.count": 2,
            "eventsource.tenant.id": "acme",
            "eventsource.retry.count": 1,
            "lantern.attempt": 2,
            "lantern.command.id": "00000000-0000-0000-0000-000000000006",
            "lantern.command.outcome": "accepted",
            "lantern.command.type": "PlaceOrder",
            "lantern.module.digest": "07".repeat(32),
        });
        assert_eq!(serde_json::to_value(&span.attributes).unwrap(), expected);
    }

    #[test]
    fn a_rejection_is_an_answer_and_a_failure_is_an_error() {
        let rejection = Rejection { code: "not-paid".into(), message: "pay first".into(), details: None };
        let (_, spans) = decide(1, Ok(Decision::Rejected(rejection)));
        assert_eq!((spans[0].status, &spans[0].attributes["lantern.command.outcome"]), ("unset", &"rejected".into()));
        assert_eq!(spans[0].attributes["lantern.rejection.code"], "not-paid");
        let failure =
            Failure { backtrace: Some("at decide".into()), ..Failure::new(FailureKind::Trap, "out of bounds") };
        let (_, spans) = decide(1, Err(failure));
        assert_eq!((spans[0].status, &spans[0].attributes["lantern.command.outcome"]), ("error", &"failed".into()));
        assert_eq!(spans[0].attributes["error.type"], "trap");
        assert_eq!(spans[0].attributes["eventsource.error.type"], "trap");
        assert_eq!(spans[0].events[0].attributes["exception.stacktrace"], "at decide");
    }

    #[test]
    fn a_load_is_told_at_the_first_decision_and_once() {
        let telemetry = fixture::telemetry();
        let mut instance = instance(&telemetry, Decider::accepting());
        let event = |version| Event { version: Version(version), ..ports::event(None) };
        instance.restore(b"{}").unwrap();
        instance.evolve(&[event(4), event(5)]).unwrap();
        instance.evolve(&[event(6)]).unwrap();
        assert!(telemetry.trace(10).is_empty());
        let command = ports::command();
        let call = Decide { news: &[], command: &command, attempt: 1, trace: None };
        instance.decide(&call);
        instance.evolve(&[event(7)]).unwrap();
        instance.decide(&call);
        let spans = telemetry.trace(10);
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, [names::LOAD, names::DECIDE, names::DECIDE]);
        assert_eq!(spans[0].parent_span_id.as_deref(), Some("0000000000000014"));
        let expected = serde_json::json!({
            "eventsource.aggregate.id": "42",
            "eventsource.aggregate.type": "Order",
            "eventsource.stream.id": "Order-42",
            "eventsource.version": 6,
            "events.replayed": 3,
            "snapshot.used": true,
            "snapshot.version": 3,
        });
        assert_eq!(serde_json::to_value(&spans[0].attributes).unwrap(), expected);
    }

    #[test]
    fn what_was_loaded_before_is_no_part_of_a_command() {
        let telemetry = fixture::telemetry();
        let mut instance = instance(&telemetry, Decider::accepting());
        instance.evolve(&[ports::event(None)]).unwrap();
        let command = Command { received_at: Timestamp(i64::MAX), ..ports::command() };
        instance.decide(&Decide { news: &[], command: &command, attempt: 1, trace: None });
        let spans = telemetry.trace(10);
        assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), [names::DECIDE]);
        assert!(telemetry.metrics().contains("telemetry_spans_recorded_total 2"), "the load is a trace of its own");
    }

    #[test]
    fn a_load_that_fails_is_told_at_once() {
        let telemetry = fixture::telemetry();
        let failure = Failure::new(FailureKind::Permanent, "no such order");
        let mut instance = instance(&telemetry, Decider::answering(Err(failure.clone())));
        assert_eq!(instance.evolve(&[ports::event(None)]), Err(failure));
        assert!(telemetry.metrics().contains("telemetry_spans_recorded_total 1"));
    }

    #[test]
    fn spans_and_times_of_guests_are_told() {
        let telemetry = fixture::telemetry();
        let guests = |trace: &TraceContext| Witness {
            spans: vec![fixture::guest(trace.trace_id, 1, 0)],
            dropped_spans: 6,
            ..Witness::default()
        };
        let mut instance = instance(&telemetry, Decider::accepting().saying(guests));
        let decided = instance.decide(&Decide { news: &[], command: &ports::command(), attempt: 1, trace: None });
        assert!(decided.witness.spans.is_empty(), "the witness is drained");
        let spans = telemetry.trace(10);
        let guest = spans.iter().find(|span| span.scope == "guest").unwrap();
        assert_eq!(guest.parent_span_id, Some(format!("{:016x}", decided.trace.unwrap().span_id)));
        assert_eq!(guest.attributes["eventsource.aggregate.type"], "Order");
        let metrics = telemetry.metrics();
        assert!(metrics.contains("aggregate_decision_duration_milliseconds_count{aggregate=\"Order\"} 1"), "{metrics}");
        assert!(metrics.contains("guest_spans_dropped_total{aggregate=\"Order\"} 6"), "{metrics}");
        assert!(!metrics.contains("subscription=\"Order\""), "{metrics}");
    }

    #[test]
    fn without_telemetry_the_guest_sees_the_context_of_the_command() {
        let telemetry = fixture::with([("OTEL_SDK_DISABLED", "true")]);
        let decider = Decider::accepting();
        let seen = decider.seen.clone();
        let decided = instance(&telemetry, decider).decide(&Decide {
            news: &[],
            command: &ports::command(),
            attempt: 1,
            trace: None,
        });
        assert_eq!((decided.trace, seen.lock().unwrap().clone()), (None, Some(ports::context(10, 20))));
    }
}
