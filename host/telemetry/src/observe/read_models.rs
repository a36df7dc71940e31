//! Read models, watched: how long commits take, what is parked, and the span of a batch of late events.

use std::{borrow::Cow, sync::Arc, time::Instant};

use async_trait::async_trait;
use lantern_core::{
    Batch, Checkpoint, Clock, Digest, Document, EventId, Fate, Generation, Lease, Migration, Parked, Position,
    ReadModel, ReadModels, Scheduled, SqlError, SqlValue, StreamName, SystemClock, Tables, TablesError, Value, View,
    documents::Scan,
    read_model::{CommitError, ReadModelError},
    sql::{Budget, Rows},
    witness::{SpanKind, SpanStatus},
};

use crate::{
    Telemetry,
    metrics::{commit_error_name, standing_name},
    names,
    record::{Moment, Span},
};

/// The most parked events that are notes of their batch's span; the metrics count all.
const MAX_NOTES: usize = 32;

struct ObservedReadModels {
    inner: Arc<dyn ReadModels>,
    telemetry: Telemetry,
}

struct ObservedReadModel {
    inner: Arc<dyn ReadModel>,
    telemetry: Telemetry,
    generation: Generation,
}

/// Watches read models.
#[must_use]
pub fn read_models(inner: Arc<dyn ReadModels>, telemetry: &Telemetry) -> Arc<dyn ReadModels> {
    Arc::new(ObservedReadModels { inner, telemetry: telemetry.clone() })
}

impl ObservedReadModels {
    fn observed(&self, inner: Arc<dyn ReadModel>, generation: &Generation) -> Arc<dyn ReadModel> {
        let (telemetry, generation) = (self.telemetry.clone(), generation.clone());
        Arc::new(ObservedReadModel { inner, telemetry, generation })
    }
}

#[async_trait]
impl ReadModels for ObservedReadModels {
    async fn create(
        &self,
        generation: &Generation,
        start: Position,
        module: Digest,
    ) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        Ok(self.observed(self.inner.create(generation, start, module).await?, generation))
    }

    async fn open(&self, generation: &Generation) -> Result<Arc<dyn ReadModel>, ReadModelError> {
        Ok(self.observed(self.inner.open(generation).await?, generation))
    }

    async fn remove(&self, generation: &Generation) -> Result<(), ReadModelError> {
        self.inner.remove(generation).await
    }
}

#[async_trait]
impl ReadModel for ObservedReadModel {
    async fn take(&self) -> Result<(Lease, Checkpoint), ReadModelError> {
        self.inner.take().await
    }

    async fn commit(&self, lease: Lease, batch: &Batch) -> Result<(), CommitError> {
        let started = Instant::now();
        let result = self.inner.commit(lease, batch).await;
        let (metrics, name) = (self.telemetry.counts(), self.generation.processor.as_str());
        metrics.commit(name, result.as_ref().err(), started.elapsed());
        if result.is_ok() {
            batch.parked.iter().for_each(|parked| metrics.parked(name, parked.standing));
        }
        self.record(batch, result.as_ref().err());
        result
    }

    fn view(&self) -> Arc<dyn View> {
        self.inner.view()
    }

    async fn checkpoint(&self) -> Result<Checkpoint, ReadModelError> {
        self.inner.checkpoint().await
    }

    async fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, ReadModelError> {
        self.inner.get(collection, key).await
    }

    async fn scan(&self, collection: &str, scan: &Scan) -> Result<Vec<Document>, ReadModelError> {
        self.inner.scan(collection, scan).await
    }

    async fn tables(&self, migrations: &[Migration]) -> Result<Arc<dyn Tables>, TablesError> {
        self.inner.tables(migrations).await
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        self.inner.query(statement, parameters, budget).await
    }

    async fn digest(&self) -> Result<(Position, Digest), ReadModelError> {
        self.inner.digest().await
    }

