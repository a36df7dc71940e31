//! The states of a processor.

use serde::{Deserialize, Serialize};

/// The state of a processor. The numbers are those of the metric `subscription.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum State {
    /// Not heard of.
    Unknown = 0,
    /// Opening its read model and loading its module.
    #[default]
    Starting = 1,
    /// Behind the head and working on it.
    CatchingUp = 2,
    /// At the head, handling events as they come.
    Live = 3,
    /// Stopped by an operator until resumed.
    Paused = 4,
    /// Ended in good order.
    Stopped = 5,
    /// Ended by an error that needs an operator, or waiting to try again after one.
    Error = 6,
}

impl State {
    /// The state's name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Starting => "starting",
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Error => "error",
        }
    }
}
