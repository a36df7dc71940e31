//! The port of processors' modules: what turns an event into effects; and the library that keeps modules of all kinds.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    AggregateModule, Digest, Effects, Event, Fate, Filter, Grants, Kind, Migration, Name, SqlError, Timestamp,
    TraceContext, View, Witness,
    aggregate::AggregateDescription,
    upcasting::{Accepted, UpcasterDescription, UpcasterModule},
};

/// What a processor's module says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// A short name.
    pub name: String,
    /// The module's own version.
    pub version: String,
    /// The categories whose events it wants; all when empty.
    pub categories: Vec<String>,
    /// The event types it wants; all when empty.
    pub event_types: Vec<String>,
    /// The collections it keeps documents in.
    pub collections: Vec<String>,
    /// The newest schema version it understands, by event type.
    #[serde(default)]
    pub schema_versions: Accepted,
    /// The changes that make its SQL tables, in order.
    #[serde(default)]
    pub migrations: Vec<Migration>,
    /// Whether it works with SQL tables: it imports `sql`, or has migrations.
    #[serde(default)]
    pub has_tables: bool,
}

impl Description {
    /// The filter that fits what the module wants.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            categories: self.categories.iter().cloned().collect(),
            event_types: self.event_types.iter().cloned().collect(),
            ..Filter::default()
        }
    }
}

/// What one module may use. Every limit is for one call unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How long one call may take, in milliseconds.
    pub deadline_ms: u64,
    /// How much linear memory an instance may have, in bytes.
    pub memory_bytes: u64,
    /// How many elements the tables of an instance may have.
    pub table_elements: u64,
    /// How many bytes one call may hand to the host: documents, keys, spans and log lines together.
    pub host_call_bytes: u64,
    /// How many bytes of the body of one HTTP answer a handler may read.
    pub http_body_bytes: u64,
    /// How many rows one SQL query may find.
    pub sql_rows: u64,
    /// How many bytes the rows of one SQL query may have, and how long any value of an SQL statement may be.
    pub sql_bytes: u64,
    /// How long the SQL statements of one call may run together, in milliseconds. The deadline does not end a statement.
    pub sql_ms: u64,
    /// How many log lines are kept of one call; further ones are counted.
    pub log_lines: u32,
    /// How many spans are kept of one call; further ones are counted.
    pub spans: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline_ms: 1_000,
            memory_bytes: 64 * 1024 * 1024,
            table_elements: 20_000,
            host_call_bytes: 4 * 1024 * 1024,
            http_body_bytes: 1024 * 1024,
            sql_rows: 10_000,
            sql_bytes: 4 * 1024 * 1024,
            sql_ms: 500,
            log_lines: 100,
            spans: 100,
        }
    }
}

/// What a module of any kind says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Described {
    /// A projection.
    Projection(Description),
    /// A handler.
    Handler(Description),
    /// An aggregate.
    Aggregate(AggregateDescription),
    /// An upcaster.
    Upcaster(UpcasterDescription),
}

impl Described {
    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Projection(_) => Kind::Projection,
            Self::Handler(_) => Kind::Handler,
            Self::Aggregate(_) => Kind::Aggregate,
            Self::Upcaster(_) => Kind::Upcaster,
        }
    }

    /// Its short name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Projection(own) | Self::Handler(own) => &own.name,
            Self::Aggregate(own) => &own.name,
            Self::Upcaster(own) => &own.name,
        }
    }

    /// The module's own version.
    #[must_use]
    pub fn version(&self) -> &str {
        match self {
            Self::Projection(own) | Self::Handler(own) => &own.version,
            Self::Aggregate(own) => &own.version,
            Self::Upcaster(own) => &own.version,
        }
    }
}

/// How a module is to be loaded for one deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What it is deployed as. A module of another kind is refused.
    pub kind: Kind,
    /// The name it is deployed under; part of its spans and log lines.
    pub name: Name,
    /// What it may use.
    pub limits: Limits,
    /// What it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What it may do beyond its own documents; nothing unless it is a handler. A handler that imports what it is not
    /// granted is refused.
    pub grants: Grants,
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The guest says that trying again may help.
    Transient,
    /// The guest says that trying again will not help.
    Permanent,
    /// The guest trapped: a panic, an overflow, an access outside its memory.
    Trap,
    /// The call took longer than its deadline.
    Deadline,
    /// The guest broke a limit or a rule of the host's imports.
    Limit,
    /// The host could not serve the call: its own storage failed. Not the guest's fault.
    Host,
}

/// A call that failed. It left no trace in the read model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// What happened, in words.
    pub message: String,
    /// The guest's call stack, where there is one.
    pub backtrace: Option<String>,
}

