//! Why an aggregate does not do what a command asks.

use crate::bindings::aggregate::exports::lantern::module::aggregates;
use crate::written;
use serde::Serialize;
use std::fmt::Display;

/// Why a command is rejected: a word for programs, a text for people, and more where there is more to say.
///
/// Any value that is `Serialize` and `Display` becomes one through `?` or `into()`: its code is the name of the variant or
/// struct as serde writes it, its message the displayed text, and its details the fields where there are any.
///
/// ```
/// # use lantern_guest::prelude::*;
/// # use std::fmt;
/// #[derive(Serialize)]
/// #[serde(rename_all = "kebab-case")]
/// enum Refusal {
///     NotPaid { due: u64 },
/// }
///
/// impl fmt::Display for Refusal {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         match self {
///             Self::NotPaid { due } => write!(f, "the order is not paid: {due} cents are due"),
///         }
///     }
/// }
///
/// let rejection = Rejection::from(Refusal::NotPaid { due: 100 });
/// assert_eq!(rejection.code(), "not-paid");
/// assert_eq!(rejection.details(), Some(r#"{"due":100}"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    code: String,
    message: String,
    details: Option<String>,
}

impl Rejection {
    /// A rejection without details. The code is a word that programs can compare, for example `not-paid`.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: None }
    }

    /// The word that programs compare.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What is wrong, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// More about it, JSON text.
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        self.details.as_deref()
    }
}

// `Rejection` itself cannot be serialised, so that this can hold for everything that can.
impl<T: Serialize + Display> From<T> for Rejection {
    fn from(reason: T) -> Self {
        let message = reason.to_string();
        match written::write(&reason) {
            Ok(written) => {
                let details = (written.data != "{}").then_some(written.data);
                Self { code: written.name.to_owned(), message, details }
            }
            // Plain text has no word of its own.
            Err(_) => Self::new("rejected", message),
        }
    }
}

impl From<Rejection> for aggregates::Rejection {
    fn from(rejection: Rejection) -> Self {
        Self { code: rejection.code, message: rejection.message, details: rejection.details }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_a_rejection() {
        assert_eq!(Rejection::from("too late"), Rejection::new("rejected", "too late"));
    }
}
