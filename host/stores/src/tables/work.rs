//! One transaction of a module's on a connection: the migrations that were not run yet, the marks of its calls, and what is
//! left when the database had to give it up.

use std::time::Duration;

use lantern_core::{
    Digest, Migration, ReadModelError, SqlError, SqlValue, TablesError,
    sql::{Budget, Rows},
};
use rusqlite::{Batch, Connection, OptionalExtension, fallible_iterator::FallibleIterator};

use super::{
    guard::{Guard, Mode},
    run::{answer, guarded, told, unavailable},
    words,
};

/// What one migration may use: it may have to rewrite a large table.
const MIGRATION: Budget = Budget { rows: 0, bytes: 16 * 1024 * 1024, time: Duration::from_secs(60) };

/// A migration that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    name: String,
    digest: Digest,
}

/// What is known of the migrations that were run and committed; `None` until it is read.
pub(crate) type Known = Option<Vec<Ran>>;

/// Where the work of the call in hand begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// There is no call.
    None,
    /// Before its first statement: nothing is to be taken back yet.
    Wanted,
    /// At a savepoint.
    Set,
}

/// One transaction.
#[derive(Debug)]
pub(crate) struct Work {
    mark: Mark,
    /// Whether a statement of the last call broke a constraint.
    clashed: bool,
    /// Why the transaction is no more, if the database gave it up.
    lost: Option<SqlError>,
    ran: Vec<Ran>,
}

impl Work {
    /// Begins a transaction and runs the migrations that were not run before. After an error there is none.
    pub(crate) fn begin(
        connection: &Connection,
        guard: &Guard,
        known: &mut Known,
        migrations: &[Migration],
    ) -> Result<Self, TablesError> {
        connection.execute_batch("begin immediate").map_err(|error| failed(&error))?;
        let ran = migrate(connection, guard, known, migrations);
        if ran.is_err() && !connection.is_autocommit() {
            connection.execute_batch("rollback").map_err(|error| failed(&error))?;
        }
        Ok(Self { mark: Mark::None, clashed: false, lost: None, ran: ran? })
    }

    /// Runs one statement. Answers the rows it found and how many it changed.
    pub(crate) fn answer(
        &mut self,
        connection: &Connection,
        guard: &Guard,
        (statement, parameters): (&str, &[SqlValue]),
        budget: &Budget,
    ) -> Result<(Rows, u64), SqlError> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        if self.mark == Mark::Wanted {
            self.own(connection, "savepoint call")?;
            self.mark = Mark::Set;
        }
        let answer = answer(connection, guard, Mode::Rows, (statement, parameters), budget);
        self.clashed |= matches!(answer, Err(SqlError::Constraint(_)));
        if connection.is_autocommit() {
            // A statement that is ended while it writes takes the transaction with it.
            let reason = answer.as_ref().err().cloned();
            self.lost = Some(reason.unwrap_or_else(|| SqlError::Unavailable("the transaction ended".into())));
        }
        answer
    }

    /// Begins the work of a call.
    pub(crate) fn mark(&mut self) -> Result<(), SqlError> {
        (self.mark, self.clashed) = (Mark::Wanted, false);
        self.lost.clone().map_or(Ok(()), Err)
    }

    /// Ends the work of a call, which stays.
    pub(crate) fn keep(&mut self, connection: &Connection) -> Result<(), SqlError> {
        let mark = std::mem::replace(&mut self.mark, Mark::None);
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        if mark == Mark::Set { self.own(connection, "release call") } else { Ok(()) }
    }

    /// Ends the work of a call and takes it back.
    pub(crate) fn undo(&mut self, connection: &Connection) -> Result<(), SqlError> {
        let mark = std::mem::replace(&mut self.mark, Mark::None);
        if self.lost.is_some() || mark != Mark::Set {
            return Ok(());
        }
        self.own(connection, "rollback to call; release call")
    }

    /// Whether a statement of the last call broke a constraint.
    pub(crate) fn clashed(&self) -> bool {
        self.clashed
    }

    /// Whether it can be committed.
    pub(crate) fn is_open(&self) -> bool {
        self.lost.is_none()
    }

    /// Takes note that it was committed.
    pub(crate) fn committed(self, known: &mut Known) {
        *known = Some(self.ran);
    }

    /// Gives it up.
    pub(crate) fn roll_back(self, connection: &Connection) -> rusqlite::Result<()> {
        if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("rollback") }
    }

    /// A statement of the host's own. When it fails the transaction is good for nothing.
    fn own(&mut self, connection: &Connection, statement: &str) -> Result<(), SqlError> {
        connection.execute_batch(statement).map_err(|error| {
            let lost = unavailable(&error);
            self.lost = Some(lost.clone());
            lost
        })
    }
}

