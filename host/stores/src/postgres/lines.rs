//! Connections for threads that wait for the answer themselves: those on which guests run.
//!
//! Each has a runtime of its own, driven by the thread that asks. So an answer wakes that thread and no other, and
//! costs no hop from a worker of the host's runtime to the guest's thread and back. All guests share a few of them,
//! however many projections a host has; one that finds none free waits its turn.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{PgConnection, postgres::PgConnectOptions};
use tokio::{
    runtime::{Builder, Runtime},
    time,
};

use super::connection;

/// How many there are at most.
const MOST: usize = 4;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The connections.
pub(super) struct Lines {
    options: PgConnectOptions,
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Line>,
    /// How many are in use.
    used: usize,
}

/// A connection and the runtime it belongs to.
struct Line {
    connection: PgConnection,
    // `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Lines {
    /// Makes ready; no connection is opened yet.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, state: Mutex::default(), given_back: Condvar::new() }
    }

    /// Asks, and blocks the thread until the answer is there. A question that fails on a connection that was kept may
    /// be asked again on a new one: the server may have closed the old one while nobody looked.
    pub(super) fn ask<T>(&self, question: &impl AsyncFn(&mut PgConnection) -> sqlx::Result<T>) -> sqlx::Result<T> {
        let place = self.enter();
        let kept = self.state().idle.pop();
        if let Some(line) = kept {
            match place.ask(line, question) {
                Err(error) if is_lost(&error) => self.state().idle.clear(),
                answer => return answer,
            }
        }
        place.ask(Line::open(&self.options)?, question)
    }

    /// Waits until one more may be used.
    fn enter(&self) -> Place<'_> {
        let state = self.state();
        let waited = self.given_back.wait_while(state, |state| state.used == MOST);
        waited.unwrap_or_else(PoisonError::into_inner).used += 1;
        Place(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The list and the number are whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to use one connection.
struct Place<'l>(&'l Lines);

impl Place<'_> {
    /// Asks on a connection and keeps it for the next question, unless it is lost.
    fn ask<T>(&self, mut line: Line, question: &impl AsyncFn(&mut PgConnection) -> sqlx::Result<T>) -> sqlx::Result<T> {
        let Line { connection, runtime: Some(runtime) } = &mut line else { return Err(sqlx::Error::WorkerCrashed) };
        let answer = runtime.block_on(async { within(PATIENCE, question(connection)).await });
        if !answer.as_ref().is_err_and(is_lost) {
            self.0.state().idle.push(line);
        }
        answer
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().used -= 1;
        self.0.given_back.notify_one();
    }
}

impl Line {
    fn open(options: &PgConnectOptions) -> sqlx::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(connection::connect(options))?;
        Ok(Self { connection, runtime: Some(runtime) })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The usual drop of a runtime waits for its threads, which is not allowed on a tokio worker.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn within<T>(patience: Duration, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    time::timeout(patience, answer)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

/// Whether an error leaves a connection that cannot be used again: all but those that the server answers while it stays
/// connected.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            // Class 57 is the intervention of an operator, a restart for example.
            error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
        }
        sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } => false,
        _ => true,
    }
}
