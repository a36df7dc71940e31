//! The port of aggregates: modules that decide. A command and a state become events or a rejection.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Digest, Draft, Event, EventType, Metadata, Payload, StreamName, Timestamp, TraceContext, Witness, module::Failure,
    upcasting::Accepted,
};

/// What an aggregate says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregateDescription {
    /// A short name.
    pub name: String,
    /// The module's own version.
    pub version: String,
    /// The types of the commands it decides on.
    pub commands: Vec<String>,
    /// The version of the form of its state; a snapshot of another one is not used.
    pub state_version: u32,
    /// The newest schema version it understands, by event type.
    #[serde(default)]
    pub schema_versions: Accepted,
}

/// A command: what somebody wants to happen to an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its identity. Sent a second time it has no second effect.
    pub id: Uuid,
    /// The aggregate.
    pub stream: StreamName,
    /// Its kind, for example `PlaceOrder`.
    pub command_type: EventType,
    /// Its content.
    pub data: Payload,
    /// When the host received it: what the aggregate's clock shows.
    pub received_at: Timestamp,
    /// What travels with it; `trace` is the span that sent it.
    pub metadata: Metadata,
}

/// Why an aggregate does not do what a command asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The module's own word for it, for example `not-paid`.
    pub code: String,
    /// What is wrong, in words.
    pub message: String,
    /// More about it, JSON text.
    pub details: Option<Arc<str>>,
}

/// What an aggregate made of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// These events are to happen; none when there is nothing to do.
    Accepted(Vec<Draft>),
    /// Nothing is to happen.
    Rejected(Rejection),
}

/// One call of `decide`.
#[derive(Debug, Clone)]
pub struct Decide<'a> {
    /// The events to fold first, in order: what the log has that the state has not. Often what the call before decided.
    pub news: &'a [Event],
    /// The command.
    pub command: &'a Command,
    /// 1 for the first attempt; grows when the stream changed meanwhile.
    pub attempt: u32,
    /// The span of the decision, once an observer has opened one; handed to the guest.
    pub trace: Option<TraceContext>,
}

/// How a decision ended.
#[derive(Debug)]
pub struct Decided {
    /// What the module decided, or why it failed.
    pub result: Result<Decision, Failure>,
    /// Whether the news were folded for certain. Where not, the failure may be theirs and not the command's: only a state
    /// that is loaded anew can tell.
    pub is_folded: bool,
    /// What the guest said meanwhile, also when it failed.
    pub witness: Witness,
    /// The span of the decision, where there is one: the parent of what follows from it.
    pub trace: Option<TraceContext>,
}

impl From<Result<Decision, Failure>> for Decided {
    fn from(result: Result<Decision, Failure>) -> Self {
        Self { result, is_folded: true, witness: Witness::default(), trace: None }
    }
}

/// An aggregate's module, loaded and checked. Cheap to share; calls go through an [`AggregateInstance`].
pub trait AggregateModule: Send + Sync {
    /// Its address.
    fn digest(&self) -> Digest;

    /// What it says it is.
    fn description(&self) -> &AggregateDescription;

    /// A new aggregate without events. Cheap: what costs is done at the first call.
    fn instance(&self, stream: &StreamName) -> Box<dyn AggregateInstance>;
}

/// One loaded aggregate: its state, inside the guest. Called on threads where blocking is allowed, one call at a time.
///
/// After a failure of `decide`, and one of another call that is not the guest's own answer (a trap, a deadline, a limit),
/// its state is gone: it must be thrown away and loaded anew.
pub trait AggregateInstance: Send {
    /// Takes a state written by [`Self::snapshot`] in place of the events before it.
    fn restore(&mut self, state: &[u8]) -> Result<(), Failure>;

    /// Folds events into the state, in order.
    fn evolve(&mut self, events: &[Event]) -> Result<(), Failure>;

    /// Folds the news and decides on a command, in one call of the guest. To decide leaves the state as it is.
    fn decide(&mut self, call: &Decide<'_>) -> Decided;

    /// The state, for a snapshot or for show. JSON text where the module was made with an SDK of this project.
    fn snapshot(&mut self) -> Result<Bytes, Failure>;

    /// How many bytes of memory it holds.
    fn memory(&self) -> u64;
}
