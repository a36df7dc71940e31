//! The values of attributes in HTTP headers (CloudEvents HTTP binding, section 3.1.3.2).

use std::{borrow::Cow, fmt::Write as _};

use super::Invalid;
use crate::percent;

/// What the headers of attributes begin with.
pub const PREFIX: &str = "ce-";

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
    use super::*;

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