/// Runs the migrations that were not run before. Answers all that were run.
fn migrate(
    connection: &Connection,
    guard: &Guard,
    known: &mut Known,
    migrations: &[Migration],
) -> Result<Vec<Ran>, TablesError> {
    let mut ran = match known {
        Some(ran) => ran.clone(),
        None => known.insert(read(connection).map_err(|error| failed(&error))?).clone(),
    };
    for (index, (migration, ran)) in migrations.iter().zip(&ran).enumerate() {
        if migration.digest() != ran.digest {
            let (name, ran) = (migration.name.clone(), ran.name.clone());
            return Err(TablesError::Differs { number: index + 1, name, ran });
        }
    }
    // A module that is gone back to may know fewer of them.
    for (index, migration) in migrations.iter().enumerate().skip(ran.len()) {
        run(connection, guard, migration).map_err(|error| refused(index + 1, migration, error))?;
        ran.push(record(connection, index + 1, migration).map_err(|error| failed(&error))?);
    }
    Ok(ran)
}

fn run(connection: &Connection, guard: &Guard, migration: &Migration) -> Result<(), SqlError> {
    words::inspect(&migration.sql, Mode::Schema).map_err(SqlError::Refused)?;
    guarded(connection, guard, Mode::Schema, &MIGRATION, |entered| {
        let mut statements = Batch::new(connection, &migration.sql);
        while let Some(mut statement) = statements.next().map_err(|error| told(error, entered))? {
            let mut rows = statement.raw_query();
            while rows.next().map_err(|error| told(error, entered))?.is_some() {}
        }
        Ok(())
    })
}

fn refused(number: usize, migration: &Migration, error: SqlError) -> TablesError {
    match error {
        SqlError::Unavailable(reason) => ReadModelError::Unavailable(reason).into(),
        error => TablesError::Migration { number, name: migration.name.clone(), reason: error.to_string() },
    }
}

/// The migrations that were run in this schema.
fn read(connection: &Connection) -> rusqlite::Result<Vec<Ran>> {
    let there = connection
        .query_row("select 1 from sqlite_schema where name = 'lantern_migration'", (), |_| Ok(()))
        .optional()?;
    if there.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("select name, digest from lantern_migration order by number")?;
    let ran = statement.query_map((), |row| Ok(Ran { name: row.get(0)?, digest: Digest(row.get(1)?) }))?;
    ran.collect()
}

fn record(connection: &Connection, number: usize, migration: &Migration) -> rusqlite::Result<Ran> {
    connection.execute_batch(
        "create table if not exists lantern_migration (
            number integer primary key,
            name text not null,
            digest blob not null
        ) strict",
    )?;
    let ran = Ran { name: migration.name.clone(), digest: migration.digest() };
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    connection.execute(
        "insert into lantern_migration (number, name, digest) values (?1, ?2, ?3)",
        (number, &ran.name, ran.digest.0),
    )?;
    Ok(ran)
}

fn failed(error: &rusqlite::Error) -> TablesError {
    ReadModelError::Unavailable(error.to_string()).into()
}
