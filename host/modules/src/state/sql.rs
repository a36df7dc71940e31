//! The SQL tables as one call sees them: which statements it may still run, and what they cost so far.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lantern_core::{
    SqlError, SqlValue, Tables, View,
    module::{Failure, FailureKind},
    sql::{Budget, Rows},
};

use super::{Deployment, Room};

/// The most statements one call may run.
const STATEMENTS: u32 = 10_000;

/// The SQL tables as one call sees them.
pub(crate) struct Sql {
    deployment: Arc<Deployment>,
    view: Option<Arc<dyn View>>,
    statements: u32,
    spent: Duration,
}

impl Sql {
    /// No tables: what there is before the first call.
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        Self { deployment, view: None, statements: 0, spent: Duration::ZERO }
    }

    /// Begins a call on top of what a view shows.
    pub(crate) fn begin(&mut self, view: Arc<dyn View>) {
        (self.view, self.statements, self.spent) = (Some(view), 0, Duration::ZERO);
    }

    /// Ends the call.
    pub(crate) fn end(&mut self) {
        self.view = None;
    }

    /// How many statements the call ran, and how long they took together.
    pub(crate) fn ran(&mut self) -> (u32, Duration) {
        (std::mem::take(&mut self.statements), std::mem::take(&mut self.spent))
    }

    /// Runs one statement. The inner error is the module's to deal with.
    pub(crate) fn execute(
        &mut self,
        room: &mut Room,
        statement: &str,
        parameters: &[SqlValue],
    ) -> Result<Result<u64, SqlError>, Failure> {
        self.run(room, statement, parameters, |tables, budget| tables.execute(statement, parameters, budget))
    }

    /// Runs one statement and answers what it found. The inner error is the module's to deal with.
    pub(crate) fn query(
        &mut self,
        room: &mut Room,
        statement: &str,
        parameters: &[SqlValue],
    ) -> Result<Result<Rows, SqlError>, Failure> {
        self.run(room, statement, parameters, |tables, budget| tables.query(statement, parameters, budget))
    }

    fn run<T>(
        &mut self,
        room: &mut Room,
        statement: &str,
        parameters: &[SqlValue],
        run: impl FnOnce(&dyn Tables, &Budget) -> Result<T, SqlError>,
    ) -> Result<Result<T, SqlError>, Failure> {
        let limit = |message: String| Failure::new(FailureKind::Limit, message);
        let Some(view) = &self.view else {
            return Err(limit("the module used its SQL tables without an event in hand: only `handle` may".into()));
        };
        let Some(tables) = view.tables() else {
            return Err(Failure::new(FailureKind::Host, "there are no SQL tables here"));
        };
        let size = statement.len() + parameters.iter().map(SqlValue::size).sum::<usize>();
        room.take(size).map_err(|allowed| {
            limit(format!("the module handed over more than {allowed} bytes in one call (`host_call_bytes`)"))
        })?;
        if self.statements == STATEMENTS {
            return Err(limit(format!("the module ran more than {STATEMENTS} SQL statements in one call")));
        }
        self.statements += 1;
        if parameters.iter().any(|value| matches!(value, SqlValue::Real(number) if number.is_nan())) {
            return Ok(Err(SqlError::Refused("one of its parameters is no number (NaN)".into())));
        }
        let whole = Budget::from(&self.deployment.settings.limits);
        let budget = Budget { time: whole.time.saturating_sub(self.spent), ..whole };
        let began = Instant::now();
        let answer = run(&*tables, &budget);
        self.spent += began.elapsed();
        Ok(answer)
    }
}
