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

/// Reads a message. `headers` may have others among them; names are read without regard to case. What the headers of
/// attributes begin with is one of `prefixes`.
pub(crate) fn read<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    prefixes: &[&str],
    body: &'a Bytes,
    absent: &Absent<'_>,
) -> Result<Message, Invalid> {
    let (mut content_type, mut attributes) = (None, Vec::new());
    for (header, value) in headers {
        if header.eq_ignore_ascii_case(CONTENT_TYPE) {
            content_type = Some(text(CONTENT_TYPE, value)?);
        } else if let Some(name) = prefixes.iter().find_map(|prefix| attribute(header, prefix)) {
            let value = text(&name, value)?;
            attributes.push((name, Cow::Borrowed(value)));
        }
    }
    bound::read(content_type, attributes, body, absent)
}

/// The name of the attribute that a header carries.
fn attribute<'a>(header: &'a str, prefix: &str) -> Option<Cow<'a, str>> {
    let (start, name) = header.split_at_checked(prefix.len())?;
    let upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = || if upper { name.to_ascii_lowercase().into() } else { name.into() };
    start.eq_ignore_ascii_case(prefix).then(lower)
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
