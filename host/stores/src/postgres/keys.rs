//! Texts that PostgreSQL cannot hold as they are, and the order that must survive.
//!
//! The character U+0000 cannot stand in a text of PostgreSQL, but in keys and metadata it can. U+0000 and U+0001 are written as
//! U+0001 followed by U+0001 and U+0002. So the order of the bytes stays, one key begins with another as before, and
//! every usual text stands in its table as it is.

use std::borrow::Cow;

/// The form in which a text is kept.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte <= 1) {
        return text.into();
    }
    text.replace('\u{1}', "\u{1}\u{2}").replace('\0', "\u{1}\u{1}").into()
}

/// The text that is kept in this form.
pub(super) fn unescape(kept: &str) -> Cow<'_, str> {
    if !kept.contains('\u{1}') {
        return kept.into();
    }
    kept.replace("\u{1}\u{1}", "\0").replace("\u{1}\u{2}", "\u{1}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_kept_in_its_order() {
        let mut texts =
            ["", "a", "\0", "\0\0", "\0\u{1}", "\u{1}", "\u{1}\0", "\u{1}\u{1}", "\u{1}\u{2}", "\u{2}", "a\0b"];
        for text in texts {
            let kept = escape(text);
            assert!(!kept.contains('\0'), "{text:?}");
            assert_eq!(unescape(&kept), text);
        }
        texts.sort_unstable();
        assert!(texts.map(|text| escape(text).into_owned()).is_sorted());
        assert!(matches!(escape("order-42 \u{e9}"), Cow::Borrowed(_)));
    }
}
