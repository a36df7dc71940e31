//! CloudEvents JSON read into an event and its stream.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lantern_core::{EventId, EventType, Metadata, NewEvent, Payload, StreamName, Timestamp, TraceContext};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Invalid, KEPT_CONTENT_TYPE, KEPT_ID, SOURCE, compact::one_line, is_json};

/// The namespace of ids made from a source and a text that is no UUID.
const IDS: Uuid = Uuid::from_u128(0x6c61_6e74_6572_5e0e_9d4b_8d1c_0f3a_71c5);

/// What stands in for what an event leaves out.
#[derive(Debug, Clone, Copy)]
pub struct Absent<'a> {
    /// The stream of an event without `subject`. An event with another one is refused.
    pub stream: Option<&'a StreamName>,
    /// The time of an event without `time`.
    pub time: Timestamp,
    /// Makes the id of an event without `id`; where there is none, such an event is refused.
    pub id: Option<fn() -> EventId>,
}

/// Reads one event.
pub fn read(text: &str, absent: &Absent<'_>) -> Result<(StreamName, NewEvent), Invalid> {
    let attributes: Attributes<'_> = serde_json::from_str(text).map_err(|error| Invalid::json(&error))?;
    let mut draft = Draft::default();
    for (name, value) in attributes.0 {
        draft.set(name, value)?;
    }
    draft.finish(absent)
}

/// The members of a JSON object, in their order, their values unread.
struct Attributes<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Attributes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Attributes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(12);
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Attributes(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// An event while its attributes are read.
#[derive(Default)]
struct Draft<'a> {
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    data: Option<&'a RawValue>,
    base64: Option<Cow<'a, str>>,
    schema_version: Option<u32>,
    traceparent: Option<Cow<'a, str>>,
    tracestate: Option<Cow<'a, str>>,
    correlation_id: Option<Cow<'a, str>>,
    causation_id: Option<Cow<'a, str>>,
    tenant: Option<Cow<'a, str>>,
    actor: Option<Cow<'a, str>>,
    extra: BTreeMap<String, String>,
}

impl<'a> Draft<'a> {
    fn set(&mut self, name: Cow<'a, str>, value: &'a RawValue) -> Result<(), Invalid> {
        if value.get() == "null" {
            // The specification says that a null attribute is an absent one.
            return Ok(());
        }
        match name.as_ref() {
            "id" => once(&mut self.id, "id", text("id", value)?),
            "source" => once(&mut self.source, "source", text("source", value)?),
            "type" => once(&mut self.event_type, "type", text("type", value)?),
            "subject" => once(&mut self.subject, "subject", text("subject", value)?),
            "time" => once(&mut self.time, "time", text("time", value)?),
            "datacontenttype" => once(&mut self.content_type, "datacontenttype", text("datacontenttype", value)?),
            "data" => once(&mut self.data, "data", value),
            "data_base64" => once(&mut self.base64, "data_base64", text("data_base64", value)?),
            "schemaversion" => once(&mut self.schema_version, "schemaversion", schema_version(value)?),
            "traceparent" => once(&mut self.traceparent, "traceparent", text("traceparent", value)?),
            "tracestate" => once(&mut self.tracestate, "tracestate", text("tracestate", value)?),
            "correlationid" => once(&mut self.correlation_id, "correlationid", text("correlationid", value)?),
            "causationid" => once(&mut self.causation_id, "causationid", text("causationid", value)?),
            "tenant" => once(&mut self.tenant, "tenant", text("tenant", value)?),
            "actor" => once(&mut self.actor, "actor", text("actor", value)?),
            "specversion" => spec_version(value),
            "position" | "streamversion" => Ok(()),
            _ => self.extend(name.into_owned(), value),
        }
    }

