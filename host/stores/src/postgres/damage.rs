//! What a reader of the log may meet: a row that does not hold what it should, or a database that does not answer.

use lantern_core::{Position, log::LogError};

use super::connection;

/// Why a row could not be read.
#[derive(Debug)]
pub(super) enum Damage {
    /// It does not hold what it should.
    Row(String),
    /// The database gave no answer, or could not read its files.
    Database(sqlx::Error),
}

/// The codes with which PostgreSQL says that its own files are damaged: `data_corrupted` and `index_corrupted`.
const CORRUPTED: [&str; 2] = ["XX001", "XX002"];

impl Damage {
    /// The damage of a row whose column of this name is not what it should be.
    pub(super) fn column(name: &str) -> Self {
        Self::Row(format!("its {name} cannot be read"))
    }

    /// What it means to the reader that met it at a position.
    pub(super) fn at(self, position: Position) -> LogError {
        let reason = match self {
            Self::Row(reason) => reason,
            Self::Database(error) => {
                let text = connection::describe(&error);
                let code = error.as_database_error().and_then(|error| error.code());
                if !code.is_some_and(|code| CORRUPTED.contains(&&*code)) {
                    return LogError::Unavailable(text);
                }
                text
            }
        };
        LogError::Corrupt { position, reason: format!("{reason}; restore the log from a backup") }
    }
}

impl From<sqlx::Error> for Damage {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
