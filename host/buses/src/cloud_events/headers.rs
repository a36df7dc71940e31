//! Events as headers and a body: the Kafka binding, which Redis and the bus in memory keep to as well.
//!
//! Attributes are headers `ce_…`, the content type is the header `content-type`, values are UTF-8.

use std::borrow::Cow;

use bytes::Bytes;
use lantern_core::{Message, bus::Undecodable};

use super::{Absent, Invalid, bound};

/// What the headers of attributes begin with.
pub(crate) const PREFIX: &str = "ce_";

/// The header of the content type.
pub(crate) const CONTENT_TYPE: &str = "content-type";

/// Reads a message. `headers` may have others among them; names are read without regard to case.
pub(crate) fn read<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    body: &'a Bytes,
    absent: &Absent<'_>,
) -> Result<Message, Invalid> {
    let (mut content_type, mut attributes) = (None, Vec::new());
    for (name, value) in headers {
        if name.eq_ignore_ascii_case(CONTENT_TYPE) {
            content_type = Some(text(CONTENT_TYPE, value)?);
        } else if let Some(name) = attribute(name) {
            let value = text(&name, value)?;
            attributes.push((name, Cow::Borrowed(value)));
        }
    }
    bound::read(content_type, attributes, body, absent)
}

/// The name of the attribute that a header carries.
fn attribute(header: &str) -> Option<Cow<'_, str>> {
    let (prefix, name) = header.split_at_checked(PREFIX.len())?;
    let lower =
        || if name.bytes().any(|b| b.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() };
    prefix.eq_ignore_ascii_case(PREFIX).then(lower)
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, Invalid> {
    std::str::from_utf8(value).map_err(|_| Invalid::field(name.to_owned(), "is no UTF-8"))
}

/// A message that is no event, as it came.
pub(crate) fn undecodable<'a>(
    invalid: &Invalid,
    key: Option<Bytes>,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    body: Bytes,
) -> Undecodable {
    let headers = headers.map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value))).collect();
    Undecodable { reason: invalid.of_message(), key, headers, body }
}
