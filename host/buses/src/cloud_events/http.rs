//! An event as an HTTP message in binary mode (CloudEvents HTTP binding, section 3.1): attributes are headers, their
//! values percent-encoded, and the body is the data.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;
use lantern_core::{NewEvent, StreamName, bus::Form};

use super::{Absent, CloudEvent, Invalid, bound};
use crate::percent;

/// What the headers of attributes begin with.
const PREFIX: &str = "ce-";

/// The header of the content type of the data.
const CONTENT_TYPE: &str = "content-type";

/// Whether the headers of a message, with names in lower case, say that it is in binary mode. A message in structured mode
/// may repeat attributes in its headers, for those who hand it on.
pub fn is_binary<'a>(content_type: Option<&str>, mut names: impl Iterator<Item = &'a str>) -> bool {
    !bound::is_envelope(content_type) && names.any(|name| name.starts_with(PREFIX))
}

/// Reads an event in binary mode. `headers` may have others among them; their names are in lower case.
///
/// # Errors
///
/// The attribute that is wrong, and what is wrong with it; [`header`] is where it stands.
pub fn read<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    body: &Bytes,
    absent: &Absent<'_>,
) -> Result<(StreamName, NewEvent), Invalid> {
    let (mut content_type, mut attributes) = (None, Vec::new());
    for (name, value) in headers {
        let attribute = name.strip_prefix(PREFIX);
        if attribute.is_none() && name != CONTENT_TYPE {
            continue;
        }
        let name = attribute.unwrap_or("datacontenttype");
        let value = std::str::from_utf8(value).map_err(|_| Invalid::field(name.to_owned(), "is no UTF-8"))?;
        match attribute {
            None => content_type = Some(value),
            Some("datacontenttype") => {
                let reason = "says what the data is: leave `ce-datacontenttype` out";
                return Err(Invalid::field("datacontenttype", reason));
            }
            Some(name) => attributes.push((Cow::Borrowed(name), decode(name, value)?)),
        }
    }
    let (draft, data) = bound::binary(content_type, attributes.into_iter(), body)?;
    draft.finish(data, absent)
}

/// Writes an event in binary mode, or in structured mode where it has no binary form. `set` is told each header beside
/// the content type.
pub fn write<'a>(event: CloudEvent<'a>, mut set: impl FnMut(String, &str)) -> bound::Bound<'a> {
    bound::write(event, Form::Binary, |name, value| set(format!("{PREFIX}{name}"), &encode(value)))
}

/// The header that carries an attribute; `None` for the data, which is the body.
#[must_use]
pub fn header(attribute: &str) -> Option<String> {
    match attribute {
        "data" => None,
        "datacontenttype" => Some(CONTENT_TYPE.into()),
        name => Some(format!("{PREFIX}{name}")),
    }
}

/// A value as a header has it: what is no visible ASCII, and `"` and `%`, is percent-encoded.
#[must_use]
pub fn encode(value: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'%';
    if value.bytes().all(plain) {
        return Cow::Borrowed(value);
    }
    let mut encoded = String::with_capacity(value.len() + 16);
    for byte in value.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    Cow::Owned(encoded)
}

/// A value from a header.
///
/// # Errors
///
/// The bytes are no UTF-8.
pub fn decode<'a>(name: &str, value: &'a str) -> Result<Cow<'a, str>, Invalid> {
    let wrong = || Invalid::field(name.to_owned(), "is no UTF-8 when its percent-encoding is undone");
    match unquoted(value.trim()) {
        Cow::Borrowed(value) => percent::decode(value).ok_or_else(wrong),
        Cow::Owned(value) => percent::decode(&value).map(|text| Cow::Owned(text.into_owned())).ok_or_else(wrong),
    }
}

