//! What becomes of work that failed.

use serde::{Deserialize, Serialize};

/// What becomes of work that failed. Every port error answers `fate()`; retry code looks at nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Trying again later may help.
    Retry,
    /// Trying again will not help; the event is set aside and the others go on.
    Park,
    /// Nothing more can be done by this owner; it stops.
    Stop,
}
