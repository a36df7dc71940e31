//! The port of SQL tables: what a module that imports `sql` reads and writes in the schema of its generation, inside one
//! transaction a batch. What it must keep stands at [`Tables`].

use std::{
    fmt::{self, Debug},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Digest, Fate, ReadModelError, module::Limits};

/// The most parameters of one statement.
pub const MAX_PARAMETERS: usize = 1_000;

/// The longest statement, in bytes.
pub const MAX_STATEMENT: usize = 64 * 1024;

/// A value of a row or a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    /// No value.
    Null,
    /// True or false. SQLite has no such values: it keeps them as the integers 1 and 0.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(Arc<str>),
    /// Bytes.
    Blob(Bytes),
}

impl SqlValue {
    /// How many bytes it counts with.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Boolean(_) => 1,
            Self::Integer(_) | Self::Real(_) => 8,
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, with a value for each column.
    pub rows: Vec<Vec<SqlValue>>,
}

/// What the statements of one call may still use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many rows a query may find.
    pub rows: usize,
    /// How many bytes these rows may have, and how long any value of a statement may be.
    pub bytes: usize,
    /// How long a statement may run.
    pub time: Duration,
}

impl From<&Limits> for Budget {
    fn from(limits: &Limits) -> Self {
        Self {
            rows: usize::try_from(limits.sql_rows).unwrap_or(usize::MAX),
            bytes: usize::try_from(limits.sql_bytes).unwrap_or(usize::MAX),
            time: Duration::from_millis(limits.sql_ms),
        }
    }
}

/// A change to the tables of a generation, run once, before its first event or at a swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// What it is for, in a few words: `orders by day`.
    pub name: String,
    /// Its statements, divided by `;`.
    pub sql: String,
}

impl Migration {
    /// What tells it from another one.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.sql.as_bytes())
    }
}

/// Why a statement had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// It would leave the tables of the generation, or would not do the same a second time. The text names the rule.
    #[error("the statement is refused: {0}")]
    Refused(String),
    /// It is wrong.
    #[error("the statement failed: {0}")]
    Failed(String),
    /// It breaks a constraint of a table.
    #[error("the statement breaks a constraint: {0}")]
    Constraint(String),
    /// It found or took more than it may. The text names the limit.
    #[error("the statement went over its budget: {0}")]
    Exceeded(String),
    /// The storage failed.
    #[error("the tables failed: {0}")]
    Unavailable(String),
}

impl SqlError {
    /// What becomes of the event whose call ran the statement, if the module does not deal with it.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Refused(_) | Self::Failed(_) | Self::Constraint(_) | Self::Exceeded(_) => Fate::Park,
            Self::Unavailable(_) => Fate::Stop,
        }
    }
}

/// Why no transaction was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    /// A migration cannot be run. None of those that were to be run with it was.
    #[error("migration {number} (`{name}`) cannot be run: {reason}")]
    Migration {
        /// Its place, from 1.
        number: usize,
        /// Its name.
        name: String,
        /// Why, in words.
        reason: String,
    },
    /// A migration is another one than was run at its place.
    #[error(
        "migration {number} (`{name}`) is another one than was run in this generation, `{ran}`: leave those that were \
         run as they are and add new ones behind them, or rebuild into a new generation"
    )]
    Differs {
        /// Its place, from 1.
        number: usize,
        /// Its name.
        name: String,
        /// The name of the one that was run.
        ran: String,
    },
    /// The read model failed, or keeps no tables.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
}

impl TablesError {
    /// What becomes of the work that needed the transaction.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Migration { .. } | Self::Differs { .. } => Fate::Stop,
            Self::ReadModel(_) => Fate::Retry,
        }
    }
}

/// The SQL tables of a generation inside one transaction. Called on threads where blocking is allowed.
///
/// - Nothing is visible outside before the batch it belongs to is committed, and nothing remains when it is dropped.
/// - Reads see what was written before in the same transaction.
/// - What a call did between `mark` and `keep` stays; between `mark` and `undo` nothing of it does.
/// - A statement reaches the tables of its own generation only: none of the host's, no other schema, no settings.
/// - The same statements after each other give the same rows: nothing in them depends on time, chance or the machine.
/// - A statement has its effect as a whole or not at all.
pub trait Tables: Send + Sync {
    /// Tells this transaction from all others of the process.
    fn id(&self) -> u64;

    /// Runs one statement and says how many rows it changed.
    fn execute(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<u64, SqlError>;

    /// Runs one statement and answers the rows it found.
    fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError>;

    /// Begins the work of one call.
    fn mark(&self) -> Result<(), SqlError>;

    /// Ends the work of one call, which stays. An error says that the transaction was lost during it.
    fn keep(&self) -> Result<(), SqlError>;

    /// Ends the work of one call and takes it back. A transaction that was lost has nothing left to take back.
    fn undo(&self) -> Result<(), SqlError>;

    /// Whether a statement of the last call broke a constraint. In a dry run, on rows that the same event made before, that
    /// tells nothing of the module.
    fn clashed(&self) -> bool;

    /// Whether it can still be committed. A storage that has to give a statement up may give up the transaction with it.
    fn is_open(&self) -> bool;
}

impl Debug for dyn Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tables({})", self.id())
    }
}
