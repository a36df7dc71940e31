//! How an aggregate stands: the answer to `status` and `list`; and what a change of modules came to.

use std::collections::BTreeMap;

use lantern_core::{
    Digest, Name, Position, Timestamp, aggregate::AggregateDescription, journal::SnapshotPolicy, module::Limits,
};
use serde::{Deserialize, Serialize};

use crate::Counters;

/// How an aggregate stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name, which is the category of its streams.
    pub name: Name,
    /// The module that decides the next command.
    pub module: Digest,
    /// What the module says it is.
    pub description: AggregateDescription,
    /// The module `rollback` goes back to.
    pub previous_module: Option<Digest>,
    /// When it was deployed.
    pub deployed_at: Timestamp,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
    /// When snapshots are taken.
    pub snapshots: SnapshotPolicy,
    /// What it has counted since the host started.
    pub counters: Counters,
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
    /// How many streams the new module folded without effect first.
    pub dry_run_streams: u64,
    /// How many events it folded in them.
    pub dry_run_events: u64,
}
