//! What a reader of the log may meet: a row that does not hold what it should, or a file that cannot be read.

use lantern_core::{Position, log::LogError};
use rusqlite::ErrorCode;

/// Why a row could not be read.
#[derive(Debug)]
pub(super) enum Damage {
    /// It does not hold what it should.
    Row(String),
    /// The file could not be read.
    File(rusqlite::Error),
}

impl Damage {
    /// The damage of a row whose column of this name is not what it should be.
    pub(super) fn column(name: &str) -> Self {
        Self::Row(format!("its {name} cannot be read"))
    }

    /// What it means to the reader that met it at a position.
    pub(super) fn at(self, position: Position) -> LogError {
        let reason = match self {
            Self::Row(reason) => reason,
            Self::File(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => error.to_string(),
                _ => return LogError::Unavailable(error.to_string()),
            },
        };
        LogError::Corrupt { position, reason: format!("{reason}; restore the log from a backup") }
    }
}

impl From<rusqlite::Error> for Damage {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error)
    }
}
