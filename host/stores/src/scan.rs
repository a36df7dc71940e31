//! Which keys a scan covers: from the first one that may fit to the first one beyond.

use lantern_core::documents::Scan;

/// The keys from `first` on and before `beyond`. The order is that of their bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The first key that may be among them.
    pub(crate) first: String,
    /// The first key after them; `None` when there is none.
    pub(crate) beyond: Option<String>,
}

impl Keys {
    /// The keys a scan covers, its limit aside.
    pub(crate) fn of(scan: &Scan) -> Self {
        let first = match &scan.after {
            // Nothing stands between a text and the same with this character behind it.
            Some(after) if *after >= scan.prefix => format!("{after}\0"),
            _ => scan.prefix.clone(),
        };
        Self { first, beyond: beyond(&scan.prefix) }
    }
}

/// The first text after all that begin with a prefix; `None` when there is none.
fn beyond(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // The order of UTF-8 is that of the characters, and a range of characters steps over the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_beyond_a_prefix_is_the_next_one() {
        assert_eq!(beyond("ab").as_deref(), Some("ac"));
        assert_eq!(beyond("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(beyond("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(beyond("\u{10FFFF}"), None);
        assert_eq!(beyond(""), None);
    }

    #[test]
    fn a_scan_begins_with_its_prefix_or_after_a_key() {
        let keys = |prefix: &str, after: Option<&str>| {
            let scan = Scan { prefix: prefix.into(), after: after.map(Into::into), limit: 1 };
            let Keys { first, beyond } = Keys::of(&scan);
            (first, beyond)
        };
        assert_eq!(keys("ab", None), ("ab".into(), Some("ac".into())));
        assert_eq!(keys("ab", Some("abc")), ("abc\0".into(), Some("ac".into())));
        assert_eq!(keys("ab", Some("a")), ("ab".into(), Some("ac".into())), "what stands before the prefix leaves it");
        assert_eq!(keys("", Some("")), ("\0".into(), None), "the empty key is passed over");
    }
}
