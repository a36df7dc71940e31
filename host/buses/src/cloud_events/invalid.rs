//! Why a text is no event that can be appended.

use std::{borrow::Cow, fmt};

/// Why a text is no event that can be appended: which attribute, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The attribute; `None` when the text as a whole cannot be read.
    pub field: Option<Cow<'static, str>>,
    /// What is wrong and how to mend it.
    pub reason: String,
}

impl Invalid {
    /// An attribute is wrong.
    pub fn field(field: impl Into<Cow<'static, str>>, reason: impl fmt::Display) -> Self {
        Self { field: Some(field.into()), reason: reason.to_string() }
    }

    /// The text as a whole is wrong.
    pub fn whole(reason: impl fmt::Display) -> Self {
        Self { field: None, reason: reason.to_string() }
    }

    /// The text is no JSON object.
    pub fn json(error: &serde_json::Error) -> Self {
        // The place is worth more than serde's words around it: a line of a file has no line number of its own.
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or_default();
        Self::whole(format_args!("is no JSON object: {what} at column {}", error.column()))
    }

    /// The reason in words about a message.
    pub(crate) fn of_message(&self) -> String {
        match &self.field {
            Some(_) => format!("attribute {self}"),
            None => format!("the message {self}"),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "`{field}` {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for Invalid {}
