//! How an upcaster stands: the answer to `status` and `list`; and what a change of modules came to.

use std::collections::BTreeMap;

use lantern_core::{Digest, Name, Position, Timestamp, module::Limits, upcasting::UpcasterDescription};
use serde::{Deserialize, Serialize};

/// How an upcaster stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: Name,
    /// The module that takes the next step.
    pub module: Digest,
    /// What the module says it is.
    pub description: UpcasterDescription,
    /// The module `rollback` goes back to.
    pub previous_module: Option<Digest>,
    /// When it was deployed.
    pub deployed_at: Timestamp,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
}

/// A change of modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// The head of the log at that moment.
    pub position: Position,
    /// The module before.
    pub from: Digest,
    /// The module after.
    pub to: Digest,
    /// How many events the new module was tried on first.
    pub dry_run_events: u64,
}