impl Failure {
    /// A failure without a call stack.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), backtrace: None }
    }

    /// What becomes of the event.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self.kind {
            FailureKind::Transient => Fate::Retry,
            FailureKind::Permanent | FailureKind::Trap | FailureKind::Deadline | FailureKind::Limit => Fate::Park,
            FailureKind::Host => Fate::Stop,
        }
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        let kind = match error {
            SqlError::Refused(_) | SqlError::Exceeded(_) => FailureKind::Limit,
            SqlError::Failed(_) | SqlError::Constraint(_) => FailureKind::Permanent,
            SqlError::Unavailable(_) => FailureKind::Host,
        };
        Self::new(kind, error.to_string())
    }
}

/// Why an event is handled now, which decides where its handle span hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause<'a> {
    /// It was just appended: the handle span is a child of the span that produced the event.
    Live,
    /// It is handled late or again: the handle span belongs to the batch's own trace and links to the producing span.
    Replay {
        /// The span of the batch.
        batch: &'a TraceContext,
    },
    /// It is tried without effect, to see whether a module works.
    DryRun,
}

/// One call of a module.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The event.
    pub event: &'a Event,
    /// Why it is handled.
    pub cause: Cause<'a>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The handle span, once an observer has opened one; handed to the guest.
    pub trace: Option<TraceContext>,
}

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the module asks for, or why it failed.
    pub result: Result<Effects, Failure>,
    /// What the guest said meanwhile, also when it failed.
    pub witness: Witness,
    /// The handle span, where the call was traced: the parent of what it emits.
    pub trace: Option<TraceContext>,
}

impl From<Result<Effects, Failure>> for Outcome {
    fn from(result: Result<Effects, Failure>) -> Self {
        Self { result, witness: Witness::default(), trace: None }
    }
}

/// A module, loaded and checked. Cheap to share; calls go through an [`Instance`].
pub trait Module: Send + Sync {
    /// Its address.
    fn digest(&self) -> Digest;

    /// What it says it is.
    fn description(&self) -> &Description;

    /// A new instance. Cheap: what costs is done at the first call.
    fn instance(&self) -> Box<dyn Instance>;
}

/// One running copy of a module. It handles one event at a time, on a thread where blocking is allowed.
///
/// An instance that trapped replaces its inside by a fresh one at the next call: nothing outlives a failure.
pub trait Instance: Send {
    /// Handles an event on top of what the view shows.
    fn handle(&mut self, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome;
}

/// A module as the library keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its address: the SHA-256 of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// What it says it is.
    pub description: Described,
    /// The world it belongs to.
    pub world: String,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// The functions it exports.
    pub exports: Vec<String>,
}

/// Why the library could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// The bytes are no module for this host. The text says which import or export is wrong.
    #[error("this is no module for this host: {0}")]
    Refused(String),
    /// The module cannot be deployed so: it is of another kind, or not granted what it imports. The text says what to do.
    #[error("{0}")]
    Unfit(String),
    /// There is no such module.
    #[error("there is no module {0}: `lantern module list` shows what is there, `lantern module push` adds one")]
    Unknown(Digest),
    /// More than one module begins with these digits.
    #[error("`{0}` is the beginning of several digests: give more digits")]
    Ambiguous(String),
    /// The library's storage failed.
    #[error("the module library failed: {0}")]
    Unavailable(String),
}

/// Where modules are kept: their bytes and records. Hosts that share their stores share it, so that a module that was pushed
/// on one of them is there on all.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// Keeps a module: all of it or nothing. One that is there is replaced by itself.
    async fn put(&self, kept: &Kept, bytes: &Bytes) -> Result<(), LibraryError>;

    /// The records of all modules, in any order.
    async fn records(&self) -> Result<Vec<Kept>, LibraryError>;

    /// The record of a module, where it is here.
    async fn record(&self, digest: Digest) -> Result<Option<Kept>, LibraryError>;

    /// The bytes of a module, unchecked, where they are here.
    async fn bytes(&self, digest: Digest) -> Result<Option<Bytes>, LibraryError>;

    /// Removes a module. One that is not here is no error.
    async fn remove(&self, digest: Digest) -> Result<(), LibraryError>;
}

/// The modules of a host, by the digest of their bytes.
#[async_trait]
pub trait Library: Send + Sync {
    /// Checks, compiles and keeps a module. Pushing the same bytes again changes nothing.
    async fn push(&self, bytes: Bytes) -> Result<Kept, LibraryError>;

    /// All modules, oldest first.
    async fn list(&self) -> Result<Vec<Kept>, LibraryError>;

    /// One module.
    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError>;

    /// Forgets a module. Whether it is still in use is the caller's to know.
    async fn remove(&self, digest: Digest) -> Result<(), LibraryError>;

    /// Makes a projection's or handler's module ready to run.
    async fn load(&self, digest: Digest, settings: &Settings) -> Result<Arc<dyn Module>, LibraryError>;

    /// Makes an aggregate's module ready to run.
    async fn load_aggregate(
        &self,
        digest: Digest,
        settings: &Settings,
    ) -> Result<Arc<dyn AggregateModule>, LibraryError>;

    /// Makes an upcaster's module ready to run.
    async fn load_upcaster(&self, digest: Digest, settings: &Settings)
    -> Result<Arc<dyn UpcasterModule>, LibraryError>;
}
