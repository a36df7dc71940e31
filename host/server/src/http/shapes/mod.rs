//! The JSON shapes of words that other crates own, for the OpenAPI document. A test holds them to what is really
//! answered. What belongs to traces, and to aggregates and all that is written, has files of its own.

#![expect(dead_code, reason = "shapes are documentation: nothing makes one")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

mod routes;
mod tracing;
mod writing;

pub(super) use routes::{RouteDeadLetter, RouteDeadLetterList, RouteList, RouteStatus};
pub(super) use tracing::TraceAnswer;
pub(super) use writing::{
    AggregateDescription, AggregateList, AggregateStatus, AggregateSwapped, CommandAnswer, ScheduleList, StateAnswer,
    Taken, UpcasterDescription, UpcasterList, UpcasterStatus, UpcasterSwapped,
};

/// What went wrong: RFC 9457 problem details. Each type has members of its own beside these.
#[derive(ToSchema)]
pub(super) struct Problem {
    /// The type, a short name that never changes, for example `wrong-expected-version`.
    r#type: String,
    /// The type in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened here and how to mend it.
    detail: String,
}

/// An event as CloudEvents 1.0 JSON. Extensions of any other name are free pairs.
#[derive(ToSchema)]
pub(super) struct CloudEvent {
    /// `1.0`.
    specversion: Option<String>,
    /// A UUID; another text becomes a UUID made of source and id.
    id: Option<String>,
    /// Where it comes from; default `/lantern`.
    source: Option<String>,
    /// Its type.
    r#type: String,
    /// Its stream, `category-id`.
    subject: Option<String>,
    /// When it happened, RFC 3339.
    time: Option<String>,
    /// The media type of the data; default `application/json`.
    datacontenttype: Option<String>,
    /// The version of the schema of its data; default 1.
    schemaversion: Option<u32>,
    /// The id shared by everything one request set in motion.
    correlationid: Option<String>,
    /// The id of what caused it.
    causationid: Option<String>,
    /// Whose data it is.
    tenant: Option<String>,
    /// Who acted.
    actor: Option<String>,
    /// The span that produced it.
    traceparent: Option<String>,
    /// What other systems added to the trace.
    tracestate: Option<String>,
    /// Its place in the log; only in answers.
    position: Option<u64>,
    /// Its place in the stream; only in answers.
    streamversion: Option<u64>,
    /// Any JSON.
    data: Option<Value>,
    /// Bytes, base64.
    data_base64: Option<String>,
}

/// Events for one stream.
#[derive(ToSchema)]
pub(super) struct StreamEvents {
    events: Vec<CloudEvent>,
}

/// Events of the log.
#[derive(ToSchema)]
pub(super) struct EventList {
    events: Vec<CloudEvent>,
    /// Where the next page begins.
    end: u64,
    /// The head of the log.
    head: u64,
}

/// Events of a stream.
#[derive(ToSchema)]
pub(super) struct StreamAnswer {
    stream: String,
    /// The version of its last event.
    version: u64,
    events: Vec<CloudEvent>,
}

/// What a processor's module says it is.
#[derive(ToSchema)]
pub(super) struct Description {
    name: String,
    version: String,
    /// The categories whose events it wants; all when empty.
    categories: Vec<String>,
    /// The event types it wants; all when empty.
    event_types: Vec<String>,
    /// The collections it keeps documents in.
    collections: Vec<String>,
    /// The newest schema version it understands, by event type; a type that is not named: the newest there is.
    schema_versions: BTreeMap<String, u32>,
    /// The changes that make its SQL tables, in order.
    migrations: Vec<Migration>,
    /// Whether it works with SQL tables.
    has_tables: bool,
}

/// A change to the SQL tables of a module.
#[derive(ToSchema)]
pub(super) struct Migration {
    name: String,
    sql: String,
}

/// What a query of tables found.
#[derive(ToSchema)]
pub(super) struct RowList {
    columns: Vec<String>,
    /// A value for each column: null, a boolean, a number, a text; bytes as `{"base64": …}`.
    rows: Vec<Vec<Value>>,
    /// The checkpoint; the rows are at least as new.
    position: u64,
}

/// What a module of any kind says it is.
#[derive(ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Described {
    Projection(Description),
    Handler(Description),
    Aggregate(AggregateDescription),
    Upcaster(UpcasterDescription),
}