    fn extend(&mut self, name: String, value: &RawValue) -> Result<(), Invalid> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(Invalid::field(name, "is no attribute name: it has lower-case letters and digits only"));
        }
        let value = extension(&name, value)?;
        match self.extra.insert(name.clone(), value) {
            None => Ok(()),
            Some(_) => Err(twice(name)),
        }
    }

    fn finish(mut self, absent: &Absent<'_>) -> Result<(StreamName, NewEvent), Invalid> {
        let event_type = self.event_type.take().ok_or_else(|| Invalid::field("type", "is missing"))?;
        let event_type = EventType::new(event_type).map_err(|error| Invalid::field("type", wrong(error)))?;
        let stream = self.stream(absent)?;
        let id = self.id(absent)?;
        let time = match &self.time {
            Some(time) => time.parse().map_err(|error| Invalid::field("time", wrong(error)))?,
            None => absent.time,
        };
        let data = self.payload()?;
        let metadata = Metadata {
            trace: self.trace()?,
            source: self.source.filter(|source| source != SOURCE).map(Arc::from),
            correlation_id: self.correlation_id.map(Arc::from),
            causation_id: self.causation_id.map(Arc::from),
            tenant: self.tenant.map(Arc::from),
            actor: self.actor.map(Arc::from),
            extra: (!self.extra.is_empty()).then(|| Arc::new(self.extra)),
        };
        let schema_version = self.schema_version.unwrap_or(1);
        Ok((stream, NewEvent { id, event_type, schema_version, time, data, metadata }))
    }

    fn stream(&self, absent: &Absent<'_>) -> Result<StreamName, Invalid> {
        match (&self.subject, absent.stream) {
            (Some(subject), Some(stream)) if subject != stream.as_str() => Err(Invalid::field(
                "subject",
                format_args!("is `{subject}`, but the stream is `{stream}`: leave it out"),
            )),
            (_, Some(stream)) => Ok(stream.clone()),
            (Some(subject), None) => {
                StreamName::new(subject.as_ref()).map_err(|error| Invalid::field("subject", wrong(error)))
            }
            (None, None) => {
                Err(Invalid::field("subject", "is missing: it names the stream, `category-id`, for example `Order-42`"))
            }
        }
    }

    fn id(&mut self, absent: &Absent<'_>) -> Result<EventId, Invalid> {
        if self.source.as_deref() == Some("") {
            return Err(Invalid::field("source", "is empty: leave it out or say where the event comes from"));
        }
        let Some(text) = self.id.take() else {
            let missing = || Invalid::field("id", "is missing: without it, the event would be added anew each time");
            return absent.id.map(|make| make()).ok_or_else(missing);
        };
        if text.is_empty() {
            return Err(Invalid::field("id", "is empty"));
        }
        let source = self.source.as_deref().unwrap_or(SOURCE);
        let id = Uuid::try_parse(&text).unwrap_or_else(|_| derived_id(source, &text));
        if id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) != text.as_ref() {
            self.extra.insert(KEPT_ID.into(), text.into_owned());
        }
        Ok(id)
    }

    fn payload(&mut self) -> Result<Payload, Invalid> {
        let content_type = self.content_type.take();
        if let Some(base64) = &self.base64 {
            if self.data.is_some() {
                return Err(Invalid::field("data_base64", "stands beside `data`: give one of them"));
            }
            let data = STANDARD.decode(base64.as_ref());
            let data = data.map_err(|error| Invalid::field("data_base64", format_args!("is no base64: {error}")))?;
            let content_type = content_type.as_deref().unwrap_or("application/octet-stream").into();
            return Ok(Payload::Bytes { content_type, data: data.into() });
        }
        match (self.data, content_type) {
            (Some(data), Some(content_type)) if data.get().starts_with('"') && !is_json(&content_type) => {
                let data = text("data", data)?.into_owned().into_bytes().into();
                Ok(Payload::Bytes { content_type: content_type.into(), data })
            }
            (None, Some(content_type)) if !is_json(&content_type) => {
                Ok(Payload::Bytes { content_type: content_type.into(), data: bytes::Bytes::new() })
            }
            (data, content_type) => {
                if let Some(content_type) = content_type.filter(|content_type| content_type != "application/json") {
                    self.extra.insert(KEPT_CONTENT_TYPE.into(), content_type.into_owned());
                }
                Ok(Payload::Json(one_line(data.map_or("null", RawValue::get)).into()))
            }
        }
    }

    fn trace(&self) -> Result<Option<TraceContext>, Invalid> {
        // A tracestate means nothing without its traceparent.
        let Some(traceparent) = &self.traceparent else { return Ok(None) };
        let trace = TraceContext::parse(traceparent, self.tracestate.as_deref());
        trace.map(Some).map_err(|error| Invalid::field("traceparent", wrong(error)))
    }
}

/// The id made of a source and a text that is no UUID.
fn derived_id(source: &str, id: &str) -> EventId {
    Uuid::new_v5(&IDS, [source.as_bytes(), &[0], id.as_bytes()].concat().as_slice())
}

fn once<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), Invalid> {
    if slot.is_some() {
        return Err(twice(name));
    }
    *slot = Some(value);
    Ok(())
}

fn twice(name: impl Into<Cow<'static, str>>) -> Invalid {
    Invalid::field(name, "is there twice")
}

fn wrong(error: impl fmt::Display) -> String {
    format!("is wrong: {error}")
}

/// A text; borrowed where it has no escapes.
fn text<'a>(name: &'static str, value: &'a RawValue) -> Result<Cow<'a, str>, Invalid> {
    let json = value.get();
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => {
            let owned = serde_json::from_str(json).map(Cow::Owned);
            owned.map_err(|error| Invalid::field(name, format_args!("is no text: {error}")))
        }
        None => Err(Invalid::field(name, format_args!("must be a text, not {}", kind(json)))),
    }
}

fn schema_version(value: &RawValue) -> Result<u32, Invalid> {
    let number = value.get().parse().ok().filter(|number| *number >= 1);
    number.ok_or_else(|| Invalid::field("schemaversion", "must be a whole number from 1"))
}

fn spec_version(value: &RawValue) -> Result<(), Invalid> {
    if value.get() == r#""1.0""# {
        return Ok(());
    }
    Err(Invalid::field("specversion", format_args!("is {}: only \"1.0\" is known", value.get())))
}

fn extension(name: &str, value: &RawValue) -> Result<String, Invalid> {
    let json = value.get();
    let known = |reason: fmt::Arguments<'_>| Invalid::field(name.to_owned(), reason);
    if json.starts_with('"') {
        return serde_json::from_str(json).map_err(|error| known(format_args!("is no text: {error}")));
    }
    if matches!(json, "true" | "false") || json.parse::<i64>().is_ok() {
        return Ok(json.into());
    }
    Err(known(format_args!("must be a text, a whole number, true or false, not {}", kind(json))))
}

/// What a JSON value is, in words.
fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        _ => "a number",
    }
}
