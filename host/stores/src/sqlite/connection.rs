//! Opens SQLite files: makes new ones whole or not at all, brings older ones up to date, and refuses files that are not
//! ours or from another time.

use std::{
    fmt::Display,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, config::DbConfig};

use super::schema::Kind;

/// Why a file of Lantern could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The file holds something else.
    #[error("`{}` is no {kind} of Lantern: move it away, or give another data folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it should have been.
        kind: &'static str,
    },
    /// The file was written by a later version of Lantern.
    #[error(
        "`{}` has schema version {found}, this Lantern knows {known}: use the version that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema version of the file.
        found: i32,
        /// The schema version of this program.
        known: i32,
    },
    /// The file was written by an earlier version of Lantern, whose tables are not read any more.
    #[error(
        "`{}` has schema version {found}, this Lantern needs {known}: use the version that wrote it, or begin with \
         another data folder",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The schema version of the file.
        found: i32,
        /// The schema version of this program.
        known: i32,
    },
    /// There is no such file.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder cannot be used.
    #[error("`{}` cannot be opened: {reason}; check that the folder is writable and the disk is well", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What the system or SQLite says.
        reason: String,
    },
}

/// How many prepared statements a reader keeps: each filter has its own.
const STATEMENTS: usize = 64;

/// How large a write-ahead log stays when its content has been moved, in bytes.
const WAL_KEPT: i64 = 64 * 1024 * 1024;

/// Whether a file may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It is made when it is not there.
    Create,
    /// It has to be there.
    Refuse,
}

/// Opens a file for writing, with its tables. `first` fills a new file in the transaction that makes it. Every commit is
/// durable when it returns.
pub(super) fn open(
    path: &Path,
    kind: &Kind,
    absent: Absent,
    first: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> Result<Connection, OpenError> {
    let unusable = |error: rusqlite::Error| unusable(path, error);
    if absent == Absent::Refuse && !path.exists() {
        return Err(OpenError::Missing { path: path.into() });
    }
    let new = !path.exists();
    if new {
        create_folder(path.parent().unwrap_or(Path::new(".")))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = if absent == Absent::Create { flags | OpenFlags::SQLITE_OPEN_CREATE } else { flags };
    let mut connection = Connection::open_with_flags(path, flags).map_err(unusable)?;
    let changes = check(&connection, path, kind)?;
    settle(&connection, path)?;
    if is_empty(&connection).map_err(unusable)? {
        if absent == Absent::Refuse {
            // A file without tables is what a crash leaves of one that was being made.
            return Err(OpenError::Missing { path: path.into() });
        }
        fill(&mut connection, kind, first).map_err(unusable)?;
        if new {
            sync_folder(path)?;
        }
    }
    update(&mut connection, kind, changes).map_err(unusable)?;
    Ok(connection)
}

/// Opens a file a second time, for reading only.
pub(super) fn open_reader(path: &Path, cache_kib: u32) -> rusqlite::Result<Connection> {
    // A connection opened read-only could not take part in the write-ahead log's bookkeeping.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    set_cache(&connection, cache_kib)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Sets how much of a file a connection keeps in memory, in KiB.
pub(super) fn set_cache(connection: &Connection, kib: u32) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -i64::from(kib))
}

/// Leaves it to the owner of a connection when the write-ahead log's content is moved into the file. After it has grown
/// large once, the write-ahead log gives the room back.
pub(super) fn own_checkpoints(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT)
}

/// Makes a folder and those above it.
pub(super) fn create_folder(folder: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(folder).map_err(|error| OpenError::Unusable { path: folder.into(), reason: error.to_string() })
}

/// Makes the entries of the folder a file stands in durable, and those of the folder above: a power loss must not take
/// back that the file exists.
fn sync_folder(path: &Path) -> Result<(), OpenError> {
    for folder in path.ancestors().skip(1).take(2).filter(|folder| !folder.as_os_str().is_empty()) {
        let synced: io::Result<()> = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| OpenError::Unusable { path: folder.into(), reason: error.to_string() })?;
    }
    Ok(())
}

/// Refuses a file of another program, of another kind or of a version that is not read. Answers what brings it up to date.
fn check(connection: &Connection, path: &Path, kind: &Kind) -> Result<&'static [&'static str], OpenError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let foreign = || OpenError::Foreign { path: path.into(), kind: kind.name };
    let application_id = pragma("application_id").map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => foreign(),
        _ => unusable(path, error),
    })?;
    if is_empty(connection).map_err(|error| unusable(path, error))? {
        return Ok(&[]);
    }
    if application_id != kind.application_id {
        return Err(foreign());
    }
    let found = pragma("user_version").map_err(|error| unusable(path, error))?;
    let known = kind.version;
    let behind = usize::try_from(known - found).map_err(|_| OpenError::Newer { path: path.into(), found, known })?;
    let from = kind.changes.len().checked_sub(behind);
    from.map(|from| &kind.changes[from..]).ok_or_else(|| OpenError::Older { path: path.into(), found, known })
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("select not exists (select 1 from sqlite_schema)", (), |row| row.get(0))
}

/// Sets what holds for every writing connection.
fn settle(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let settled = || {
        // Foreign schema content is never run, whoever wrote the file.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
    };
    let mode = settled().map_err(|error| unusable(path, error))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(unusable(path, format!("its file system cannot hold a write-ahead log (journal mode `{mode}`)")))
}

/// Makes the tables of a new file.
fn fill(
    connection: &mut Connection,
    kind: &Kind,
    first: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.pragma_update(None, "application_id", kind.application_id)?;
    transaction.pragma_update(None, "user_version", kind.version)?;
    transaction.execute_batch(kind.tables)?;
    first(&transaction)?;
    transaction.commit()
}

/// Brings the tables of a file up to date, in one transaction.
fn update(connection: &mut Connection, kind: &Kind, changes: &[&str]) -> rusqlite::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in changes {
        transaction.execute_batch(change)?;
    }
    transaction.pragma_update(None, "user_version", kind.version)?;
    transaction.commit()
}

fn unusable(path: &Path, error: impl Display) -> OpenError {
    OpenError::Unusable { path: path.into(), reason: error.to_string() }
}
