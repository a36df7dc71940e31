//! CloudEvents JSON read into an event and its stream.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use lantern_core::{NewEvent, Payload, StreamName};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Absent, Invalid,
    compact::one_line,
    draft::{Draft, once},
    is_json,
    value::Value,
};

/// Reads one event.
///
/// # Errors
///
/// The attribute that is wrong, and what is wrong with it.
pub fn read(text: &str, absent: &Absent<'_>) -> Result<(StreamName, NewEvent), Invalid> {
    let (draft, data) = drafted(text)?;
    draft.finish(data, absent)
}

/// The attributes and the data of one event.
pub(super) fn drafted(text: &str) -> Result<(Draft<'_>, Payload), Invalid> {
    let attributes: Attributes<'_> = serde_json::from_str(text).map_err(|error| Invalid::json(&error))?;
    let (mut draft, mut data, mut base64) = (Draft::default(), None, None);
    for (name, value) in attributes.0 {
        match name.as_ref() {
            // The specification says that a null attribute is an absent one.
            _ if value.get() == "null" => {}
            "data" => once(&mut data, "data", value)?,
            "data_base64" => once(&mut base64, "data_base64", Value::Json(value).text("data_base64")?)?,
            _ => draft.set(name, Value::Json(value))?,
        }
    }
    let data = payload(&mut draft, data, base64.as_deref())?;
    Ok((draft, data))
}

fn payload(draft: &mut Draft<'_>, data: Option<&RawValue>, base64: Option<&str>) -> Result<Payload, Invalid> {
    let content_type = draft.content_type.take();
    if let Some(base64) = base64 {
        if data.is_some() {
            return Err(Invalid::field("data_base64", "stands beside `data`: give one of them"));
        }
        let data = STANDARD.decode(base64);
        let data = data.map_err(|error| Invalid::field("data_base64", format_args!("is no base64: {error}")))?;
        let content_type = content_type.as_deref().unwrap_or("application/octet-stream").into();
        return Ok(Payload::Bytes { content_type, data: data.into() });
    }
    match (data, content_type) {
        (Some(data), Some(content_type)) if data.get().starts_with('"') && !is_json(&content_type) => {
            let data = Value::Json(data).text("data")?.into_owned().into_bytes().into();
            Ok(Payload::Bytes { content_type: content_type.into(), data })
        }
        (None, Some(content_type)) if !is_json(&content_type) => {
            Ok(Payload::Bytes { content_type: content_type.into(), data: Bytes::new() })
        }
        (data, content_type) => {
            draft.keep_content_type(content_type);
            Ok(Payload::Json(one_line(data.map_or("null", RawValue::get)).into()))
        }
    }
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
