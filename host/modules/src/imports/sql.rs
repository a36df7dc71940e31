//! `lantern:module/sql`: the SQL tables of the read model.

use lantern_core::{SqlError, SqlValue, module::Failure, sql::Rows as Found};

use crate::{
    bindings::processor::lantern::module::sql::{Error, Host, Rows, Value},
    state::State,
};

/// The name under which the interface is served.
pub(super) const NAME: &str = "lantern:module/sql@0.1.0";

impl Host for State {
    fn execute(&mut self, statement: String, parameters: Vec<Value>) -> wasmtime::Result<Result<u64, Error>> {
        let parameters = parameters.into_iter().map(taken).collect::<Vec<_>>();
        answered(self.sql.execute(&mut self.room, &statement, &parameters))
    }

    fn query(&mut self, statement: String, parameters: Vec<Value>) -> wasmtime::Result<Result<Rows, Error>> {
        let parameters = parameters.into_iter().map(taken).collect::<Vec<_>>();
        let found = self.sql.query(&mut self.room, &statement, &parameters);
        answered(found.map(|found| found.map(lent)))
    }
}

fn lent(found: Found) -> Rows {
    let Found { columns, rows } = found;
    Rows { columns, rows: rows.into_iter().map(|row| row.into_iter().map(given).collect()).collect() }
}

/// What the module is told. Trouble that is not the statement's ends the call.
fn answered<T>(answer: Result<Result<T, SqlError>, Failure>) -> wasmtime::Result<Result<T, Error>> {
    match answer? {
        Ok(answer) => Ok(Ok(answer)),
        Err(SqlError::Refused(reason)) => Ok(Err(Error::Refused(reason))),
        Err(SqlError::Failed(reason)) => Ok(Err(Error::Failed(reason))),
        Err(SqlError::Constraint(reason)) => Ok(Err(Error::Constraint(reason))),
        Err(SqlError::Exceeded(reason)) => Ok(Err(Error::Exceeded(reason))),
        Err(error @ SqlError::Unavailable(_)) => Err(Failure::from(error).into()),
    }
}

fn taken(value: Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Boolean(value) => SqlValue::Boolean(value),
        Value::Integer(number) => SqlValue::Integer(number),
        Value::Real(number) => SqlValue::Real(number),
        Value::Text(text) => SqlValue::Text(text.into()),
        Value::Blob(bytes) => SqlValue::Blob(bytes.into()),
    }
}

fn given(value: SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Boolean(value) => Value::Boolean(value),
        SqlValue::Integer(number) => Value::Integer(number),
        SqlValue::Real(number) => Value::Real(number),
        SqlValue::Text(text) => Value::Text(text.as_ref().into()),
        SqlValue::Blob(bytes) => Value::Blob(bytes.into()),
    }
}
