//! The shapes of aggregates, commands, schedules and upcasters.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

use super::Limits;

/// What an aggregate says it is.
#[derive(ToSchema)]
pub(in crate::http) struct AggregateDescription {
    name: String,
    version: String,
    /// The types of the commands it decides on.
    commands: Vec<String>,
    /// The version of the form of its state.
    state_version: u32,
    /// The newest schema version it understands, by event type; a type that is not named: the newest there is.
    schema_versions: BTreeMap<String, u32>,
}

/// How an aggregate stands.
#[derive(ToSchema)]
pub(in crate::http) struct AggregateStatus {
    /// Its name, which is the category of its streams.
    name: String,
    /// The digest of the module that decides the next command.
    module: String,
    description: AggregateDescription,
    /// The module that a rollback goes back to.
    previous_module: Option<String>,
    deployed_at: String,
    config: BTreeMap<String, String>,
    limits: Limits,
    /// `every-100` or with another number of events, `never` or `manual`.
    snapshots: String,
    counters: Counters,
}

/// What an aggregate has counted since the host started.
#[derive(ToSchema)]
pub(in crate::http) struct Counters {
    /// Streams that are loaded now.
    loaded: u64,
    /// The memory they hold, in bytes.
    loaded_bytes: u64,
    /// Commands by what became of them: `accepted`, `rejected`, `conflict`, `failed`, `repeated`, `busy`.
    commands: BTreeMap<String, u64>,
    /// Decisions taken anew because the stream had changed meanwhile.
    conflicts_retried: u64,
    snapshots: SnapshotCounts,
}

/// What became of snapshots.
#[derive(ToSchema)]
pub(in crate::http) struct SnapshotCounts {
    /// Loads that began with a snapshot.
    hits: u64,
    /// Loads that could not, by reason.
    misses: BTreeMap<String, u64>,
    /// Snapshots kept.
    written: u64,
    /// Snapshots that were due but dropped, because too many waited to be written.
    dropped: u64,
    /// Snapshots that could not be taken or written.
    failed: u64,
}

/// All aggregates.
#[derive(ToSchema)]
pub(in crate::http) struct AggregateList {
    aggregates: Vec<AggregateStatus>,
}

/// A change of an aggregate's module that took effect.
#[derive(ToSchema)]
pub(in crate::http) struct AggregateSwapped {
    /// The head of the log at that moment.
    position: u64,
    from: String,
    to: String,
    /// How many streams the new module folded without effect first.
    dry_run_streams: u64,
    /// How many events it folded in them.
    dry_run_events: u64,
}

/// The state of an aggregate.
#[derive(ToSchema)]
pub(in crate::http) struct StateAnswer {
    stream: String,
    /// The last event in the state.
    version: u64,
    /// The version of the state's form.
    state_version: u32,
    /// The module that built it.
    module: String,
    /// The state, where it is JSON.
    state: Option<Value>,
    /// The state, where it is no JSON.
    state_base64: Option<String>,
}

/// A snapshot that was taken.
#[derive(ToSchema)]
pub(in crate::http) struct Taken {
    stream: String,
    /// The last event in it.
    version: u64,
    /// How many bytes it has.
    bytes: u64,
    /// The version of the state's form.
    state_version: u32,
    /// The module that wrote it.
    module: String,
}

/// What became of a command.
#[derive(ToSchema)]
pub(in crate::http) struct CommandAnswer {
    stream: String,
    /// The version of the stream after the command.
    version: u64,
    /// The position of its last event; the head of the log where there is none. A query with it as `min_position` sees
    /// what the command did.
    position: u64,
    /// The ids of its events, in order; none when nothing was to happen.
    events: Vec<String>,
    /// How often the module was asked.
    attempts: u32,
    /// Whether it had been sent before: this is the first answer then, and nothing happened now.
    repeated: bool,
}

/// An event that a handler has put off.
#[derive(ToSchema)]
pub(in crate::http) struct Schedule {
    handler: String,
    /// What the handler calls it.
    key: String,
    due: String,
    stream: String,
    /// The event's type.
    r#type: String,
    /// The event's id.
    id: String,
    /// Any JSON.
    data: Option<Value>,
    /// Bytes, base64.
    data_base64: Option<String>,
}

/// What is scheduled.
#[derive(ToSchema)]
pub(in crate::http) struct ScheduleList {
    schedules: Vec<Schedule>,
}

/// One step an upcaster takes.
#[derive(ToSchema)]
pub(in crate::http) struct Step {
    event_type: String,
    schema_version: u32,
    to_type: String,
    to_version: u32,
}

/// What an upcaster says it is.
#[derive(ToSchema)]
pub(in crate::http) struct UpcasterDescription {
    name: String,
    version: String,
    steps: Vec<Step>,
}

/// How an upcaster stands.
#[derive(ToSchema)]
pub(in crate::http) struct UpcasterStatus {
    name: String,
    /// The digest of its module.
    module: String,
    description: UpcasterDescription,
    /// The module that a rollback goes back to.
    previous_module: Option<String>,
    deployed_at: String,
    config: BTreeMap<String, String>,
    limits: Limits,
}

/// All upcasters.
#[derive(ToSchema)]
pub(in crate::http) struct UpcasterList {
    upcasters: Vec<UpcasterStatus>,
}

/// A change of an upcaster's module that took effect.
#[derive(ToSchema)]
pub(in crate::http) struct UpcasterSwapped {
    /// The head of the log at that moment.
    position: u64,
    from: String,
    to: String,
    /// How many events the new module was tried on first.
    dry_run_events: u64,
}
