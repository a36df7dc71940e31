//! What a command comes to: the answer, or why there is none.

use lantern_core::{
    Digest, EventId, EventType, Name, Position, Rejection, StreamName, Version,
    guest_threads::Panicked,
    log::{AppendError, LogError},
    module::Failure,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What became of an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The aggregate.
    pub stream: StreamName,
    /// The version of its stream after the command.
    pub version: Version,
    /// The position of the command's last event; the head of the log where there is none. A query that waits for it
    /// sees what the command did.
    pub position: Position,
    /// The command's events, in order; none when nothing was to happen.
    pub events: Vec<EventId>,
    /// How often the module was asked before its decision was appended; 0 in an answer that is repeated.
    pub attempts: u32,
    /// Whether the command had been sent before: this is the first answer then, and nothing happened now.
    pub repeated: bool,
}

/// Why a command was not carried out. Nothing was appended, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No aggregate is deployed for the category.
    #[error("no aggregate is deployed for `{stream}`: {}", deployed(.known))]
    Unknown {
        /// The stream of the command.
        stream: StreamName,
        /// What is deployed.
        known: Vec<Name>,
    },
    /// The module does not know the command.
    #[error("aggregate `{name}` knows no command `{command_type}`: it knows {}", .known.join(", "))]
    UnknownCommand {
        /// The aggregate.
        name: Name,
        /// The type of the command.
        command_type: EventType,
        /// The commands it knows.
        known: Vec<String>,
    },
    /// The module says no.
    #[error("the command was rejected, {}: {}", .0.code, .0.message)]
    Rejected(Rejection),
    /// The stream is not at the version the sender expects.
    #[error("stream `{stream}` is at version {actual}, expected {expected}: look at it again and decide anew")]
    NotExpected {
        /// The stream.
        stream: StreamName,
        /// What the sender expects.
        expected: Version,
        /// The stream's version; 0 without events.
        actual: Version,
    },
    /// Others changed the stream before every attempt was done.
    #[error("stream `{stream}` changed during each of {attempts} attempts: send the command again")]
    Contended {
        /// The stream.
        stream: StreamName,
        /// How often the module was asked.
        attempts: u32,
    },
    /// The id belongs to a command for another stream.
    #[error("command id {id} was used for stream `{stream}`: use a new id")]
    IdTaken {
        /// The id.
        id: Uuid,
        /// The stream of the command that has it.
        stream: StreamName,
    },
    /// The guest failed: it trapped, passed its deadline, broke a limit, or could not fold its own events.
    #[error("module {} failed for `{stream}`: {failure}", module.short())]
    Failed {
        /// The stream.
        stream: StreamName,
        /// The module.
        module: Digest,
        /// What happened, with the guest's call stack where there is one.
        failure: Failure,
    },
    /// Too many commands wait.
    #[error("too many commands wait for {0}: send it again a little later")]
    Busy(Crowd),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The host itself failed while the guest ran.
    #[error(transparent)]
    Interrupted(#[from] Panicked),
    /// The log did not take the events. Where it says that it could not be written, the outcome is unknown: the same
    /// command can be sent again.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl CommandError {
    /// Whether it may follow from what the command itself did when it was sent before.
    pub(crate) fn is_about_the_state(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::NotExpected { .. } | Self::Contended { .. } | Self::Failed { .. })
    }
}

/// What too many commands wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crowd {
    /// One stream.
    Stream(StreamName),
    /// The host.
    Host,
}

impl std::fmt::Display for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(stream) => write!(f, "`{stream}`"),
            Self::Host => f.write_str("this host"),
        }
    }
}

fn deployed(known: &[Name]) -> String {
    if known.is_empty() {
        return "none is, `lantern aggregate deploy` deploys one".into();
    }
    let names: Vec<&str> = known.iter().map(Name::as_str).collect();
    format!("there is {}", names.join(", "))
}