    async fn parked(&self, after: Position, limit: usize) -> Result<Vec<Parked>, ReadModelError> {
        self.inner.parked(after, limit).await
    }

    async fn parked_at(&self, position: Position) -> Result<Option<Parked>, ReadModelError> {
        self.inner.parked_at(position).await
    }

    async fn scheduled(&self) -> Result<Vec<Scheduled>, ReadModelError> {
        self.inner.scheduled().await
    }

    async fn fired(&self, lease: Lease, events: &[EventId]) -> Result<(), CommitError> {
        self.inner.fired(lease, events).await
    }

    async fn held_streams(&self) -> Result<Vec<(StreamName, u64)>, ReadModelError> {
        self.inner.held_streams().await
    }
}

impl ObservedReadModel {
    /// Records the span of a batch, once: a commit that will be tried again does not end it.
    fn record(&self, batch: &Batch, error: Option<&CommitError>) {
        let Some(trace) = batch.trace.as_ref().filter(|trace| trace.is_sampled()) else { return };
        let retried = error.is_some_and(|error| error.fate() == Fate::Retry);
        if retried || !self.telemetry.sampler().decides_root(trace.trace_id) {
            return;
        }
        let now = SystemClock.now();
        let mut span = Span {
            trace_id: trace.trace_id,
            span_id: trace.span_id,
            parent: 0,
            flags: trace.flags,
            state: trace.state.clone(),
            name: Cow::Borrowed(names::BATCH),
            kind: SpanKind::Internal,
            start: batch.started_at,
            end: now.max(batch.started_at),
            status: SpanStatus::Unset,
            attributes: vec![
                (names::SUBSCRIPTION.into(), self.generation.processor.as_str().into()),
                (names::GENERATION.into(), self.generation.number.into()),
                (names::MODULE.into(), batch.module.to_string().into()),
                (names::FROM_POSITION.into(), batch.from.0.into()),
                (names::TO_POSITION.into(), batch.until.0.into()),
                (names::BATCH_SIZE.into(), batch.handled.into()),
            ],
            events: batch.parked.iter().take(MAX_NOTES).map(note).collect(),
            links: Vec::new(),
        };
        if let Some(error) = error {
            let (kind, text) = (commit_error_name(error), error.to_string());
            span.attributes.push((names::ERROR_TYPE.into(), kind.into()));
            span.attributes.push((names::EVENTSOURCE_ERROR_TYPE.into(), kind.into()));
            let attributes = vec![
                (names::EXCEPTION_TYPE.into(), kind.into()),
                (names::EXCEPTION_MESSAGE.into(), text.as_str().into()),
            ];
            span.events.push(Moment { name: names::EXCEPTION.into(), at: now, attributes });
            span.status = SpanStatus::Error(text);
        }
        self.telemetry.pipeline().span(span);
    }
}

/// An event that is set aside, as a note of its batch.
fn note(parked: &Parked) -> Moment {
    let attributes = vec![
        (names::POSITION.into(), parked.position.0.into()),
        (names::EVENT_ID.into(), parked.event_id.to_string().into()),
        (names::EVENT_TYPE.into(), parked.event_type.as_str().into()),
        (names::STREAM.into(), parked.stream.as_str().into()),
        (names::STANDING.into(), standing_name(parked.standing).into()),
    ];
    Moment { name: names::PARKED.into(), at: parked.last_at, attributes }
}

#[cfg(test)]
mod tests {
    use lantern_core::{Timestamp, TraceContext, parked::Standing};

    use super::*;
    use crate::fixture::{self, ports};

    fn parked() -> Parked {
        Parked {
            position: Position(9),
            event_id: EventId::from_u128(5),
            event_type: String::from("OrderPlaced").try_into().unwrap(),
            stream: "Order-42".parse().unwrap(),
            standing: Standing::Failed,
            kind: None,
            error: "no".into(),
            backtrace: None,
            attempts: 1,
            trace_id: None,
            module: Digest([7; 32]),
            first_at: Timestamp(1),
            last_at: Timestamp(2),
        }
    }

