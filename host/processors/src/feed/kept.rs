//! Parked events of a feed: no log has them, so they are documents of the generation for as long as they are parked.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lantern_core::{
    Documents, Event, EventId, EventType, Metadata, Payload, Position, ReadModel, ReadModelError, StreamName,
    Timestamp, TraceContext, Version, documents::OWN,
};
use serde::{Deserialize, Serialize};

/// An event as a document.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: EventId,
    event_type: EventType,
    schema_version: u32,
    stream: StreamName,
    time: Timestamp,
    data: Data,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<BTreeMap<String, String>>,
}

/// Its content, byte for byte.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Data {
    Json(String),
    Base64 { content_type: String, data: String },
}

/// The collection they are kept in.
fn collection() -> String {
    format!("{OWN}parked")
}

fn key(position: Position) -> String {
    format!("{:020}", position.0)
}

/// Keeps an event that is parked.
pub(crate) fn keep(documents: &mut Documents, event: &Event) {
    let Metadata { source, correlation_id, causation_id, tenant, actor, trace, extra } = &event.metadata;
    let text = |text: Option<&Arc<str>>| text.map(|text| text.as_ref().to_owned());
    let kept = Kept {
        id: event.id,
        event_type: event.event_type.clone(),
        schema_version: event.schema_version,
        stream: event.stream.clone(),
        time: event.time,
        data: match &event.data {
            Payload::Json(text) => Data::Json(text.as_ref().into()),
            Payload::Bytes { content_type, data } => {
                Data::Base64 { content_type: content_type.as_ref().into(), data: STANDARD.encode(data) }
            }
        },
        source: text(source.as_ref()),
        correlation_id: text(correlation_id.as_ref()),
        causation_id: text(causation_id.as_ref()),
        tenant: text(tenant.as_ref()),
        actor: text(actor.as_ref()),
        traceparent: trace.as_ref().map(TraceContext::traceparent),
        tracestate: text(trace.as_ref().and_then(|trace| trace.state.as_ref())),
        extra: extra.as_deref().cloned(),
    };
    // All of it is text and numbers under names that are texts, which cannot fail.
    let kept = serde_json::to_string(&kept).unwrap_or_default();
    documents.set(collection().into(), key(event.position).into(), Some(kept.into()));
}

/// Forgets an event that is parked no longer.
pub(crate) fn release(documents: &mut Documents, position: Position) {
    documents.set(collection().into(), key(position).into(), None);
}

/// The event that is parked at a position.
pub(crate) async fn read(read_model: &dyn ReadModel, position: Position) -> Result<Option<Event>, ReadModelError> {
    let Some(text) = read_model.get(&collection(), &key(position)).await? else { return Ok(None) };
    let kept: Kept = serde_json::from_str(&text)
        .map_err(|error| ReadModelError::Unavailable(format!("the parked event at {position} is damaged: {error}")))?;
    let data = match kept.data {
        Data::Json(text) => Payload::Json(text.into()),
        Data::Base64 { content_type, data } => {
            let damaged = |error| ReadModelError::Unavailable(format!("the event at {position} is damaged: {error}"));
            Payload::Bytes { content_type: content_type.into(), data: STANDARD.decode(data).map_err(damaged)?.into() }
        }
    };
    let trace = kept.traceparent.and_then(|parent| TraceContext::parse(&parent, kept.tracestate.as_deref()).ok());
    Ok(Some(Event {
        id: kept.id,
        event_type: kept.event_type,
        schema_version: kept.schema_version,
        stream: kept.stream,
        version: Version(position.0),
        position,
        time: kept.time,
        data,
        metadata: Metadata {
            source: kept.source.map(Into::into),
            correlation_id: kept.correlation_id.map(Into::into),
            causation_id: kept.causation_id.map(Into::into),
            tenant: kept.tenant.map(Into::into),
            actor: kept.actor.map(Into::into),
            trace,
            extra: kept.extra.map(Arc::new),
        },
    }))
}

#[cfg(test)]
mod tests {
    use lantern_core::{Batch, Digest, Generation, Name, ReadModels as _};
    use lantern_stores::memory;

    use super::*;

    fn event(position: u64, data: Payload, metadata: Metadata) -> Event {
        Event {
            id: uuid::Uuid::from_u128(7),
            event_type: EventType::new("Paid").unwrap(),
            schema_version: 2,
            stream: "Order-4".parse().unwrap(),
            version: Version(position),
            position: Position(position),
            time: Timestamp(1_700_000_000_123_456_789),
            data,
            metadata,
        }
    }

    #[tokio::test]
    async fn an_event_comes_back_as_it_was() {
        let trace = TraceContext { trace_id: 7, span_id: 9, flags: 1, state: Some("vendor=1".into()) };
        let full = Metadata {
            source: Some("urn:bank".into()),
            correlation_id: Some("c".into()),
            causation_id: Some("d".into()),
            tenant: Some("north".into()),
            actor: Some("ann".into()),
            trace: Some(trace),
            extra: Some(Arc::new(BTreeMap::from([("region".into(), "eu".into())]))),
        };
        let bytes = Payload::Bytes { content_type: "text/plain".into(), data: vec![0, 255, 7].into() };
        let events = [event(3, Payload::Json(r#"{ "n" : 1.0 }"#.into()), Metadata::default()), event(9, bytes, full)];
        let mut documents = Documents::default();
        events.iter().for_each(|event| keep(&mut documents, event));
        let generation = Generation { processor: Name::new("orders").unwrap(), number: 1 };
        let models = memory::ReadModels::new();
        let model = models.create(&generation, Position::START, Digest::of(b"m")).await.unwrap();
        let (lease, _) = model.take().await.unwrap();
        let batch = Batch {
            from: Position(0),
            until: Position(9),
            last_event: None,
            incarnation: None,
            module: Digest::of(b"m"),
            documents: Arc::new(documents),
            tables: None,
            schedules: Vec::new(),
            parked: Vec::new(),
            released: Vec::new(),
            handled: 0,
            trace: None,
            started_at: Timestamp(0),
        };
        model.commit(lease, &batch).await.unwrap();
        for event in events {
            assert_eq!(read(&*model, event.position).await, Ok(Some(event)));
        }
        assert_eq!(read(&*model, Position(4)).await, Ok(None));
    }
}
