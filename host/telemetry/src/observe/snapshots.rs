//! Snapshots, watched: a span for each call of their storage.

use std::sync::Arc;

use async_trait::async_trait;
use lantern_core::{Snapshot, Snapshots, StreamName, snapshot::SnapshotError, witness::SpanKind};

use crate::{ActiveSpan, Telemetry, names};

/// What `error.type` says: the storage has one kind of error.
const UNAVAILABLE: &str = "unavailable";

struct ObservedSnapshots {
    inner: Arc<dyn Snapshots>,
    telemetry: Telemetry,
}

/// Watches the storage of snapshots.
#[must_use]
pub fn snapshots(inner: Arc<dyn Snapshots>, telemetry: &Telemetry) -> Arc<dyn Snapshots> {
    Arc::new(ObservedSnapshots { inner, telemetry: telemetry.clone() })
}

impl ObservedSnapshots {
    /// A span of these names, about one stream.
    fn begin(&self, name: &'static str, operation: &str, stream: &StreamName) -> ActiveSpan {
        let mut span = self.of_type(name, operation, stream.category());
        if span.is_recorded() {
            span.set(names::AGGREGATE_ID, stream.id());
            span.set(names::STREAM, stream.as_str());
        }
        span
    }

    fn of_type(&self, name: &'static str, operation: &str, category: &str) -> ActiveSpan {
        let mut span = self.telemetry.span(name, SpanKind::Internal).start();
        if span.is_recorded() {
            span.set(names::DB_SYSTEM, self.telemetry.store());
            span.set(names::DB_OPERATION, operation);
            span.set(names::AGGREGATE_TYPE, category);
        }
        span
    }
}

#[async_trait]
impl Snapshots for ObservedSnapshots {
    async fn get(&self, stream: &StreamName) -> Result<Option<Snapshot>, SnapshotError> {
        let mut span = self.begin(names::SNAPSHOT_GET, "get", stream);
        let result = conclude(&mut span, self.inner.get(stream).await);
        if let Ok(found) = &result {
            span.set(names::SNAPSHOT_FOUND, found.is_some());
        }
        if let Ok(Some(snapshot)) = &result {
            span.set(names::VERSION, snapshot.version.0);
        }
        result
    }

    async fn put(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let mut span = self.begin(names::SNAPSHOT_SAVE, "save", &snapshot.stream);
        span.set(names::VERSION, snapshot.version.0);
        conclude(&mut span, self.inner.put(snapshot).await)
    }

    async fn delete(&self, stream: &StreamName) -> Result<bool, SnapshotError> {
        let mut span = self.begin(names::SNAPSHOT_DELETE, "delete", stream);
        let result = conclude(&mut span, self.inner.delete(stream).await);
        if let Ok(found) = result {
            span.set(names::SNAPSHOT_FOUND, found);
        }
        result
    }

    async fn delete_category(&self, category: &str) -> Result<u64, SnapshotError> {
        let mut span = self.of_type(names::SNAPSHOT_DELETE_BY_TYPE, "delete_by_type", category);
        conclude(&mut span, self.inner.delete_category(category).await)
    }
}

/// Notes an error on the span.
fn conclude<T>(span: &mut ActiveSpan, result: Result<T, SnapshotError>) -> Result<T, SnapshotError> {
    if let Err(error) = &result {
        span.error(UNAVAILABLE, &error.to_string());
        span.set(names::EVENTSOURCE_ERROR_TYPE, UNAVAILABLE);
    }
    result
}

#[cfg(test)]
mod tests {
    use lantern_core::{Digest, Timestamp, Version};

    use super::*;
    use crate::{
        SpanView,
        fixture::{self, ports, write_side::Shelf},
        propagation,
    };

    fn snapshot() -> Snapshot {
        Snapshot {
            stream: "Order-42".parse().unwrap(),
            version: Version(100),
            state: "{}".into(),
            state_version: 1,
            module: Digest([7; 32]),
            taken_at: Timestamp(1),
        }
    }

    /// The spans of one call of each sort, in their order.
    async fn spans(answer: Result<Option<Snapshot>, SnapshotError>) -> Vec<SpanView> {
        let telemetry = fixture::telemetry();
        let snapshots = snapshots(Arc::new(Shelf(answer.clone())), &telemetry);
        let stream = snapshot().stream;
        propagation::scope(ports::context(10, 20), async {
            assert_eq!(snapshots.get(&stream).await, answer);
            assert_eq!(snapshots.put(snapshot()).await, answer.clone().map(drop));
            assert_eq!(snapshots.delete(&stream).await, answer.clone().map(|found| found.is_some()));
            assert_eq!(
                snapshots.delete_category("Order").await,
                answer.clone().map(|found| u64::from(found.is_some()))
            );
        })
        .await;
        let mut spans = telemetry.trace(10);
        spans.sort_by_key(|span| ["get", "save", "delete", "by_type"].map(|end| !span.name.ends_with(end)));
        spans
    }

    #[tokio::test]
    async fn every_call_is_a_span_under_its_caller() {
        let spans = spans(Ok(Some(snapshot()))).await;
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        let expected = ["get", "save", "delete", "delete_by_type"].map(|name| format!("eventsource.snapshot.{name}"));
        assert_eq!(names, expected);
        assert!(spans.iter().all(|span| span.parent_span_id.as_deref() == Some("0000000000000014")));
        assert!(spans.iter().all(|span| span.attributes["eventsource.aggregate.type"] == "Order"));
        let expected = serde_json::json!({
            "db.system.name": "sqlite",
            "db.operation.name": "get",
            "eventsource.aggregate.type": "Order",
            "eventsource.aggregate.id": "42",
            "eventsource.stream.id": "Order-42",
            "eventsource.version": 100,
            "lantern.snapshot.found": true,
        });
        assert_eq!(serde_json::to_value(&spans[0].attributes).unwrap(), expected);
    }

    #[tokio::test]
    async fn an_error_is_told_and_handed_on() {
        let spans = spans(Err(SnapshotError("disk".into()))).await;
        assert_eq!(spans.len(), 4);
        assert!(spans.iter().all(|span| span.status == "error" && span.attributes["error.type"] == "unavailable"));
    }
}
