//! The name of a stream: `category-id`, where the first `-` divides.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest stream name, in bytes.
pub const MAX_LENGTH: usize = 512;

/// The name of a stream, for example `Order-42`: category `Order`, id `42`. Cheap to clone.
///
/// ```
/// use lantern_core::StreamName;
/// let name: StreamName = "Order-2026-7".parse().unwrap();
/// assert_eq!((name.category(), name.id()), ("Order", "2026-7"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName {
    text: Arc<str>,
    dash: u16,
}

/// Why a text is no stream name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamNameError {
    /// There is no `-`, or nothing stands on one side of it.
    #[error("`{0}` is no stream name: write `category-id`, for example `Order-42`")]
    Shape(String),
    /// The category has a character outside `A-Z a-z 0-9 _ .`.
    #[error("`{0}` is no stream name: a category consists of letters, digits, `_` and `.`")]
    Category(String),
    /// The id has a control character.
    #[error("`{0}` is no stream name: an id has no control characters")]
    Id(String),
    /// The name is longer than [`MAX_LENGTH`] bytes.
    #[error("a stream name of {0} bytes is too long: at most {MAX_LENGTH} bytes")]
    Length(usize),
}

impl StreamName {
    /// Checks and takes a name.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, StreamNameError> {
        let text = text.into();
        if text.len() > MAX_LENGTH {
            return Err(StreamNameError::Length(text.len()));
        }
        let Some((category, id)) = text.split_once('-') else {
            return Err(StreamNameError::Shape(text.to_string()));
        };
        if category.is_empty() || id.is_empty() {
            return Err(StreamNameError::Shape(text.to_string()));
        }
        if !category.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
            return Err(StreamNameError::Category(text.to_string()));
        }
        if id.chars().any(char::is_control) {
            return Err(StreamNameError::Id(text.escape_debug().to_string()));
        }
        // A name is at most MAX_LENGTH bytes long, which fits.
        let dash = category.len() as u16;
        Ok(Self { text, dash })
    }

    /// The kind of entity, for example `Order`.
    #[must_use]
    pub fn category(&self) -> &str {
        &self.text[..usize::from(self.dash)]
    }

    /// The entity, for example `42`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[usize::from(self.dash) + 1..]
    }

    /// The whole name, for example `Order-42`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for StreamName {
    type Err = StreamNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for StreamName {
    type Error = StreamNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.text.as_ref().into()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dash_divides() {
        let name = StreamName::new("Order-a-b").unwrap();
        assert_eq!((name.category(), name.id(), name.as_str()), ("Order", "a-b", "Order-a-b"));
    }

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        let refused = |text: &str| StreamName::new(text).unwrap_err();
        assert!(matches!(refused("Order"), StreamNameError::Shape(_)));
        assert!(matches!(refused("-42"), StreamNameError::Shape(_)));
        assert!(matches!(refused("Order-"), StreamNameError::Shape(_)));
        assert!(matches!(refused("Or der-42"), StreamNameError::Category(_)));
        assert!(matches!(refused("Order-4\n2"), StreamNameError::Id(_)));
        assert!(matches!(refused(&format!("Order-{}", "x".repeat(600))), StreamNameError::Length(606)));
    }
}
