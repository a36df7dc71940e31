//! An event bound to a message of a protocol: attributes as headers and data as the body, or all of it in the body.
//!
//! | | binary | structured |
//! |---|---|---|
//! | Kafka | headers `ce_…` and `content-type`, value | header `content-type`, value |
//! | RabbitMQ | headers `cloudEvents_…`, property `content_type`, body | property `content_type`, body |
//! | Redis | fields `ce_…` and `content-type`, field `data` | fields `content-type` and `data` |
//! | HTTP | headers `ce-…` percent-encoded and `content-type`, body | header `content-type`, body |
//!
//! The content type tells the forms apart when a message is read, so a topic may hold both. An event that one form cannot
//! carry is written in the other: bytes said to be JSON have no binary form, and text that is no JSON has no structured one.

use std::borrow::Cow;

use bytes::Bytes;
use lantern_core::{Message, Payload, bus::Form};
use serde::de::IgnoredAny;

use super::{Absent, CloudEvent, Invalid, draft::Draft, is_json, read::drafted, value::Value, write::Attribute};

/// The content type of one event as JSON.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// The content type of an array of events as JSON.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// What every content type of a structured message begins with.
const ENVELOPE: &str = "application/cloudevents";

/// What a message has beside its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound<'a> {
    /// The content type of the body.
    pub content_type: &'a str,
    /// The body.
    pub body: Bytes,
}

/// Writes an event. `attribute` is told each attribute that is to become a header, by its name without any prefix.
pub fn write<'a>(event: CloudEvent<'a>, form: Form, mut attribute: impl FnMut(&str, &str)) -> Bound<'a> {
    let has_binary_form = match event.data() {
        Payload::Json(_) => true,
        Payload::Bytes { content_type, .. } => !is_json(content_type),
    };
    if form == Form::Structured || !has_binary_form {
        // The only thing that serde refuses is text that is no JSON.
        if let Ok(body) = serde_json::to_vec(&event) {
            return Bound { content_type: STRUCTURED, body: body.into() };
        }
    }
    let written = event.attributes(|name, value| {
        match value {
            _ if name == "datacontenttype" => {}
            Attribute::Text(text) => attribute(name, text),
            Attribute::Number(number) => attribute(name, &number.to_string()),
        }
        Ok::<_, std::convert::Infallible>(())
    });
    let Ok(()) = written;
    let body = match event.data() {
        Payload::Json(text) => Bytes::copy_from_slice(text.as_bytes()),
        Payload::Bytes { data, .. } => data.clone(),
    };
    Bound { content_type: event.content_type(), body }
}

/// Reads an event. `attributes` are the headers with the prefix of the binding, by their names without it.
///
/// A trace context that cannot be read is left out: nobody can be told, and the event is worth more.
///
/// # Errors
///
/// The attribute that is wrong, and what is wrong with it.
pub fn read<'a>(
    content_type: Option<&'a str>,
    attributes: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    body: &'a Bytes,
    absent: &Absent<'_>,
) -> Result<Message, Invalid> {
    let mut attributes = attributes.into_iter().peekable();
    let (mut draft, data) = if is_envelope(content_type) {
        let content_type = content_type.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case(STRUCTURED) {
            return Err(Invalid::whole(format_args!(
                "is of the content type `{content_type}`: only `{STRUCTURED}` is read"
            )));
        }
        drafted(utf8(body)?)?
    } else if attributes.peek().is_none() {
        // Some makers leave the content type of the envelope out, or write that of the data in its place.
        unmarked(body)?
    } else {
        binary(content_type, attributes, body)?
    };
    draft.forgive_trace();
    let (stream, event) = draft.finish(data, absent)?;
    Ok(Message { stream, event })
}

/// Whether a body of this content type holds attributes and data.
pub(super) fn is_envelope(content_type: Option<&str>) -> bool {
    content_type.and_then(|it| it.get(..ENVELOPE.len())).is_some_and(|it| it.eq_ignore_ascii_case(ENVELOPE))
}

/// The attributes and the data of an event in its binary form.
pub(super) fn binary<'a>(
    content_type: Option<&'a str>,
    attributes: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    body: &Bytes,
) -> Result<(Draft<'a>, Payload), Invalid> {
    let mut draft = Draft::default();
    if let Some(content_type) = content_type {
        draft.set("datacontenttype".into(), Value::Text(content_type.into()))?;
    }
    for (name, value) in attributes {
        draft.set(name, Value::Text(value))?;
    }
    let data = payload(&mut draft, body)?;
    Ok((draft, data))
}

/// The event in a body that nothing says to hold one.
fn unmarked(body: &Bytes) -> Result<(Draft<'_>, Payload), Invalid> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        specversion: Option<IgnoredAny>,
    }

    let marked = serde_json::from_slice::<Envelope>(body).is_ok_and(|envelope| envelope.specversion.is_some());
    if !marked {
        let reason = "is no CloudEvent: it has neither headers with attributes nor the content type of the JSON form";
        return Err(Invalid::whole(reason));
    }
    drafted(utf8(body)?)
}

fn payload(draft: &mut Draft<'_>, body: &Bytes) -> Result<Payload, Invalid> {
    let content_type = draft.content_type.take();
    match content_type {
        Some(content_type) if !is_json(&content_type) => {
            Ok(Payload::Bytes { content_type: content_type.into(), data: body.clone() })
        }
        // The specification leaves open what a body without a content type is.
        None if !body.is_empty() && !holds_json(body) => {
            Ok(Payload::Bytes { content_type: "application/octet-stream".into(), data: body.clone() })
        }
        content_type => {
            draft.keep_content_type(content_type);
            if body.is_empty() {
                return Ok(Payload::Json("null".into()));
            }
            let checked = serde_json::from_slice::<IgnoredAny>(body);
            checked.map_err(|error| Invalid::field("data", format_args!("is no JSON: {error}")))?;
            Ok(Payload::Json(utf8(body)?.into()))
        }
    }
}

fn holds_json(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn utf8(body: &[u8]) -> Result<&str, Invalid> {
    std::str::from_utf8(body)
        .map_err(|error| Invalid::whole(format_args!("is no UTF-8 from byte {}", error.valid_up_to())))
}
