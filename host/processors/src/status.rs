//! What a processor is doing: the answer to `status` and `list`.

use std::collections::BTreeMap;

use lantern_core::{
    Digest, Grants, Kind, Name, Position, State, Timestamp,
    journal::FailurePolicy,
    module::{Description, Limits},
};
use serde::{Deserialize, Serialize};

/// What a processor is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What it is: a projection or a handler.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The name of the host that runs it; none while it changes hosts.
    pub host: Option<String>,
    /// Its state.
    pub state: State,
    /// The number of the live generation.
    pub generation: u32,
    /// The module that handles the next event.
    pub module: Digest,
    /// What the module says it is.
    pub description: Description,
    /// The module `rollback` goes back to.
    pub previous_module: Option<Digest>,
    /// The last position fully processed.
    pub position: Position,
    /// The head of the log; of a projection that a route feeds, how many messages have come.
    pub head: Position,
    /// How many positions lie between the two; 0 when it has caught up. Where a route feeds it, what waits at the bus counts
    /// too.
    pub lag: u64,
    /// The route that feeds it, straight from a bus; the log does when there is none.
    pub route: Option<Name>,
    /// How many events the live generation has handled since it began.
    pub handled: u64,
    /// How many calls failed since the host started, retries included.
    pub failed: u64,
    /// How many events it has emitted since the host started, scheduled ones included. Always 0 for a projection.
    pub emitted: u64,
    /// How many messages it has published since the host started. Always 0 for a projection.
    pub published: u64,
    /// How many events are scheduled. Always 0 for a projection.
    pub scheduled: u64,
    /// How many events are in the dead letters and hold their streams back.
    pub parked_events: u64,
    /// How many streams are held back.
    pub parked_streams: u64,
    /// The last error and when it happened, until the processor works again.
    pub last_error: Option<LastError>,
    /// The rebuild that is under way.
    pub rebuild: Option<RebuildStatus>,
    /// When it was deployed.
    pub deployed_at: Timestamp,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
    /// What the module may do beyond its own documents.
    pub grants: Grants,
    /// How failures are dealt with.
    pub failure_policy: FailurePolicy,
}

/// An error a processor met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// What went wrong.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// The event it happened at.
    pub position: Option<Position>,
}

/// How far a rebuild has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildStatus {
    /// The number of the new generation.
    pub generation: u32,
    /// Its module.
    pub module: Digest,
    /// Its state.
    pub state: State,
    /// The last position it has processed.
    pub position: Position,
}

/// A change of modules that took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// The last position handled by `from`.
    pub position: Position,
    /// The module before.
    pub from: Digest,
    /// The module after.
    pub to: Digest,
    /// How many events the dry run tried, parked ones included.
    pub dry_run_events: u64,
    /// How many parked events the new module could handle in the dry run; `dead-letter retry` drains them.
    pub parked_mended: u64,
}

/// What a retry of parked events did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// How many were handled.
    pub handled: u64,
    /// How many of the processor are parked still.
    pub remaining: u64,
}
