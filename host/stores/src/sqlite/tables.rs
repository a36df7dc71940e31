//! The transaction of a module's SQL tables, on the writing connection of its generation: opened before a batch, used by
//! calls on guest threads, and ended by the commit of the batch or by nobody having it any more.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use lantern_core::{
    Batch, EventId, Lease, Migration, SqlError, SqlValue, Tables, TablesError,
    sql::{Budget, Rows},
};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::OwnedMutexGuard;

use super::{
    commit::{Writer, write_batch},
    schedules,
    storage::Storage,
};
use crate::tables::{Guard, Known, Work};

/// What the writer keeps for SQL tables. Nothing, unless the module has some.
#[derive(Default)]
pub(super) struct Kept {
    guard: Option<Guard>,
    known: Known,
    open: Option<Open>,
}

/// A transaction that is open.
struct Open {
    id: u64,
    /// Gone when nobody can use or commit it any more.
    alive: Weak<()>,
    work: Work,
    /// Schedules whose events were emitted meanwhile. They are removed when the transaction ends, however it ends.
    fired: Vec<(Lease, Vec<EventId>)>,
}

/// How the commit of a batch in a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// It is committed.
    Yes,
    /// It did not pass the fence.
    Fenced,
    /// The transaction was lost before.
    Lost,
}

impl Writer {
    /// Opens a transaction, and rolls back one that is left over.
    pub(super) fn begin(
        &mut self,
        migrations: &[Migration],
        alive: &Arc<()>,
    ) -> rusqlite::Result<Result<u64, TablesError>> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        self.give_up()?;
        self.force(false)?;
        if self.tables.guard.is_none() {
            self.tables.guard = Some(Guard::install(&self.connection)?);
        }
        let Kept { guard: Some(guard), known, open } = &mut self.tables else {
            return Err(rusqlite::Error::InvalidQuery);
        };
        Ok(Work::begin(&self.connection, guard, known, migrations).map(|work| {
            let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            *open = Some(Open { id, alive: Arc::downgrade(alive), work, fired: Vec::new() });
            id
        }))
    }

    /// Whether a transaction is open that somebody has.
    pub(super) fn is_open(&self) -> bool {
        self.tables.open.as_ref().is_some_and(|open| open.alive.strong_count() > 0)
    }

    /// Rolls back the transaction that is open, if there is one.
    pub(super) fn give_up(&mut self) -> rusqlite::Result<()> {
        let Some(Open { work, fired, .. }) = self.tables.open.take() else { return Ok(()) };
        work.roll_back(&self.connection)?;
        for (lease, events) in fired {
            // Another owner removes them when it finds them emitted.
            let _ = self.fired(lease, &events)?;
        }
        Ok(())
    }

    /// Has schedules removed once the open transaction has ended. Says whether there is one.
    pub(super) fn fired_later(&mut self, lease: Lease, events: &[EventId]) -> bool {
        if !self.is_open() {
            return false;
        }
        if let Some(open) = &mut self.tables.open {
            open.fired.push((lease, events.to_vec()));
        }
        true
    }

    /// Does something in the transaction of this id.
    pub(super) fn work<T>(
        &mut self,
        id: u64,
        work: impl FnOnce(&mut Work, &Connection, &Guard) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        match &mut self.tables {
            Kept { guard: Some(guard), open: Some(open), .. } if open.id == id => {
                work(&mut open.work, &self.connection, guard)
            }
            _ => Err(SqlError::Unavailable("the transaction has ended".into())),
        }
    }

    /// Commits a batch in its transaction. After an error the writer is not to be used again.
    pub(super) fn commit_tables(&mut self, lease: Lease, batch: &Batch, id: u64) -> rusqlite::Result<Committed> {
        let Some(open) = self.tables.open.take_if(|open| open.id == id && open.work.is_open()) else {
            let checkpoint = super::commit::checkpoint(&self.connection)?;
            let fits = checkpoint.position == batch.from && checkpoint.epoch == lease.epoch;
            return Ok(if fits { Committed::Lost } else { Committed::Fenced });
        };
        let Some(new) = write_batch(&self.connection, &self.collections, lease, batch)? else {
            open.work.roll_back(&self.connection)?;
            return Ok(Committed::Fenced);
        };
        for (_, events) in &open.fired {
            schedules::fired(&self.connection, events)?;
        }
        self.connection.execute_batch("commit")?;
        open.work.committed(&mut self.tables.known);
        self.collections.extend(new);
        let decided = self.is_decided(batch);
        self.module = batch.module;
        if decided {
            self.sync()?;
        }
        Ok(Committed::Yes)
    }

    /// Forces all that is committed to the disk: with a commit that is forced, all before it is.
    fn sync(&mut self) -> rusqlite::Result<()> {
        self.force(true)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("update lantern_checkpoint set epoch = epoch", ())?;
        transaction.commit()
    }
}

/// The handle to a transaction.
pub(super) struct Transaction {
    storage: Arc<Storage>,
    id: u64,
    _alive: Arc<()>,
    /// The turn of this transaction: the next one waits for it.
    _turn: OwnedMutexGuard<()>,
}

impl Transaction {
    /// Opens a transaction when its turn has come.
    pub(super) fn open(
        storage: Arc<Storage>,
        migrations: &[Migration],
        turn: OwnedMutexGuard<()>,
    ) -> Result<Self, TablesError> {
        let alive = Arc::new(());
        let id = storage.begin(migrations, &alive)?;
        Ok(Self { storage, id, _alive: alive, _turn: turn })
    }
}

impl Tables for Transaction {
    fn id(&self) -> u64 {
        self.id
    }

    fn execute(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<u64, SqlError> {
        let run = |work: &mut Work, connection: &Connection, guard: &Guard| {
            work.answer(connection, guard, (statement, parameters), budget)
        };
        self.storage.work(self.id, run).map(|(_, changed)| changed)
    }

    fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        let run = |work: &mut Work, connection: &Connection, guard: &Guard| {
            work.answer(connection, guard, (statement, parameters), budget)
        };
        self.storage.work(self.id, run).map(|(rows, _)| rows)
    }

    fn mark(&self) -> Result<(), SqlError> {
        self.storage.work(self.id, |work, _, _| work.mark())
    }

    fn keep(&self) -> Result<(), SqlError> {
        self.storage.work(self.id, |work, connection, _| work.keep(connection))
    }

    fn undo(&self) -> Result<(), SqlError> {
        self.storage.work(self.id, |work, connection, _| work.undo(connection))
    }

    fn clashed(&self) -> bool {
        self.storage.work(self.id, |work, _, _| Ok(work.clashed())).unwrap_or(false)
    }

    fn is_open(&self) -> bool {
        self.storage.work(self.id, |work, _, _| Ok(work.is_open())).unwrap_or(false)
    }
}
