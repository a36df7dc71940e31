//! An event written as CloudEvents JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lantern_core::{Event, Payload};
use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap},
};
use serde_json::value::RawValue;

use super::{KEPT_CONTENT_TYPE, KEPT_ID, SOURCE, compact::one_line, is_json};

/// What is written beside the event itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Only what is true in every log: for files and other systems.
    Exchange,
    /// Also `position` and `streamversion`, where the event stands in this log.
    Listing,
}

/// An event that serialises as a CloudEvent.
#[derive(Debug, Clone, Copy)]
pub struct CloudEvent<'a> {
    /// The event.
    pub event: &'a Event,
    /// What is written beside it.
    pub form: Form,
}

impl<'a> CloudEvent<'a> {
    /// An event as files have it.
    pub fn exchange(event: &'a Event) -> Self {
        Self { event, form: Form::Exchange }
    }

    /// An event as answers have it.
    pub fn listing(event: &'a Event) -> Self {
        Self { event, form: Form::Listing }
    }
}

impl Serialize for CloudEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Event { id, event_type, schema_version, stream, version, position, time, data, metadata } = self.event;
        let extra = |name: &str| metadata.extra.as_ref().and_then(|extra| extra.get(name)).map(String::as_str);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        match extra(KEPT_ID) {
            Some(kept) => map.serialize_entry("id", kept)?,
            None => map.serialize_entry("id", id)?,
        }
        map.serialize_entry("source", metadata.source.as_deref().unwrap_or(SOURCE))?;
        map.serialize_entry("type", event_type.as_str())?;
        map.serialize_entry("subject", stream.as_str())?;
        map.serialize_entry("time", time)?;
        map.serialize_entry("datacontenttype", extra(KEPT_CONTENT_TYPE).unwrap_or(data.content_type()))?;
        if *schema_version != 1 {
            map.serialize_entry("schemaversion", schema_version)?;
        }
        let known = [
            ("correlationid", &metadata.correlation_id),
            ("causationid", &metadata.causation_id),
            ("tenant", &metadata.tenant),
            ("actor", &metadata.actor),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                map.serialize_entry(name, value.as_ref())?;
            }
        }
        if let Some(trace) = &metadata.trace {
            map.serialize_entry("traceparent", &trace.traceparent())?;
            if let Some(state) = &trace.state {
                map.serialize_entry("tracestate", state.as_ref())?;
            }
        }
        for (name, value) in metadata.extra.iter().flat_map(|extra| extra.iter()) {
            if name != KEPT_ID && name != KEPT_CONTENT_TYPE {
                map.serialize_entry(name, value)?;
            }
        }
        if self.form == Form::Listing {
            map.serialize_entry("position", position)?;
            map.serialize_entry("streamversion", version)?;
        }
        write_data::<S>(data, &mut map)?;
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
