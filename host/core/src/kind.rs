//! The kinds of modules: what a component is for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// From events to a read model, and nothing else.
    Projection,
    /// From events to effects: it emits, schedules and calls out.
    Handler,
    /// From a command and a state to events.
    Aggregate,
    /// From an older form of an event to a newer one.
    Upcaster,
}

impl Kind {
    /// The kind's name, as in JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Projection => "projection",
            Self::Handler => "handler",
            Self::Aggregate => "aggregate",
            Self::Upcaster => "upcaster",
        }
    }

    /// The name with its article.
    #[must_use]
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Projection => "a projection",
            Self::Handler => "a handler",
            Self::Aggregate => "an aggregate",
            Self::Upcaster => "an upcaster",
        }
    }

    /// Whether it consumes events through a subscription.
    #[must_use]
    pub fn is_processor(self) -> bool {
        matches!(self, Self::Projection | Self::Handler)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
