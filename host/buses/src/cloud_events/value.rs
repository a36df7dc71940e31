//! The value of an attribute, from JSON or from a header.

use std::{borrow::Cow, fmt};

use serde_json::value::RawValue;

use super::Invalid;

/// The value of an attribute.
#[derive(Clone)]
pub(super) enum Value<'a> {
    /// A member of a JSON object.
    Json(&'a RawValue),
    /// A header: always a text.
    Text(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// The value of an attribute that is a text; borrowed where it has no escapes.
    pub(super) fn text(self, name: &'static str) -> Result<Cow<'a, str>, Invalid> {
        let json = match self {
            Self::Text(text) => return Ok(text),
            Self::Json(value) => value.get(),
        };
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

    /// The value of `schemaversion`.
    pub(super) fn schema_version(&self) -> Result<u32, Invalid> {
        let number = self.raw().parse().ok().filter(|number| *number >= 1);
        number.ok_or_else(|| Invalid::field("schemaversion", "must be a whole number from 1"))
    }

    /// Checks the value of `specversion`.
    pub(super) fn spec_version(&self) -> Result<(), Invalid> {
        if self.raw().trim_matches('"') == "1.0" {
            return Ok(());
        }
        Err(Invalid::field("specversion", format_args!("is {}: only \"1.0\" is known", self.raw())))
    }

    /// The value of an extension.
    pub(super) fn extension(&self, name: &str) -> Result<String, Invalid> {
        let json = match self {
            Self::Text(text) => return Ok(text.as_ref().to_owned()),
            Self::Json(value) => value.get(),
        };
        let known = |reason: fmt::Arguments<'_>| Invalid::field(name.to_owned(), reason);
        if json.starts_with('"') {
            return serde_json::from_str(json).map_err(|error| known(format_args!("is no text: {error}")));
        }
        if matches!(json, "true" | "false") || json.parse::<i64>().is_ok() {
            return Ok(json.into());
        }
        Err(known(format_args!("must be a text, a whole number, true or false, not {}", kind(json))))
    }

    fn raw(&self) -> &str {
        match self {
            Self::Json(value) => value.get(),
            Self::Text(text) => text,
        }
    }
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