/// A module as the host keeps it.
#[derive(ToSchema)]
pub(super) struct Kept {
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    digest: String,
    /// How many bytes it has.
    size: u64,
    pushed_at: String,
    description: Described,
    world: String,
    imports: Vec<String>,
    exports: Vec<String>,
}

/// The modules of a host.
#[derive(ToSchema)]
pub(super) struct ModuleList {
    modules: Vec<Kept>,
}

/// What a module may use. Every limit is for one call unless it says otherwise; what is left out has its default.
#[derive(ToSchema)]
pub(super) struct Limits {
    /// How long a call may take, in milliseconds; default 1000.
    deadline_ms: Option<u64>,
    /// How much linear memory an instance may have, in bytes; default 64 MiB.
    memory_bytes: Option<u64>,
    /// How many elements the tables of an instance may have; default 20000.
    table_elements: Option<u64>,
    /// How many bytes a call may hand to the host; default 4 MiB.
    host_call_bytes: Option<u64>,
    /// How many bytes of the body of one HTTP answer a handler may read; default 1 MiB.
    http_body_bytes: Option<u64>,
    /// How many rows one SQL query may find; default 10000.
    sql_rows: Option<u64>,
    /// How many bytes the rows of one SQL query may have, and how long any value of a statement may be; default 4 MiB.
    sql_bytes: Option<u64>,
    /// How long the SQL statements of a call may run together, in milliseconds; default 500.
    sql_ms: Option<u64>,
    /// How many log lines are kept of a call; default 100.
    log_lines: Option<u32>,
    /// How many spans are kept of a call; default 100.
    spans: Option<u32>,
}

/// How failures are dealt with; what is left out has its default.
#[derive(ToSchema)]
pub(super) struct FailurePolicy {
    /// How often an event is tried while it fails with a transient failure; default 5.
    attempts: Option<u32>,
    /// The pause after the first failure, in milliseconds, doubled with every further one; default 100.
    backoff_ms: Option<u64>,
    /// The longest pause, in milliseconds; default 10000.
    max_backoff_ms: Option<u64>,
    /// `park` (default), `skip` or `stop`.
    then: Option<String>,
}

/// What a handler may do beyond its own documents; what is left out it may not.
#[derive(ToSchema)]
pub(super) struct Grants {
    /// It may emit events.
    emit: Option<bool>,
    /// It may schedule events.
    schedule: Option<bool>,
    /// Its clocks show the real time; the event's time otherwise.
    time: Option<bool>,
    /// Its random numbers are real; seeded by the event's id otherwise.
    random: Option<bool>,
    /// The origins it may send requests to, for example `https://api.example.com`.
    http: Option<Vec<String>>,
    /// Loopback, link-local, private and other special addresses that the names of `http` may lead to, for example
    /// `127.0.0.1` or `10.0.0.0/8`; all others of that sort are refused.
    addresses: Option<Vec<String>>,
    /// The topics it may publish to, each as `bus/topic`.
    publish: Option<Vec<String>>,
}

/// An error a processor met.
#[derive(ToSchema)]
pub(super) struct LastError {
    message: String,
    at: String,
    /// The event it happened at.
    position: Option<u64>,
}

/// How far a rebuild has come.
#[derive(ToSchema)]
pub(super) struct RebuildStatus {
    generation: u32,
    module: String,
    state: String,
    position: u64,
}

