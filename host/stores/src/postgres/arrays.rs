//! Turns events into arrays, one a column, so that one statement writes any number of them.

use std::borrow::Cow;

use lantern_core::{NewEvent, Payload, StreamName};
use sqlx::{Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::keys::escape;

type Text<'a> = Cow<'a, str>;

/// The columns of events, in the order of [`super::row::COLUMNS`] from `id` on.
#[derive(Default)]
pub(super) struct Arrays<'a> {
    id: Vec<Uuid>,
    stream: Vec<Text<'a>>,
    event_type: Vec<Text<'a>>,
    schema_version: Vec<i64>,
    time: Vec<i64>,
    content_type: Vec<Option<Text<'a>>>,
    data: Vec<&'a [u8]>,
    source: Vec<Option<Text<'a>>>,
    tenant: Vec<Option<Text<'a>>>,
    correlation_id: Vec<Option<Text<'a>>>,
    causation_id: Vec<Option<Text<'a>>>,
    actor: Vec<Option<Text<'a>>>,
    trace_id: Vec<Option<Uuid>>,
    span_id: Vec<Option<i64>>,
    trace_flags: Vec<Option<i16>>,
    trace_state: Vec<Option<Text<'a>>>,
    extra: Vec<Option<String>>,
}

/// The types of the columns, for `unnest`; the parameters follow each other from the one with this number on.
pub(super) fn unnest(first: usize) -> String {
    const TYPES: [&str; 17] = [
        "uuid", "text", "text", "bigint", "bigint", "text", "bytea", "text", "text", "text", "text", "text", "uuid",
        "bigint", "smallint", "text", "text",
    ];
    let parameters = TYPES.iter().zip(first..).map(|(kind, number)| format!("${number}::{kind}[]"));
    parameters.collect::<Vec<_>>().join(", ")
}

impl<'a> Arrays<'a> {
    /// Adds an event.
    pub(super) fn push(&mut self, stream: &'a StreamName, event: &'a NewEvent) -> Result<(), serde_json::Error> {
        let NewEvent { id, event_type, schema_version, time, data, metadata } = event;
        let extra = metadata.extra.as_deref().map(serde_json::to_string).transpose()?;
        let trace = metadata.trace.as_ref();
        let text = |text: &'a Option<std::sync::Arc<str>>| text.as_deref().map(escape);
        self.id.push(*id);
        self.stream.push(escape(stream.as_str()));
        self.event_type.push(escape(event_type.as_str()));
        self.schema_version.push(i64::from(*schema_version));
        self.time.push(time.0);
        self.content_type.push(match data {
            Payload::Json(_) => None,
            Payload::Bytes { content_type, .. } => Some(escape(content_type)),
        });
        self.data.push(data.as_bytes());
        self.source.push(text(&metadata.source));
        self.tenant.push(text(&metadata.tenant));
        self.correlation_id.push(text(&metadata.correlation_id));
        self.causation_id.push(text(&metadata.causation_id));
        self.actor.push(text(&metadata.actor));
        self.trace_id.push(trace.map(|trace| Uuid::from_u128(trace.trace_id)));
        self.span_id.push(trace.map(|trace| trace.span_id.cast_signed()));
        self.trace_flags.push(trace.map(|trace| i16::from(trace.flags)));
        self.trace_state.push(trace.and_then(|trace| trace.state.as_deref()).map(escape));
        self.extra.push(extra);
        Ok(())
    }

    /// Gives the arrays to a statement, in order.
    pub(super) fn bind<'q>(self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>
    where
        'a: 'q,
    {
        query
            .bind(self.id)
            .bind(self.stream)
            .bind(self.event_type)
            .bind(self.schema_version)
            .bind(self.time)
            .bind(self.content_type)
            .bind(self.data)
            .bind(self.source)
            .bind(self.tenant)
            .bind(self.correlation_id)
            .bind(self.causation_id)
            .bind(self.actor)
            .bind(self.trace_id)
            .bind(self.span_id)
            .bind(self.trace_flags)
            .bind(self.trace_state)
            .bind(self.extra)
    }
}
