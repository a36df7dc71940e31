//! The SQL tables of a generation in memory: a database of their own, of which a transaction has a copy that takes its place
//! at the commit. So reads see what is committed, and nothing has to be undone.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lantern_core::{
    Migration, ReadModelError, SqlError, SqlValue, Tables, TablesError,
    digest::ReadModelDigest,
    documents::OWN,
    sql::{Budget, Rows},
};
use rusqlite::{Connection, backup::Backup};
use tokio::sync::OwnedMutexGuard;

use crate::tables::{Guard, Known, Work, add, query};

/// The tables of one generation, as they are committed; none before the first transaction.
#[derive(Default)]
pub(super) struct Database {
    committed: Option<Open>,
    /// The transaction that may be committed next.
    open: Option<(u64, Arc<Mutex<Inside>>)>,
}

/// A database and its guard.
struct Open {
    connection: Connection,
    guard: Guard,
    known: Known,
}

/// What a transaction works on.
struct Inside {
    /// `None` once it has taken the place of what was committed.
    database: Option<Open>,
    work: Option<Work>,
}

impl Open {
    fn new() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        let guard = Guard::install(&connection)?;
        Ok(Self { connection, guard, known: None })
    }

    fn copy(&self) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        Backup::new(&self.connection, &mut connection)?.step(-1)?;
        let guard = Guard::install(&connection)?;
        Ok(Self { connection, guard, known: self.known.clone() })
    }
}

impl Database {
    /// Opens a transaction whose turn has come.
    pub(super) fn begin(
        &mut self,
        migrations: &[Migration],
        turn: OwnedMutexGuard<()>,
    ) -> Result<Transaction, TablesError> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let copied = self.committed.as_ref().map_or_else(Open::new, Open::copy);
        let mut database = copied.map_err(|error| unavailable(&error))?;
        let work = Work::begin(&database.connection, &database.guard, &mut database.known, migrations)?;
        let inside = Arc::new(Mutex::new(Inside { database: Some(database), work: Some(work) }));
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        self.open = Some((id, inside.clone()));
        Ok(Transaction { id, inside, _turn: turn })
    }

    /// Commits a transaction. The answer is whether it was still there.
    pub(super) fn commit(&mut self, id: u64) -> Result<bool, String> {
        let Some((_, inside)) = self.open.take_if(|(open, _)| *open == id) else { return Ok(false) };
        let mut inside = lock(&inside);
        let (Some(mut database), Some(work)) = (inside.database.take(), inside.work.take()) else { return Ok(false) };
        if !work.is_open() {
            return Ok(false);
        }
        database.connection.execute_batch("commit").map_err(|error| error.to_string())?;
        work.committed(&mut database.known);
        self.committed = Some(database);
        Ok(true)
    }

    /// Gives up the transaction that is open: there is a new owner.
    pub(super) fn give_up(&mut self) {
        if let Some((_, inside)) = self.open.take() {
            *lock(&inside) = Inside { database: None, work: None };
        }
    }

    /// Answers a query of an operator, who sees documents beside the tables: in a copy they are a table as well.
    pub(super) fn query<'d>(
        &self,
        documents: impl Iterator<Item = [&'d str; 3]>,
        (statement, parameters): (&str, &[SqlValue]),
        budget: &Budget,
    ) -> Result<Rows, SqlError> {
        let open = self.shown(documents).map_err(|error| SqlError::Unavailable(error.to_string()))?;
        query(&open.connection, &open.guard, statement, parameters, budget)
    }

    fn shown<'d>(&self, documents: impl Iterator<Item = [&'d str; 3]>) -> rusqlite::Result<Open> {
        let open = self.committed.as_ref().map_or_else(Open::new, Open::copy)?;
        open.connection.execute_batch("create table lantern_documents (collection text, key text, value text)")?;
        let mut insert = open.connection.prepare("insert into lantern_documents values (?1, ?2, ?3)")?;
        for document in documents.filter(|[collection, ..]| !collection.starts_with(OWN)) {
            insert.execute(document)?;
        }
        drop(insert);
        Ok(open)
    }

    /// Adds the tables to the digest of a read model.
    pub(super) fn digest(&self, digest: &mut ReadModelDigest) -> Result<(), ReadModelError> {
        let Some(open) = &self.committed else { return Ok(()) };
        add(&open.connection, digest).map_err(|error| unavailable(&error))
    }
}

/// The handle to a transaction.
pub(super) struct Transaction {
    id: u64,
    inside: Arc<Mutex<Inside>>,
    /// The turn of this transaction: the next one waits for it.
    _turn: OwnedMutexGuard<()>,
}

impl Transaction {
    fn work<T>(&self, work: impl FnOnce(&mut Work, &Open) -> Result<T, SqlError>) -> Result<T, SqlError> {
        match &mut *lock(&self.inside) {
            Inside { database: Some(database), work: Some(own) } => work(own, database),
            _ => Err(SqlError::Unavailable("the transaction has ended".into())),
        }
    }
}

impl Tables for Transaction {
    fn id(&self) -> u64 {
        self.id
    }

    fn execute(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<u64, SqlError> {
        let run =
            |work: &mut Work, open: &Open| work.answer(&open.connection, &open.guard, (statement, parameters), budget);
        self.work(run).map(|(_, changed)| changed)
    }

    fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        let run =
            |work: &mut Work, open: &Open| work.answer(&open.connection, &open.guard, (statement, parameters), budget);
        self.work(run).map(|(rows, _)| rows)
    }

    fn mark(&self) -> Result<(), SqlError> {
        self.work(|work, _| work.mark())
    }

    fn keep(&self) -> Result<(), SqlError> {
        self.work(|work, open| work.keep(&open.connection))
    }

    fn undo(&self) -> Result<(), SqlError> {
        self.work(|work, open| work.undo(&open.connection))
    }

    fn clashed(&self) -> bool {
        self.work(|work, _| Ok(work.clashed())).unwrap_or(false)
    }

    fn is_open(&self) -> bool {
        self.work(|work, _| Ok(work.is_open())).unwrap_or(false)
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    // A panic in the middle of a statement leaves a transaction that is never committed.
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(error: &dyn Display) -> ReadModelError {
    ReadModelError::Unavailable(format!("the tables in memory failed: {error}"))
}
