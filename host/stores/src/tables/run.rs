//! One statement of somebody else's: prepared under guard, bound, run within its budget, and answered.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use lantern_core::{
    SqlError, SqlValue,
    sql::{Budget, MAX_PARAMETERS, MAX_STATEMENT, Rows},
};
use rusqlite::{
    CachedStatement, Connection, ErrorCode,
    limits::Limit,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    guard::{Entered, Guard, Mode},
    words,
};

/// What the text of a statement ends with, so that it is never taken for one of the host's, which are not guarded.
const ENDING: &str = "\n--";

/// How long a value of the host's own may be, in bytes.
const HOSTS: i32 = 1_000_000_000;

/// Answers a query of an operator.
pub(crate) fn query(
    connection: &Connection,
    guard: &Guard,
    statement: &str,
    parameters: &[SqlValue],
    budget: &Budget,
) -> Result<Rows, SqlError> {
    answer(connection, guard, Mode::Reader, (statement, parameters), budget).map(|(rows, _)| rows)
}

/// Runs one statement. Answers the rows it found and how many it changed.
pub(crate) fn answer(
    connection: &Connection,
    guard: &Guard,
    mode: Mode,
    (statement, parameters): (&str, &[SqlValue]),
    budget: &Budget,
) -> Result<(Rows, u64), SqlError> {
    if statement.len() > MAX_STATEMENT {
        return Err(SqlError::Refused(format!(
            "it has {} bytes: at most {MAX_STATEMENT} are allowed",
            statement.len()
        )));
    }
    if statement.contains('\0') {
        return Err(SqlError::Refused("it has a zero byte".into()));
    }
    if parameters.len() > MAX_PARAMETERS {
        return Err(SqlError::Refused(format!(
            "it has {} parameters: at most {MAX_PARAMETERS} are allowed",
            parameters.len()
        )));
    }
    words::inspect(statement, mode).map_err(SqlError::Refused)?;
    guarded(connection, guard, mode, budget, |entered| {
        let mut prepared =
            connection.prepare_cached(&format!("{statement}{ENDING}")).map_err(|error| told(error, entered))?;
        bind(&mut prepared, parameters, entered)?;
        let rows = collect(&mut prepared, entered, budget)?;
        let changed = if prepared.readonly() { 0 } else { connection.changes() };
        Ok((rows, changed))
    })
}

/// Does something under guard and within a budget of time and size.
pub(super) fn guarded<T>(
    connection: &Connection,
    guard: &Guard,
    mode: Mode,
    budget: &Budget,
    work: impl FnOnce(&Entered<'_>) -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    let longest = i32::try_from(budget.bytes).unwrap_or(HOSTS).min(HOSTS);
    let limited = |most| connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, most).map_err(|error| unavailable(&error));
    limited(longest.max(1))?;
    let entered = guard.enter(mode, Instant::now() + budget.time);
    let done = work(&entered);
    drop(entered);
    limited(HOSTS)?;
    done
}

/// Hands parameters over: `$2` and `?2` are the second one wherever they stand.
fn bind(prepared: &mut CachedStatement<'_>, parameters: &[SqlValue], entered: &Entered<'_>) -> Result<(), SqlError> {
    let number = |place: usize| {
        let name = prepared.parameter_name(place);
        name.and_then(|name| name.get(1..)?.parse::<usize>().ok()).unwrap_or(place)
    };
    // Places that are not named in the text have nothing to be bound to.
    let places: Vec<usize> = (1..=prepared.parameter_count()).map(number).collect();
    let wanted = places.iter().copied().max().unwrap_or(0);
    if wanted != parameters.len() {
        return Err(SqlError::Failed(format!("it has {wanted} parameters, {} were handed over", parameters.len())));
    }
    for (index, number) in places.into_iter().enumerate() {
        let value = number.checked_sub(1).and_then(|number| parameters.get(number)).unwrap_or(&SqlValue::Null);
        prepared.raw_bind_parameter(index + 1, Parameter(value)).map_err(|error| told(error, entered))?;
    }
    Ok(())
}

fn collect(prepared: &mut CachedStatement<'_>, entered: &Entered<'_>, budget: &Budget) -> Result<Rows, SqlError> {
    let columns: Vec<String> = prepared.column_names().into_iter().map(String::from).collect();
    let width = columns.len();
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next().map_err(|error| told(error, entered))? {
        if found.len() == budget.rows {
            return Err(SqlError::Exceeded(format!("it found more than {} rows (`sql_rows`)", budget.rows)));
        }
        let mut values = Vec::with_capacity(width);
        for column in 0..width {
            let value = value(row.get_ref(column).map_err(|error| told(error, entered))?)?;
            bytes = bytes.saturating_add(value.size());
            values.push(value);
        }
        if bytes > budget.bytes {
            return Err(SqlError::Exceeded(format!("its rows have more than {} bytes (`sql_bytes`)", budget.bytes)));
        }
        found.push(values);
    }
    Ok(Rows { columns, rows: found })
}

/// A value as the database holds it.
pub(super) fn value(value: ValueRef<'_>) -> Result<SqlValue, SqlError> {
    Ok(match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(number) => SqlValue::Integer(number),
        ValueRef::Real(number) => SqlValue::Real(number),
        ValueRef::Text(text) => {
            let text = str::from_utf8(text).map_err(|_| SqlError::Failed("it found a text that is no UTF-8".into()))?;
            SqlValue::Text(Arc::from(text))
        }
        ValueRef::Blob(bytes) => SqlValue::Blob(Bytes::copy_from_slice(bytes)),
    })
}

/// A parameter.
struct Parameter<'a>(&'a SqlValue);

impl rusqlite::ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            SqlValue::Null => ValueRef::Null,
            SqlValue::Boolean(value) => ValueRef::Integer(i64::from(*value)),
            SqlValue::Integer(number) => ValueRef::Integer(*number),
            SqlValue::Real(number) => ValueRef::Real(*number),
            SqlValue::Text(text) => ValueRef::Text(text.as_bytes()),
            SqlValue::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// What an error of the database means for whoever wrote the statement.
pub(super) fn told(error: rusqlite::Error, entered: &Entered<'_>) -> SqlError {
    if let Some(refusal) = entered.refusal() {
        return SqlError::Refused(refusal);
    }
    if entered.is_over() {
        return SqlError::Exceeded("it took longer than the call may spend on its statements (`sql_ms`)".into());
    }
    let code = error.sqlite_error_code();
    let text = match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text,
        rusqlite::Error::SqlInputError { msg, offset, .. } if offset >= 0 => format!("{msg} (at byte {offset})"),
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    };
    match code {
        Some(ErrorCode::AuthorizationForStatementDenied) => SqlError::Refused(text),
        Some(ErrorCode::TooBig) => SqlError::Exceeded(format!("{text} (`sql_bytes`)")),
        Some(ErrorCode::ConstraintViolation) => SqlError::Constraint(text),
        Some(
            ErrorCode::Unknown
            | ErrorCode::TypeMismatch
            | ErrorCode::ParameterOutOfRange
            | ErrorCode::OperationAborted
            | ErrorCode::SchemaChanged,
        )
        | None => SqlError::Failed(text),
        Some(_) => SqlError::Unavailable(text),
    }
}

pub(super) fn unavailable(error: &rusqlite::Error) -> SqlError {
    SqlError::Unavailable(error.to_string())
}
