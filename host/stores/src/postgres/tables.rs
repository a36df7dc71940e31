//! The transaction of a module's SQL tables: opened before a batch, used by calls on guest threads, and ended by the commit
//! of the batch or by nobody having it any more.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use lantern_core::{
    Migration, SqlError, SqlValue, Tables, TablesError,
    sql::{Budget, Rows},
};
use sqlx::PgPool;
use tokio::{runtime::Handle, sync::OwnedMutexGuard};
use uuid::Uuid;

use super::{
    generation::Schema,
    work::{Known, Ran, Work},
};

/// What is kept for the SQL tables of a generation.
#[derive(Default)]
pub(super) struct Kept {
    /// Whose turn it is to write: transactions stay open while guests run.
    turns: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Known,
    open: Option<(u64, Arc<Inside>)>,
}

/// What a transaction works on.
struct Inside {
    /// `None` once it has ended.
    work: tokio::sync::Mutex<Option<Work>>,
    /// Whether it can be committed, for those who cannot wait for the work to say so.
    is_open: AtomicBool,
    clashed: AtomicBool,
}

impl Kept {
    /// Waits for the turn to write.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        self.turns.clone().lock_owned().await
    }

    /// Opens a transaction when its turn has come.
    pub(super) async fn open(
        &self,
        pool: &PgPool,
        (schema, identity): (&Schema, Uuid),
        migrations: &[Migration],
    ) -> Result<Transaction, TablesError> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let turn = self.turn().await;
        self.give_up().await;
        let known = self.state().known.clone();
        let work = Work::begin(pool, (schema, identity), &known, migrations).await?;
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let inside = Arc::new(Inside {
            work: tokio::sync::Mutex::new(Some(work)),
            is_open: AtomicBool::new(true),
            clashed: AtomicBool::new(false),
        });
        self.state().open = Some((id, inside.clone()));
        Ok(Transaction { id, inside, runtime: Handle::current(), _turn: turn })
    }

    /// Ends a transaction that nobody has any more. Its locks would be in the way of others until the next one begins.
    pub(super) async fn tidy(&self) {
        if let Ok(_turn) = self.turns.try_lock() {
            self.give_up().await;
        }
    }

    /// Takes the transaction of this id, to commit it; `None` when it was lost.
    pub(super) async fn take(&self, id: u64) -> Option<Work> {
        let (_, inside) = self.state().open.take_if(|(open, _)| *open == id)?;
        inside.is_open.store(false, Ordering::Relaxed);
        let work = inside.work.lock().await.take();
        work.filter(Work::is_open)
    }

    /// Takes note of what was committed.
    pub(super) fn committed(&self, ran: Vec<Ran>) {
        self.state().known = Some(ran);
    }

    /// Ends the transaction that is open, if there is one: nothing of it remains.
    pub(super) async fn give_up(&self) {
        let open = self.state().open.take();
        if let Some((_, inside)) = open {
            inside.is_open.store(false, Ordering::Relaxed);
            *inside.work.lock().await = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle to a transaction.
pub(super) struct Transaction {
    id: u64,
    inside: Arc<Inside>,
    runtime: Handle,
    /// The turn of this transaction: the next one waits for it.
    _turn: OwnedMutexGuard<()>,
}

impl Transaction {
    /// Does something in the transaction, and blocks the thread until it is done.
    fn work<T>(&self, work: impl AsyncFnOnce(&mut Work) -> Result<T, SqlError>) -> Result<T, SqlError> {
        self.runtime.block_on(async {
            let mut inside = self.inside.work.lock().await;
            let Some(own) = inside.as_mut() else {
                return Err(SqlError::Unavailable("the transaction has ended".into()));
            };
            let done = work(own).await;
            if !own.is_open() {
                self.inside.is_open.store(false, Ordering::Relaxed);
            }
            self.inside.clashed.store(own.clashed(), Ordering::Relaxed);
            done
        })
    }
}

impl Tables for Transaction {
    fn id(&self) -> u64 {
        self.id
    }

    fn execute(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<u64, SqlError> {
        self.work(async |work| work.answer((statement, parameters), budget).await).map(|(_, changed)| changed)
    }

    fn query(&self, statement: &str, parameters: &[SqlValue], budget: &Budget) -> Result<Rows, SqlError> {
        self.work(async |work| work.answer((statement, parameters), budget).await).map(|(rows, _)| rows)
    }

    fn mark(&self) -> Result<(), SqlError> {
        self.work(async |work| work.mark())
    }

    fn keep(&self) -> Result<(), SqlError> {
        self.work(async |work| work.keep())
    }

    fn undo(&self) -> Result<(), SqlError> {
        // What was lost has nothing left to take back.
        match self.work(async |work| {
            work.undo();
            Ok(())
        }) {
            Err(error) if self.is_open() => Err(error),
            _ => Ok(()),
        }
    }

    fn clashed(&self) -> bool {
        self.inside.clashed.load(Ordering::Relaxed)
    }

    fn is_open(&self) -> bool {
        self.inside.is_open.load(Ordering::Relaxed)
    }
}
