//! The log, watched: a span for each append, and its context in every event that has none.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use lantern_core::{
    Append, Appended, Event, EventId, Filter, Incarnation, Log, Page, Position, StreamName, TraceContext, Version,
    log::{AppendError, LogError, Range},
    witness::SpanKind,
};
use tokio::sync::watch;

use crate::{ActiveSpan, Telemetry, metrics::append_error_name, names, propagation};

/// The most spans an append is linked to.
const MAX_LINKS: usize = 32;

struct ObservedLog {
    inner: Arc<dyn Log>,
    telemetry: Telemetry,
}

/// Watches a log. Reads are handed through: what they cost shows in the spans of those who read.
#[must_use]
pub fn log(inner: Arc<dyn Log>, telemetry: &Telemetry) -> Arc<dyn Log> {
    Arc::new(ObservedLog { inner, telemetry: telemetry.clone() })
}

#[async_trait]
impl Log for ObservedLog {
    async fn append(&self, mut appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let mut span = begin(&self.telemetry, &appends);
        if span.is_recorded() {
            describe(&mut span, &appends, self.telemetry.store());
        }
        let trace = if self.telemetry.is_enabled() { Some(span.context().clone()) } else { propagation::current() };
        for event in appends.iter_mut().flat_map(|append| &mut append.events) {
            if event.metadata.trace.is_none() {
                event.metadata.trace.clone_from(&trace);
            }
        }
        let one_stream = appends.len() == 1;
        let started = Instant::now();
        let result = self.inner.append(appends).await;
        let events = result.as_ref().map_or(0, Vec::len);
        self.telemetry.counts().append(events, result.as_ref().err(), started.elapsed());
        if span.is_recorded() {
            conclude(&mut span, &result, one_stream);
        }
        result
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.inner.read(after, filter, limit).await
    }

    async fn read_backward(&self, before: Position, filter: &Filter, limit: usize) -> Result<Page, LogError> {
        self.inner.read_backward(before, filter, limit).await
    }