/// The content of a quoted text; anything else as it is.
fn unquoted(value: &str) -> Cow<'_, str> {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        None => Cow::Borrowed(value),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(inner) => {
            let (mut text, mut escaped) = (String::with_capacity(inner.len()), false);
            for c in inner.chars() {
                escaped = c == '\\' && !escaped;
                if !escaped {
                    text.push(c);
                }
            }
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use lantern_core::Timestamp;

    use super::*;

    const ABSENT: Absent<'static> = Absent { stream: None, category: None, time: Timestamp(7), id: None };

    const NEEDED: [(&str, &str); 5] =
        [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-type", "T"), ("ce-subject", "A-1"), ("host", "here")];

    fn read_with(headers: &[(&'static str, &str)], body: &'static [u8]) -> Result<(StreamName, NewEvent), Invalid> {
        let headers = NEEDED.iter().chain(headers).map(|(name, value)| (*name, value.as_bytes()));
        read(headers, &Bytes::from_static(body), &ABSENT)
    }

    #[track_caller]
    fn refused(headers: &[(&'static str, &str)], body: &'static [u8], at: Option<&str>, reason: &str) {
        let invalid = read_with(headers, body).unwrap_err();
        assert_eq!(invalid.field.as_deref().and_then(header).as_deref(), at, "{invalid}");
        assert!(invalid.reason.contains(reason), "{invalid}");
    }

    #[test]
    fn the_content_type_and_the_headers_tell_the_modes_apart() {
        let names = || ["content-type", "ce-id"].into_iter();
        assert!(is_binary(None, names()) && is_binary(Some("application/json"), names()));
        assert!(!is_binary(Some("Application/CloudEvents+JSON; charset=utf-8"), names()));
        assert!(!is_binary(Some("application/cloudevents-batch+json"), names()));
        assert!(!is_binary(Some("application/json"), ["content-type", "traceparent"].into_iter()));
    }

    #[test]
    fn values_are_decoded_and_other_headers_passed_over() {
        let (stream, event) =
            read_with(&[("ce-actor", "Ada%20%e2%82%ac"), ("content-type", "text/plain")], b"x").unwrap();
        assert_eq!((stream.as_str(), event.metadata.actor.as_deref()), ("A-1", Some("Ada \u{20ac}")));
        assert_eq!((event.data.content_type(), event.data.as_bytes()), ("text/plain", &b"x"[..]));
        assert_eq!(event.metadata.extra.unwrap().keys().collect::<Vec<_>>(), [crate::cloud_events::KEPT_ID]);
    }

    #[test]
    fn refusals_lead_to_the_header() {
        refused(&[("ce-type", "T")], b"", Some("ce-type"), "twice");
        refused(&[("ce-time", "yesterday")], b"", Some("ce-time"), "RFC 3339");
        refused(&[("ce-actor", "%ff")], b"", Some("ce-actor"), "no UTF-8");
        refused(&[("ce-my_own", "1")], b"", Some("ce-my_own"), "no attribute name");
        refused(&[("ce-traceparent", "00-1-2-3")], b"", Some("ce-traceparent"), "no traceparent");
        refused(&[("ce-datacontenttype", "text/plain")], b"", Some("content-type"), "leave `ce-datacontenttype` out");
        refused(&[("content-type", "application/json")], b"{", None, "is no JSON");
    }

    #[test]
    fn values_are_encoded_as_the_specification_shows() {
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encode(r#"100% "sure""#), "100%25%20%22sure%22");
        assert!(matches!(encode("2011-10-01T00:38:44Z"), Cow::Borrowed(_)));
    }

    #[test]
    fn values_are_decoded_once() {
        let decoded = |value| decode("name", value).unwrap().into_owned();
        assert_eq!(decoded("Euro%20%e2%82%ac"), "Euro €");
        assert_eq!(decoded("%2525"), "%25");
        assert_eq!(decoded("50%"), "50%");
        assert_eq!(decoded("%zz%4"), "%zz%4");
        assert_eq!(decoded(r#""a \"b\" \\c""#), r#"a "b" \c"#);
        assert!(decode("name", "%ff").is_err());
    }
}
