//! The port of the journal: the hosts' own append-only history, beside the log. What they run is the fold of it.

use std::{collections::BTreeMap, fmt, num::NonZeroU64, ops::ControlFlow, str::FromStr, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tokio::{sync::watch, time};

use crate::{Digest, Grants, Kind, Name, Position, Timestamp, module::Limits};

/// What happens to an event that cannot be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It is parked with its stream; other streams go on.
    #[default]
    Park,
    /// It is recorded as skipped, and its stream goes on.
    Skip,
    /// The projection stops until an operator resumes it.
    Stop,
}

/// How failures are dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailurePolicy {
    /// How often an event is tried while it fails with a transient failure, the first time included; at least 1.
    pub attempts: u32,
    /// The pause after the first failure, in milliseconds; doubles with every further one.
    pub backoff_ms: u64,
    /// The longest pause, in milliseconds.
    pub max_backoff_ms: u64,
    /// What happens then, and at once for any other failure.
    pub then: OnFailure,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self { attempts: 5, backoff_ms: 100, max_backoff_ms: 10_000, then: OnFailure::Park }
    }
}

/// How a projection or handler was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its module.
    pub module: Digest,
    /// Where its first generation begins: the events after this position are handled.
    pub start: Position,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
    /// How failures are dealt with.
    pub failure_policy: FailurePolicy,
    /// What the module may do beyond its own documents.
    #[serde(default)]
    pub grants: Grants,
    /// The route that feeds it, straight from a bus; the log does when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Name>,
}

/// When snapshots of an aggregate are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SnapshotPolicy {
    /// Whenever the version passes a multiple of this number.
    Every(NonZeroU64),
    /// Never; those that are there are not used either.
    Never,
    /// When an operator asks for one.
    Manual,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self::Every(EVERY)
    }
}

/// How many events lie between two snapshots unless a deployment says otherwise.
const EVERY: NonZeroU64 = match NonZeroU64::new(100) {
    Some(every) => every,
    None => NonZeroU64::MIN,
};

/// Why a text is no snapshot policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no snapshot policy: write `every-100` (or another number of events), `never` or `manual`")]
pub struct SnapshotPolicyError {
    text: String,
}

impl FromStr for SnapshotPolicy {
    type Err = SnapshotPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            "manual" => Ok(Self::Manual),
            _ => match text.strip_prefix("every-").map(str::parse) {
                Some(Ok(events)) => Ok(Self::Every(events)),
                _ => Err(SnapshotPolicyError { text: text.into() }),
            },
        }
    }
}

impl fmt::Display for SnapshotPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(events) => write!(f, "every-{events}"),
            Self::Never => f.write_str("never"),
            Self::Manual => f.write_str("manual"),
        }
    }
}

impl TryFrom<String> for SnapshotPolicy {
    type Error = SnapshotPolicyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SnapshotPolicy> for String {
    fn from(policy: SnapshotPolicy) -> Self {
        policy.to_string()
    }
}

/// How an aggregate was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregateDeployment {
    /// Its module.
    pub module: Digest,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
    /// When snapshots are taken.
    pub snapshots: SnapshotPolicy,
}

/// How an upcaster was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpcasterDeployment {
    /// Its module.
    pub module: Digest,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
}

