//! The dead letters of a generation: rows of the table `parked`.

use lantern_core::{Parked, Position, StreamName, parked::Standing};
use rusqlite::{Connection, OptionalExtension, Row, types::Type};

/// Records a parked event in place of what is recorded at its position.
pub(super) fn write(connection: &Connection, parked: &Parked) -> rusqlite::Result<()> {
    let record =
        serde_json::to_string(parked).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let standing = match parked.standing {
        Standing::Failed => "failed",
        Standing::Behind => "behind",
        Standing::Skipped => "skipped",
    };
    let mut statement = connection
        .prepare_cached("replace into lantern_parked (position, stream, standing, record) values (?1, ?2, ?3, ?4)")?;
    statement.execute((parked.position.0.cast_signed(), parked.stream.as_str(), standing, record))?;
    Ok(())
}

/// Removes the record at a position.
pub(super) fn release(connection: &Connection, position: Position) -> rusqlite::Result<()> {
    connection.prepare_cached("delete from lantern_parked where position = ?1")?.execute([position.0.cast_signed()])?;
    Ok(())
}

/// The records after a position, in order, at most `limit`.
pub(super) fn after(connection: &Connection, position: Position, limit: usize) -> rusqlite::Result<Vec<Parked>> {
    let mut statement = connection
        .prepare_cached("select record from lantern_parked where position > ?1 order by position limit ?2")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let position = i64::try_from(position.0).unwrap_or(i64::MAX);
    statement.query_map((position, limit), record)?.collect()
}

/// The record at a position.
pub(super) fn at(connection: &Connection, position: Position) -> rusqlite::Result<Option<Parked>> {
    let mut statement = connection.prepare_cached("select record from lantern_parked where position = ?1")?;
    statement.query_row([position.0.cast_signed()], record).optional()
}

/// The streams that have events which hold back the later ones, and how many.
pub(super) fn held(connection: &Connection) -> rusqlite::Result<Vec<(StreamName, u64)>> {
    let mut statement = connection.prepare_cached(
        "select stream, count(*) from lantern_parked where standing <> 'skipped' group by stream order by stream",
    )?;
    let streams = statement.query_map((), |row| {
        let stream = StreamName::new(row.get::<_, String>(0)?)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))?;
        Ok((stream, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    streams.collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<Parked> {
    serde_json::from_str(&row.get::<_, String>(0)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}