    fn batch(trace: Option<TraceContext>) -> Batch {
        Batch {
            from: Position(4),
            until: Position(9),
            last_event: Some(EventId::from_u128(5)),
            incarnation: None,
            module: Digest([7; 32]),
            documents: Arc::default(),
            tables: None,
            schedules: Vec::new(),
            parked: vec![parked()],
            released: Vec::new(),
            handled: 3,
            trace,
            started_at: Timestamp(1_000),
        }
    }

    async fn commit(telemetry: &Telemetry, answer: Result<(), CommitError>, batch: &Batch) {
        let generation = Generation { processor: "orders".parse().unwrap(), number: 2 };
        let models = read_models(Arc::new(ports::Commits(answer.clone())), telemetry);
        let model = models.open(&generation).await.unwrap();
        assert_eq!(model.commit(Lease { epoch: 1 }, batch).await, answer);
    }

    #[tokio::test]
    async fn a_batch_of_late_events_is_a_root_span() {
        let telemetry = fixture::telemetry();
        commit(&telemetry, Ok(()), &batch(Some(ports::context(30, 40)))).await;
        let spans = telemetry.trace(30);
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(span.name, "eventsource.catchup_runner.deliver_batch");
        assert_eq!((span.span_id.as_str(), span.parent_span_id.as_deref()), ("0000000000000028", None));
        assert_eq!((span.start, span.status), (Timestamp(1_000), "unset"));
        let expected = serde_json::json!({
            "eventsource.subscription.name": "orders",
            "lantern.generation": 2,
            "lantern.module.digest": "07".repeat(32),
            "eventsource.from_position": 4,
            "eventsource.to_position": 9,
            "eventsource.batch.size": 3,
        });
        assert_eq!(serde_json::to_value(&span.attributes).unwrap(), expected);
        assert_eq!(
            (span.events[0].name.as_str(), &span.events[0].attributes["eventsource.position"]),
            ("lantern.parked", &9.into())
        );
        let metrics = telemetry.metrics();
        for line in [
            "read_model_commits_total{subscription=\"orders\",status=\"success\"} 1",
            "read_model_parked_total{subscription=\"orders\",standing=\"failed\"} 1",
            "read_model_commit_duration_milliseconds_count{subscription=\"orders\"} 1",
        ] {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }
    }

    #[tokio::test]
    async fn a_commit_that_is_tried_again_ends_no_span_and_parks_nothing() {
        let telemetry = fixture::telemetry();
        let batch = batch(Some(ports::context(30, 40)));
        commit(&telemetry, Err(CommitError::Unavailable("disk".into())), &batch).await;
        assert!(telemetry.trace(30).is_empty());
        let metrics = telemetry.metrics();
        assert!(metrics.contains("status=\"unavailable\"} 1"), "{metrics}");
        assert!(!metrics.contains("read_model_parked_total{"), "{metrics}");
        commit(&telemetry, Err(CommitError::Fenced { expected: Position(4), epoch: 1 }), &batch).await;
        assert_eq!(telemetry.trace(30)[0].attributes["error.type"], "fenced");
    }

    #[tokio::test]
    async fn live_batches_and_unsampled_ones_have_no_span() {
        let telemetry = fixture::with([("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
        commit(&telemetry, Ok(()), &batch(Some(ports::context(30, 40)))).await;
        assert!(telemetry.trace(30).is_empty());
        let telemetry = fixture::telemetry();
        commit(&telemetry, Ok(()), &batch(None)).await;
        commit(&telemetry, Ok(()), &batch(Some(TraceContext { flags: 0, ..ports::context(30, 40) }))).await;
        assert!(telemetry.metrics().contains("telemetry_spans_recorded_total 0"), "{}", telemetry.metrics());
    }
}
