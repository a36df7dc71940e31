//! The dead letters of a generation: rows of the table `parked`.

use std::collections::BTreeMap;

use lantern_core::{Parked, Position, StreamName, parked::Standing};
use sqlx::{PgConnection, Row, postgres::PgRow, query};

use super::generation::Schema;

/// Records parked events in place of what is recorded at their positions.
pub(super) async fn write(connection: &mut PgConnection, schema: &Schema, parked: &[Parked]) -> sqlx::Result<()> {
    const WRITE: &str = "
        insert into $schema.lantern_parked (position, stream, standing, record)
        select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
        on conflict (position) do update
        set stream = excluded.stream, standing = excluded.standing, record = excluded.record";
    if parked.is_empty() {
        return Ok(());
    }
    // Of two records for a position the later one counts; one statement cannot write a row twice.
    let parked: BTreeMap<Position, &Parked> = parked.iter().map(|parked| (parked.position, parked)).collect();
    let positions: Vec<_> = parked.keys().map(|position| position.0.cast_signed()).collect();
    let streams: Vec<_> = parked.values().map(|parked| parked.stream.as_str()).collect();
    let standings: Vec<_> = parked.values().map(|parked| standing(parked.standing)).collect();
    let records: Result<Vec<_>, _> = parked.values().map(serde_json::to_string).collect();
    let records = records.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let rows = query(schema.statement(WRITE)).bind(positions).bind(streams).bind(standings).bind(records);
    rows.execute(connection).await?;
    Ok(())
}

/// Removes the records at these positions.
pub(super) async fn release(
    connection: &mut PgConnection,
    schema: &Schema,
    positions: &[Position],
) -> sqlx::Result<()> {
    if positions.is_empty() {
        return Ok(());
    }
    let positions: Vec<_> = positions.iter().map(|position| position.0.cast_signed()).collect();
    let release = schema.statement("delete from $schema.lantern_parked where position = any($1)");
    query(release).bind(positions).execute(connection).await?;
    Ok(())
}

/// The records after a position, in order, at most `limit`.
pub(super) async fn after(
    connection: &mut PgConnection,
    schema: &Schema,
    position: Position,
    limit: usize,
) -> sqlx::Result<Vec<Parked>> {
    let position = i64::try_from(position.0).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after =
        schema.statement("select record from $schema.lantern_parked where position > $1 order by position limit $2");
    query(after).bind(position).bind(limit).try_map(|row| record(&row)).fetch_all(connection).await
}

/// The record at a position.
pub(super) async fn at(
    connection: &mut PgConnection,
    schema: &Schema,
    position: Position,
) -> sqlx::Result<Option<Parked>> {
    let at = schema.statement("select record from $schema.lantern_parked where position = $1");
    query(at).bind(position.0.cast_signed()).try_map(|row| record(&row)).fetch_optional(connection).await
}

/// The streams that have events which hold back the later ones, and how many.
pub(super) async fn held(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<Vec<(StreamName, u64)>> {
    const HELD: &str = "select stream, count(*) from $schema.lantern_parked where standing <> 'skipped' group by stream order by stream";
    let held = |row: PgRow| {
        let stream = StreamName::new(row.try_get::<&str, _>(0)?);
        let damaged = |error| sqlx::Error::ColumnDecode { index: "stream".into(), source: error };
        Ok((stream.map_err(|error| damaged(error.into()))?, row.try_get::<i64, _>(1)?.cast_unsigned()))
    };
    query(schema.statement(HELD)).try_map(held).fetch_all(connection).await
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Failed => "failed",
        Standing::Behind => "behind",
        Standing::Skipped => "skipped",
    }
}

fn record(row: &PgRow) -> sqlx::Result<Parked> {
    let record = serde_json::from_str(row.try_get(0)?);
    record.map_err(|error| sqlx::Error::ColumnDecode { index: "record".into(), source: error.into() })
}
