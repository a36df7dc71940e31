//! Why an event could not be handled.

use crate::bindings;
use std::fmt::Display;

/// Why an event could not be handled.
///
/// Any error becomes a permanent failure through `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Trying again later may help: the host retries with backoff.
    Transient(String),
    /// Trying again will not help: the host parks the event, or does what the deployment says.
    Permanent(String),
}

impl Failure {
    /// A failure that may go away by itself.
    pub fn transient(reason: impl Display) -> Self {
        Self::Transient(reason.to_string())
    }

    /// A failure that stays until the event or the module is mended.
    pub fn permanent(reason: impl Display) -> Self {
        Self::Permanent(reason.to_string())
    }

    /// What went wrong.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Transient(reason) | Self::Permanent(reason) => reason,
        }
    }
}

// `Failure` itself is no `std::error::Error`, so that this can hold for every other error.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::permanent(error)
    }
}

impl From<Failure> for bindings::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Transient(reason) => Self::Transient(reason),
            Failure::Permanent(reason) => Self::Permanent(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_is_a_permanent_failure() {
        fn parse(text: &str) -> Result<u64, Failure> {
            Ok(text.parse::<u64>()?)
        }
        assert_eq!(parse("seven"), Err(Failure::permanent("invalid digit found in string")));
    }
}