    async fn read_stream(&self, stream: &StreamName, range: Range) -> Result<Vec<Event>, LogError> {
        self.inner.read_stream(stream, range).await
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, LogError> {
        self.inner.stream_version(stream).await
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, LogError> {
        self.inner.event(id).await
    }

    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }
}

/// The span of an append: under the caller's span, else under the one that all its events come from. Where they come from
/// several, it is a root that links to them.
fn begin(telemetry: &Telemetry, appends: &[Append]) -> ActiveSpan {
    let span = telemetry.span(names::APPEND, SpanKind::Internal);
    if !telemetry.is_enabled() || propagation::current().is_some() {
        return span.start();
    }
    let mut sources: Vec<&TraceContext> = Vec::new();
    for source in appends.iter().flat_map(|append| &append.events).filter_map(|event| event.metadata.trace.as_ref()) {
        if sources.len() < MAX_LINKS && !sources.contains(&source) {
            sources.push(source);
        }
    }
    match sources.as_slice() {
        [source] => span.parent((*source).clone()).start(),
        sources => sources.iter().fold(span, |span, source| span.link(source)).start(),
    }
}

/// What is known before the append.
fn describe(span: &mut ActiveSpan, appends: &[Append], store: &'static str) {
    span.set(names::DB_SYSTEM, store);
    span.set(names::DB_OPERATION, "append");
    span.set(names::EVENT_COUNT, appends.iter().map(|append| append.events.len()).sum::<usize>());
    let [append] = appends else { return };
    span.set(names::STREAM, append.stream.as_str());
    span.set(names::AGGREGATE_ID, append.stream.id());
    span.set(names::AGGREGATE_TYPE, append.stream.category());
    span.set(names::EXPECTED_VERSION, append.expected.to_string());
    let [event] = append.events.as_slice() else { return };
    span.set(names::EVENT_TYPE, event.event_type.as_str());
    span.set(names::EVENT_ID, event.id.to_string());
}

/// What is known after it.
fn conclude(span: &mut ActiveSpan, result: &Result<Vec<Appended>, AppendError>, one_stream: bool) {
    match result {
        Ok(appended) => {
            let positions = || appended.iter().map(|event| event.position);
            let (Some(first), Some(last)) = (positions().min(), positions().max()) else { return };
            span.set(names::FROM_POSITION, first.0);
            span.set(names::TO_POSITION, last.0);
            span.set(names::POSITION, last.0);
            if let (true, Some(version)) = (one_stream, appended.iter().map(|event| event.version).max()) {
                span.set(names::VERSION, version.0);
            }
        }
        Err(error) => {
            span.error(append_error_name(error), &error.to_string());
            span.set(names::EVENTSOURCE_ERROR_TYPE, append_error_name(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use lantern_core::{Expected, NewEvent};

    use super::*;
    use crate::fixture::{self, ports};

    fn answers(answer: Result<Vec<Appended>, AppendError>) -> Arc<ports::Answers> {
        Arc::new(ports::Answers { appended: Mutex::default(), answer })
    }

    fn appended(positions: impl Iterator<Item = u64>) -> Vec<Appended> {
        let place = |at: u64| Appended { id: EventId::from_u128(5), version: Version(at - 4), position: Position(at) };
        positions.map(place).collect()
    }

    fn append(events: Vec<NewEvent>) -> Append {
        Append { stream: "Order-42".parse().unwrap(), expected: Expected::Exact(Version(2)), events }
    }

    fn traces(log: &ports::Answers) -> Vec<Option<TraceContext>> {
        let appends = log.appended.lock().unwrap();
        appends.iter().flat_map(|append| &append.events).map(|event| event.metadata.trace.clone()).collect()
    }

    #[tokio::test]
    async fn an_append_is_a_child_of_the_request_and_its_context_is_stored() {
        let telemetry = fixture::telemetry();
        let inner = answers(Ok(appended(7..=8)));
        let log = log(inner.clone(), &telemetry);
        let mut imported = ports::new_event();
        imported.metadata.trace = Some(ports::context(1, 2));
        let request = ports::context(10, 20);
        let places = propagation::scope(request, log.append(vec![append(vec![ports::new_event(), imported])])).await;
        assert_eq!(places, Ok(appended(7..=8)));
        let spans = telemetry.trace(10);
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(span.name, "eventsource.event_store.append_events");
        assert_eq!(span.parent_span_id.as_deref(), Some("0000000000000014"));
        let traces = traces(&inner);
        let stored = traces[0].clone().unwrap();
        assert_eq!((stored.trace_id, format!("{:016x}", stored.span_id)), (10, span.span_id.clone()));
        assert_eq!(traces[1], Some(ports::context(1, 2)), "what an event brings is kept");
        let expected = serde_json::json!({
            "eventsource.event.count": 2,
            "eventsource.stream.id": "Order-42",
            "eventsource.aggregate.id": "42",
            "eventsource.aggregate.type": "Order",
            "eventsource.expected_version": "2",
            "eventsource.from_position": 7,
            "eventsource.to_position": 8,
            "eventsource.position": 8,
            "eventsource.version": 4,
            "db.system.name": "sqlite",
            "db.operation.name": "append",
        });
        assert_eq!(serde_json::to_value(&span.attributes).unwrap(), expected);
        let metrics = telemetry.metrics();
        for line in [
            "event_store_appends_total{status=\"success\"} 1",
            "event_store_events_appended_total 2",
            "event_store_append_duration_milliseconds_count 1",
        ] {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }
    }

    fn from(span_id: u64) -> NewEvent {
        let mut event = ports::new_event();
        event.metadata.trace = Some(ports::context(10, span_id));
        event
    }

    #[tokio::test]
    async fn what_a_handler_emits_is_appended_under_its_span() {
        let telemetry = fixture::telemetry();
        let inner = answers(Ok(appended(7..=8)));
        let log = log(inner.clone(), &telemetry);
        log.append(vec![append(vec![from(20), from(20)])]).await.unwrap();
        let spans = telemetry.trace(10);
        assert_eq!((spans.len(), spans[0].parent_span_id.as_deref()), (1, Some("0000000000000014")));
        assert_eq!(traces(&inner), [Some(ports::context(10, 20)), Some(ports::context(10, 20))]);
    }

    #[tokio::test]
    async fn an_append_from_several_spans_is_linked_to_each() {
        let telemetry = fixture::telemetry();
        let inner = answers(Ok(appended(7..=9)));
        let events = vec![from(20), from(21), from(20), ports::new_event()];
        log(inner.clone(), &telemetry).append(vec![append(events)]).await.unwrap();
        assert!(telemetry.trace(10).is_empty(), "none of them is its parent");
        let spans = telemetry.trace(traces(&inner)[3].clone().unwrap().trace_id);
        let links: Vec<&str> = spans[0].links.iter().map(|link| link.span_id.as_str()).collect();
        assert_eq!((spans[0].parent_span_id.as_deref(), links), (None, vec!["0000000000000014", "0000000000000015"]));
    }

    #[tokio::test]
    async fn a_refused_append_is_an_error_of_its_span() {
        let telemetry = fixture::telemetry();
        let stream = "Order-42".parse().unwrap();
        let (expected, actual) = (Expected::Exact(Version(2)), Version(3));
        let inner = answers(Err(AppendError::WrongExpectedVersion { stream, expected, actual }));
        let log = log(inner.clone(), &telemetry);
        log.append(vec![append(vec![ports::new_event()])]).await.unwrap_err();
        let trace_id = traces(&inner)[0].clone().unwrap().trace_id;
        let span = &telemetry.trace(trace_id)[0];
        assert_eq!((span.status, span.parent_span_id.as_deref()), ("error", None));
        assert_eq!(span.attributes["error.type"], "wrong_expected_version");
        assert_eq!(span.attributes["eventsource.event.type"], "OrderPlaced");
        let metrics = telemetry.metrics();
        assert!(metrics.contains("event_store_appends_total{status=\"wrong_expected_version\"} 1"), "{metrics}");
    }

    #[tokio::test]
    async fn without_telemetry_the_context_of_the_request_is_stored() {
        let telemetry = Telemetry::disabled();
        let inner = answers(Ok(Vec::new()));
        let log = log(inner.clone(), &telemetry);
        log.append(vec![append(vec![ports::new_event()])]).await.unwrap();
        propagation::scope(ports::context(10, 20), log.append(vec![append(vec![ports::new_event()])])).await.unwrap();
        assert_eq!(traces(&inner), [None, Some(ports::context(10, 20))]);
    }
}
