//! The schedules of a generation: rows of the table `schedule`, each with the event as JSON beside its data.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use lantern_core::{
    EventId, EventType, Metadata, NewEvent, Payload, ScheduleChange, Scheduled, StreamName, Timestamp, TraceContext,
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row, postgres::PgRow, query};

use super::{
    generation::Schema,
    keys::{escape, unescape},
};

/// What is kept of an event beside its id and its data.
#[derive(Serialize, Deserialize)]
struct Record {
    stream: StreamName,
    #[serde(rename = "type")]
    event_type: EventType,
    schema_version: u32,
    time: i64,
    /// `None` for JSON.
    content_type: Option<String>,
    source: Option<String>,
    tenant: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    actor: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    extra: Option<BTreeMap<String, String>>,
}

/// Carries out changes, in order.
pub(super) async fn change(
    connection: &mut PgConnection,
    schema: &Schema,
    changes: &[ScheduleChange],
) -> sqlx::Result<()> {
    const SET: &str = "
        insert into $schema.lantern_schedule (key, due, id, record, data)
        select * from unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::bytea[])
        on conflict (key) do update
        set due = excluded.due, id = excluded.id, record = excluded.record, data = excluded.data";
    const CANCEL: &str = "delete from $schema.lantern_schedule where key = any($1)";
    // Of several changes to a key the last one counts; one statement cannot write a row twice.
    let mut last: HashMap<&str, Option<&Scheduled>> = HashMap::new();
    for change in changes {
        match change {
            ScheduleChange::Set(scheduled) => last.insert(&scheduled.key, Some(scheduled)),
            ScheduleChange::Cancel(key) => last.insert(key, None),
        };
    }
    let cancelled: Vec<_> = last.iter().filter(|(_, set)| set.is_none()).map(|(key, _)| escape(key)).collect();
    if !cancelled.is_empty() {
        query(schema.statement(CANCEL)).bind(cancelled).execute(&mut *connection).await?;
    }
    let set: Vec<_> = last.into_values().flatten().collect();
    if set.is_empty() {
        return Ok(());
    }
    let records: Result<Vec<_>, _> =
        set.iter().map(|scheduled| serde_json::to_string(&Record::of(scheduled))).collect();
    query(schema.statement(SET))
        .bind(set.iter().map(|scheduled| escape(&scheduled.key)).collect::<Vec<_>>())
        .bind(set.iter().map(|scheduled| scheduled.due.0).collect::<Vec<_>>())
        .bind(set.iter().map(|scheduled| scheduled.event.id).collect::<Vec<_>>())
        .bind(records.map_err(|error| sqlx::Error::Encode(error.into()))?)
        .bind(set.iter().map(|scheduled| scheduled.event.data.as_bytes()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// All schedules, the first due first.
pub(super) async fn all(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<Vec<Scheduled>> {
    let all = schema.statement("select key, due, id, record, data from $schema.lantern_schedule order by due, key");
    query(all).try_map(|row| scheduled(&row)).fetch_all(connection).await
}

/// Removes the schedules of these events.
pub(super) async fn fired(connection: &mut PgConnection, schema: &Schema, events: &[EventId]) -> sqlx::Result<()> {
    query(schema.statement("delete from $schema.lantern_schedule where id = any($1)"))
        .bind(events)
        .execute(connection)
        .await?;
    Ok(())
}

impl Record {
    fn of(scheduled: &Scheduled) -> Self {
        let Scheduled { stream, event, .. } = scheduled;
        let Metadata { source, correlation_id, causation_id, tenant, actor, trace, extra } = &event.metadata;
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let content_type = match &event.data {
            Payload::Json(_) => None,
            Payload::Bytes { content_type, .. } => Some(content_type.as_ref().to_owned()),
        };
        Self {
            stream: stream.clone(),
            event_type: event.event_type.clone(),
            schema_version: event.schema_version,
            time: event.time.0,
            content_type,
            source: text(source),
            tenant: text(tenant),
            correlation_id: text(correlation_id),
            causation_id: text(causation_id),
            actor: text(actor),
            traceparent: trace.as_ref().map(TraceContext::traceparent),
            tracestate: trace.as_ref().and_then(|trace| text(&trace.state)),
            extra: extra.as_deref().cloned(),
        }
    }

    /// The stream and the event that were kept. The error says what is damaged.
    fn event(self, id: EventId, data: &[u8]) -> Result<(StreamName, NewEvent), String> {
        let data = match self.content_type {
            None => Payload::Json(str::from_utf8(data).map_err(|error| error.to_string())?.into()),
            Some(content_type) => {
                Payload::Bytes { content_type: content_type.into(), data: Bytes::copy_from_slice(data) }
            }
        };
        let trace = self.traceparent.map(|parent| parent.parse::<TraceContext>()).transpose();
        let trace = trace.map_err(|error| error.to_string())?;
        let state = self.tracestate.map(Arc::from);
        let metadata = Metadata {
            source: self.source.map(Arc::from),
            correlation_id: self.correlation_id.map(Arc::from),
            causation_id: self.causation_id.map(Arc::from),
            tenant: self.tenant.map(Arc::from),
            actor: self.actor.map(Arc::from),
            trace: trace.map(|trace| TraceContext { state, ..trace }),
            extra: self.extra.map(Arc::new),
        };
        let (event_type, time) = (self.event_type, Timestamp(self.time));
        Ok((self.stream, NewEvent { id, event_type, schema_version: self.schema_version, time, data, metadata }))
    }
}

fn scheduled(row: &PgRow) -> sqlx::Result<Scheduled> {
    let (key, id, data) = (unescape(row.try_get(0)?), row.try_get(2)?, row.try_get(4)?);
    let record: Result<Record, _> = serde_json::from_str(row.try_get(3)?);
    let event = record.map_err(|error| error.to_string()).and_then(|record| record.event(id, data));
    let damaged = |reason: String| sqlx::Error::ColumnDecode {
        index: "record".into(),
        source: format!("schedule `{key}` is damaged: {reason}").into(),
    };
    let (stream, event) = event.map_err(damaged)?;
    Ok(Scheduled { due: Timestamp(row.try_get(1)?), key: key.into(), stream, event })
}
