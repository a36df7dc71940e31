//! An event while its attributes are read, whatever they are written in.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use lantern_core::{EventId, EventType, Metadata, NewEvent, Payload, StreamName, Timestamp, TraceContext};
use uuid::Uuid;

use super::{Invalid, KEPT_CONTENT_TYPE, KEPT_ID, SOURCE, value::Value};

/// The namespace of ids made from a source and a text that is no UUID.
const IDS: Uuid = Uuid::from_u128(0x6c61_6e74_6572_5e0e_9d4b_8d1c_0f3a_71c5);

/// What stands in for what an event leaves out.
#[derive(Debug, Clone, Copy)]
pub struct Absent<'a> {
    /// The stream of an event without `subject`. An event with another one is refused.
    pub stream: Option<&'a StreamName>,
    /// The category of an event whose `subject` is no stream name: its stream is `category-subject`, and without a subject
    /// `category-id`. Where there is none, such an event is refused.
    pub category: Option<&'a str>,
    /// The time of an event without `time`.
    pub time: Timestamp,
    /// Makes the id of an event without `id`; where there is none, such an event is refused.
    pub id: Option<fn() -> EventId>,
}

/// An event while its attributes are read.
#[derive(Default)]
pub(super) struct Draft<'a> {
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    /// `datacontenttype`; taken out when the data is read.
    pub(super) content_type: Option<Cow<'a, str>>,
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
    /// Takes one attribute.
    pub(super) fn set(&mut self, name: Cow<'a, str>, value: Value<'a>) -> Result<(), Invalid> {
        match name.as_ref() {
            "id" => once(&mut self.id, "id", value.text("id")?),
            "source" => once(&mut self.source, "source", value.text("source")?),
            "type" => once(&mut self.event_type, "type", value.text("type")?),
            "subject" => once(&mut self.subject, "subject", value.text("subject")?),
            "time" => once(&mut self.time, "time", value.text("time")?),
            "datacontenttype" => once(&mut self.content_type, "datacontenttype", value.text("datacontenttype")?),
            "schemaversion" => once(&mut self.schema_version, "schemaversion", value.schema_version()?),
            "traceparent" => once(&mut self.traceparent, "traceparent", value.text("traceparent")?),
            "tracestate" => once(&mut self.tracestate, "tracestate", value.text("tracestate")?),
            "correlationid" => once(&mut self.correlation_id, "correlationid", value.text("correlationid")?),
            "causationid" => once(&mut self.causation_id, "causationid", value.text("causationid")?),
            "tenant" => once(&mut self.tenant, "tenant", value.text("tenant")?),
            "actor" => once(&mut self.actor, "actor", value.text("actor")?),
            "specversion" => value.spec_version(),
            "position" | "streamversion" => Ok(()),
            _ => self.extend(name.into_owned(), &value),
        }
    }

    fn extend(&mut self, name: String, value: &Value<'_>) -> Result<(), Invalid> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(Invalid::field(name, "is no attribute name: it has lower-case letters and digits only"));
        }
        let value = value.extension(&name)?;
        match self.extra.insert(name.clone(), value) {
            None => Ok(()),
            Some(_) => Err(twice(name)),
        }
    }

    /// Keeps the content type of JSON data where it is not plainly `application/json`.
    pub(super) fn keep_content_type(&mut self, content_type: Option<Cow<'_, str>>) {
        if let Some(content_type) = content_type.filter(|content_type| content_type != "application/json") {
            self.extra.insert(KEPT_CONTENT_TYPE.into(), content_type.into_owned());
        }
    }

    /// Leaves out a trace context that cannot be read: where nobody can be told, it is no reason to refuse an event.
    pub(super) fn forgive_trace(&mut self) {
        if self.trace().is_err() {
            self.traceparent = None;
        }
    }

    /// The event, with its data.
    pub(super) fn finish(mut self, data: Payload, absent: &Absent<'_>) -> Result<(StreamName, NewEvent), Invalid> {
        let event_type = self.event_type.take().ok_or_else(|| Invalid::field("type", "is missing"))?;
        let event_type = EventType::new(event_type).map_err(|error| Invalid::field("type", wrong(error)))?;
        let stream = self.stream(absent)?;
        let id = self.id(absent)?;
        let time = match &self.time {
            Some(time) => time.parse().map_err(|error| Invalid::field("time", wrong(error)))?,
            None => absent.time,
        };
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
        let subject = self.subject.as_deref().filter(|subject| !subject.is_empty());
        match (subject, absent.stream) {
            (Some(subject), Some(stream)) if subject != stream.as_str() => Err(Invalid::field(
                "subject",
                format_args!("is `{subject}`, but the stream is `{stream}`: leave it out"),
            )),
            (_, Some(stream)) => Ok(stream.clone()),
            (Some(subject), None) => match (StreamName::new(subject), absent.category) {
                (Ok(stream), _) => Ok(stream),
                (Err(error), None) => Err(Invalid::field("subject", wrong(error))),
                (Err(_), Some(category)) => placed(category, subject),
            },
            (None, None) => match (absent.category, self.id.as_deref()) {
                (Some(category), Some(id)) => placed(category, id),
                _ => Err(Invalid::field(
                    "subject",
                    "is missing: it names the stream, `category-id`, for example `Order-42`",
                )),
            },
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

    fn trace(&self) -> Result<Option<TraceContext>, Invalid> {
        // A tracestate means nothing without its traceparent.
        let Some(traceparent) = &self.traceparent else { return Ok(None) };
        let trace = TraceContext::parse(traceparent, self.tracestate.as_deref());
        trace.map(Some).map_err(|error| Invalid::field("traceparent", wrong(error)))
    }
}

/// The stream of this category that a text names.
fn placed(category: &str, text: &str) -> Result<StreamName, Invalid> {
    StreamName::new(format!("{category}-{text}")).map_err(|error| Invalid::field("subject", wrong(error)))
}

/// The id made of a source and a text that is no UUID.
fn derived_id(source: &str, id: &str) -> EventId {
    Uuid::new_v5(&IDS, [source.as_bytes(), &[0], id.as_bytes()].concat().as_slice())
}

/// Fills a slot that is to be filled once.
pub(super) fn once<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), Invalid> {
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