/// What a processor is doing.
#[derive(ToSchema)]
pub(super) struct Status {
    /// `projection` or `handler`.
    kind: String,
    name: String,
    /// The name of the host that runs it; none while it changes hosts.
    host: Option<String>,
    /// `starting`, `catching_up`, `live`, `paused`, `stopped` or `error`; `unknown` where another host runs it that does
    /// not answer.
    state: String,
    /// The number of the live generation.
    generation: u32,
    /// The digest of the module that handles the next event.
    module: String,
    description: Description,
    /// The module that a rollback goes back to.
    previous_module: Option<String>,
    /// The last position fully processed.
    position: u64,
    /// The head of the log; of a projection that a route feeds, how many messages have come.
    head: u64,
    /// How many positions lie between the two. Where a route feeds it, what waits at the bus counts too.
    lag: u64,
    /// The route that feeds it, straight from a bus; none where the log does.
    route: Option<String>,
    /// How many events the live generation has handled.
    handled: u64,
    /// How many calls failed since the host started.
    failed: u64,
    /// How many events it has emitted since the host started, scheduled ones included. Always 0 for a projection.
    emitted: u64,
    /// How many messages it has published since the host started. Always 0 for a projection.
    published: u64,
    /// How many events are scheduled. Always 0 for a projection.
    scheduled: u64,
    /// How many events hold their streams back.
    parked_events: u64,
    /// How many streams are held back.
    parked_streams: u64,
    last_error: Option<LastError>,
    rebuild: Option<RebuildStatus>,
    deployed_at: String,
    config: BTreeMap<String, String>,
    limits: Limits,
    grants: Grants,
    failure_policy: FailurePolicy,
}

/// All projections.
#[derive(ToSchema)]
pub(super) struct ProjectionList {
    projections: Vec<Status>,
}

/// All handlers.
#[derive(ToSchema)]
pub(super) struct HandlerList {
    handlers: Vec<Status>,
}

/// A change of modules that took effect.
#[derive(ToSchema)]
pub(super) struct Swapped {
    /// The last position handled by `from`.
    position: u64,
    from: String,
    to: String,
    /// How many events the dry run tried.
    dry_run_events: u64,
    /// How many parked events the new module could handle in the dry run.
    parked_mended: u64,
}

/// Something that happened to what is deployed. Each kind of happening has members of its own beside these.
#[derive(ToSchema)]
pub(super) struct Entry {
    /// 1, 2, 3 … over all that is deployed.
    sequence: u64,
    at: String,
    /// `projection`, `handler`, `aggregate` or `upcaster`.
    kind: String,
    name: String,
    /// `deployed`, `aggregate-deployed`, `upcaster-deployed`, `paused`, `resumed`, `swapped`, `swap-refused`, `rolled-back`, `rebuild-started`,
    /// `rebuild-abandoned`, `promoted`, `retried`, `skipped`, `stopped`, `schedule-cancelled` or `removed`.
    what: String,
}

/// What happened to something that is or was deployed.
#[derive(ToSchema)]
pub(super) struct HistoryAnswer {
    entries: Vec<Entry>,
}

/// A document.
#[derive(ToSchema)]
pub(super) struct Document {
    key: String,
    value: Value,
}

/// Documents of a collection.
#[derive(ToSchema)]
pub(super) struct DocumentList {
    documents: Vec<Document>,
    /// The checkpoint; the documents are at least as new.
    position: u64,
}

/// A document and the checkpoint.
#[derive(ToSchema)]
pub(super) struct DocumentAnswer {
    key: String,
    value: Value,
    /// The checkpoint; the document is at least as new.
    position: u64,
}

/// The digest of a read model.
#[derive(ToSchema)]
pub(super) struct DigestAnswer {
    /// 64 hexadecimal digits.
    digest: String,
    /// The position it belongs to.
    position: u64,
}

/// An event in the dead letters.
#[derive(ToSchema)]
pub(super) struct Parked {
    position: u64,
    event_id: String,
    event_type: String,
    stream: String,
    /// `failed`, `behind` (not tried, since an earlier event of its stream is parked) or `skipped`.
    standing: String,
    /// `transient`, `permanent`, `trap`, `deadline`, `limit` or `host`.
    kind: Option<String>,
    error: String,
    /// The guest's call stack.
    backtrace: Option<String>,
    attempts: u32,
    /// The trace of the last attempt.
    trace_id: Option<String>,
    /// The module that failed last.
    module: String,
    first_at: String,
    last_at: String,
}

/// Dead letters.
#[derive(ToSchema)]
pub(super) struct DeadLetterList {
    dead_letters: Vec<Parked>,
}

/// A dead letter with its event.
#[derive(ToSchema)]
pub(super) struct DeadLetter {
    #[schema(inline)]
    #[serde(flatten)]
    parked: Parked,
    event: Option<CloudEvent>,
}

/// What a retry did.
#[derive(ToSchema)]
pub(super) struct Retried {
    /// How many were handled.
    handled: u64,
    /// How many of the processor are parked still.
    remaining: u64,
}
