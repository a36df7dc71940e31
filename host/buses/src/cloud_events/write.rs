//! An event written as CloudEvents JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lantern_core::{Event, EventId, EventType, Message, Metadata, Payload, Position, StreamName, Timestamp, Version};
use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{KEPT_CONTENT_TYPE, KEPT_ID, SOURCE, compact::one_line, is_json};

/// An event as it is written: borrowed from wherever it is.
#[derive(Debug, Clone, Copy)]
pub struct CloudEvent<'a> {
    id: EventId,
    event_type: &'a EventType,
    schema_version: u32,
    stream: &'a StreamName,
    time: Timestamp,
    data: &'a Payload,
    metadata: &'a Metadata,
    /// Where it stands in this log; written in listings only.
    place: Option<(Position, Version)>,
}

/// The value of an attribute on its way out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attribute<'a> {
    Text(&'a str),
    Number(u64),
}

impl<'a> CloudEvent<'a> {
    /// An event as files and other systems have it: only what is true in every log.
    #[must_use]
    pub fn exchange(event: &'a Event) -> Self {
        Self {
            id: event.id,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            stream: &event.stream,
            time: event.time,
            data: &event.data,
            metadata: &event.metadata,
            place: None,
        }
    }

    /// An event as answers have it: also with `position` and `streamversion`, where it stands in this log.
    #[must_use]
    pub fn listing(event: &'a Event) -> Self {
        Self { place: Some((event.position, event.version)), ..Self::exchange(event) }
    }

    /// An event as messages have it.
    #[must_use]
    pub fn message(message: &'a Message) -> Self {
        let Message { stream, event } = message;
        Self {
            id: event.id,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            stream,
            time: event.time,
            data: &event.data,
            metadata: &event.metadata,
            place: None,
        }
    }

    /// Its data.
    pub(super) fn data(&self) -> &'a Payload {
        self.data
    }

    /// The content type of its data.
    pub(super) fn content_type(&self) -> &'a str {
        self.extra(KEPT_CONTENT_TYPE).unwrap_or(self.data.content_type())
    }

    fn extra(&self, name: &str) -> Option<&'a str> {
        self.metadata.extra.as_ref().and_then(|extra| extra.get(name)).map(String::as_str)
    }

    /// Hands out every attribute but the data, in the order in which they are written.
    pub(super) fn attributes<E>(&self, mut each: impl FnMut(&str, Attribute<'_>) -> Result<(), E>) -> Result<(), E> {
        let Metadata { source, correlation_id, causation_id, tenant, actor, trace, extra } = self.metadata;
        each("specversion", Attribute::Text("1.0"))?;
        let mut buffer = Uuid::encode_buffer();
        let id = self.extra(KEPT_ID).unwrap_or_else(|| self.id.as_hyphenated().encode_lower(&mut buffer));
        each("id", Attribute::Text(id))?;
        each("source", Attribute::Text(source.as_deref().unwrap_or(SOURCE)))?;
        each("type", Attribute::Text(self.event_type.as_str()))?;
        each("subject", Attribute::Text(self.stream.as_str()))?;
        each("time", Attribute::Text(&self.time.to_string()))?;
        each("datacontenttype", Attribute::Text(self.content_type()))?;
        if self.schema_version != 1 {
            each("schemaversion", Attribute::Number(self.schema_version.into()))?;
        }
        let known =
            [("correlationid", correlation_id), ("causationid", causation_id), ("tenant", tenant), ("actor", actor)];
        for (name, value) in known {
            if let Some(value) = value {
                each(name, Attribute::Text(value))?;
            }
        }
        if let Some(trace) = trace {
            each("traceparent", Attribute::Text(&trace.traceparent()))?;
            if let Some(state) = &trace.state {
                each("tracestate", Attribute::Text(state))?;
            }
        }
        for (name, value) in extra.iter().flat_map(|extra| extra.iter()) {
            if name != KEPT_ID && name != KEPT_CONTENT_TYPE {
                each(name, Attribute::Text(value))?;
            }
        }
        if let Some((position, version)) = self.place {
            each("position", Attribute::Number(position.0))?;
            each("streamversion", Attribute::Number(version.0))?;
        }
        Ok(())
    }
}

impl Serialize for CloudEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.attributes(|name, value| match value {
            Attribute::Text(text) => map.serialize_entry(name, text),
            Attribute::Number(number) => map.serialize_entry(name, &number),
        })?;
        write_data::<S>(self.data, &mut map)?;
        map.end()
    }
}

fn write_data<S: Serializer>(data: &Payload, map: &mut S::SerializeMap) -> Result<(), S::Error> {
    let (content_type, bytes) = match data {
        Payload::Json(json) => {
            let json = one_line(json);
            let json: &RawValue = serde_json::from_str(&json).map_err(S::Error::custom)?;
            return map.serialize_entry("data", json);
        }
        Payload::Bytes { content_type, data } => (content_type, data),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if !is_json(content_type) => map.serialize_entry("data", text),
        _ => map.serialize_entry("data_base64", &STANDARD.encode(bytes)),
    }
}
