//! JSON text on one line.

use std::borrow::Cow;

/// The text without line breaks. Numbers, texts and the order of members stay as they are; only a text that has line
/// breaks is changed, by leaving out the blanks between its parts.
pub(super) fn one_line(json: &str) -> Cow<'_, str> {
    // A JSON text cannot have a raw line break inside a string, so one found stands between parts.
    if !json.bytes().any(|b| b == b'\n' || b == b'\r') {
        return Cow::Borrowed(json);
    }
    let mut compact = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if !inside && matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        compact.push(c);
        if escaped {
            escaped = false;
        } else if c == '"' {
            inside = !inside;
        } else {
            escaped = inside && c == '\\';
        }
    }
    Cow::Owned(compact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_stays_as_it_is() {
        assert!(matches!(one_line(r#"{"a": 1.00, "b" : " x "}"#), Cow::Borrowed(r#"{"a": 1.00, "b" : " x "}"#)));
    }

    #[test]
    fn blanks_between_parts_go_and_blanks_in_texts_stay() {
        let text = "{\r\n  \"a \\\" b\": [1.00,\n\t1e400],\n  \"c\\\\\": \" d \"\n}";
        assert_eq!(one_line(text), r#"{"a \" b":[1.00,1e400],"c\\":" d "}"#);
    }
}