/// Something that happened to what is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Happening {
    /// A projection or handler was deployed; its first generation begins.
    Deployed(Deployment),
    /// An aggregate was deployed.
    AggregateDeployed(AggregateDeployment),
    /// An upcaster was deployed.
    UpcasterDeployed(UpcasterDeployment),
    /// An operator paused it.
    Paused,
    /// An operator resumed it.
    Resumed,
    /// It changed modules: events after `position` are handled by `to`. For an aggregate or upcaster, whose change is not
    /// bound to a position, `position` is the head of the log at that moment.
    Swapped {
        /// The last position handled by `from`.
        position: Position,
        /// The module before.
        from: Digest,
        /// The module after.
        to: Digest,
    },
    /// A swap was refused before it took effect.
    SwapRefused {
        /// The module that was refused.
        module: Digest,
        /// Why.
        reason: String,
    },
    /// It went back to the module before: events after `position` are handled by `to`.
    RolledBack {
        /// The last position handled by `from`.
        position: Position,
        /// The module before.
        from: Digest,
        /// The module after.
        to: Digest,
        /// Who or what asked for it.
        reason: String,
    },
    /// A new generation was begun beside the live one.
    RebuildStarted {
        /// Its number.
        generation: u32,
        /// Its module.
        module: Digest,
    },
    /// A new generation was given up before it was promoted.
    RebuildAbandoned {
        /// Its number.
        generation: u32,
        /// Why.
        reason: String,
    },
    /// A generation became the live one.
    Promoted {
        /// Its number.
        generation: u32,
        /// The number of the one before.
        previous: u32,
        /// How far both had come.
        position: Position,
        /// The module of the new one.
        module: Digest,
    },
    /// An operator had parked events tried again.
    Retried {
        /// How many were handled.
        handled: u64,
        /// How many are parked still.
        remaining: u64,
    },
    /// An operator passed over a parked event.
    Skipped {
        /// Where it stands.
        position: Position,
    },
    /// It stopped by itself and needs an operator.
    Stopped {
        /// Why.
        reason: String,
    },
    /// An operator cancelled a schedule.
    ScheduleCancelled {
        /// Its key.
        key: String,
    },
    /// It was removed with its read model.
    Removed,
}

/// What a line of the journal is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// What it is deployed as.
    pub kind: Kind,
    /// The name it is deployed under. Projections and handlers share their names, the other kinds have their own. A route
    /// stands here as a handler of a reserved name.
    #[serde(deserialize_with = "stored_name")]
    pub name: Name,
}

fn stored_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    Name::stored(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3 … over all subjects.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// What happened.
    #[serde(flatten)]
    pub happening: Happening,
}

/// Why the journal could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal failed: {0}")]
pub struct JournalError(pub String);

/// The history of what is deployed. An entry is durable before it is acknowledged.
///
/// Several hosts may share one journal. Each follows it: what another host wrote takes effect here as if it had been
/// written here.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Adds an entry.
    async fn append(&self, subject: &Subject, happening: Happening) -> Result<Entry, JournalError>;

    /// Adds an entry provided that the journal ends with the entry `last` (0 for an empty one), so that whoever decides
    /// on what the journal says decides on all of it. `None` when it goes on after that: nothing was added.
    async fn append_after(
        &self,
        last: u64,
        subject: &Subject,
        happening: Happening,
    ) -> Result<Option<Entry>, JournalError>;

    /// The entries after a sequence, oldest first.
    async fn entries_after(&self, after: u64) -> Result<Vec<Entry>, JournalError>;

    /// All entries, oldest first.
    async fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        self.entries_after(0).await
    }

    /// Wakes whoever follows the journal when it may have grown, by this host or another. The number is the sequence of
    /// the last entry heard of: a hint, the journal is the truth.
    fn end(&self) -> watch::Receiver<u64>;
}

/// The pause before a follower that failed tries again.
const RETRY: Duration = Duration::from_secs(1);

/// Follows the journal: calls `catch_up` whenever it may have grown. One that fails says so by `Continue(false)` and is
/// called again after a pause; `Break` ends it, and so does the end of the journal.
pub async fn follow<F: Future<Output = ControlFlow<(), bool>>>(
    mut end: watch::Receiver<u64>,
    mut catch_up: impl FnMut() -> F,
) {
    while end.changed().await.is_ok() {
        loop {
            match catch_up().await {
                ControlFlow::Continue(true) => break,
                ControlFlow::Continue(false) => time::sleep(RETRY).await,
                ControlFlow::Break(()) => return,
            }
        }
    }
}
