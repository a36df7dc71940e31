//! Reads of the log: pages in both directions, streams, single events. A page is checked to be without holes.
//!
//! Events up to the durable head never change, so the statements of one read need no common snapshot.

use lantern_core::{
    Event, EventId, Filter, Page, Position, StreamName, Version,
    log::{Direction, LogError, Range},
};
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgRow};

use super::{
    damage::Damage,
    keys,
    row::{self, COLUMNS, Words},
};
use crate::page::{self, Stretch};

/// Reads a page of a stretch that is not empty; `limit` is at least 1.
pub(super) async fn page(
    connection: &mut PgConnection,
    stretch: Stretch,
    filter: &Filter,
    limit: usize,
) -> Result<Page, LogError> {
    let rows = rows(connection, stretch, filter, limit).await;
    let page = collect(rows.map_err(|error| Damage::Database(error).at(stretch.first()))?, stretch, limit)?;
    let read = stretch.until(page.end);
    // Without a filter, as many events as positions is proof enough.
    if !filter.is_all() || page.events.len() as u64 != read.high - read.low + 1 {
        check_dense(connection, read).await?;
    }
    Ok(page)
}

/// The rows of a page. No more are sent than what fits, and one that does not.
async fn rows(
    connection: &mut PgConnection,
    stretch: Stretch,
    filter: &Filter,
    limit: usize,
) -> sqlx::Result<Vec<PgRow>> {
    let (order, mut wanted) = (order(stretch.direction), String::new());
    let parts = [
        ("split_part(stream, '-', 1)", &filter.categories),
        ("type", &filter.event_types),
        ("tenant", &filter.tenants),
    ];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    for ((column, _), parameter) in parts.clone().zip(5..) {
        wanted.push_str(&format!(" and {column} = any(${parameter})"));
    }
    let query = format!(
        "select {COLUMNS} from (
            select *, sum(octet_length(data)) over (order by position {order} rows unbounded preceding) as bytes
            from (
                select * from event where position between $1 and $2{wanted} order by position {order} limit $3
            ) as fitting
        ) as weighed
        where bytes - octet_length(data) <= $4
        order by position {order}"
    );
    let mut query = sqlx::query(AssertSqlSafe(query))
        .bind(integer(stretch.low))
        .bind(integer(stretch.high))
        .bind(integer(limit as u64))
        .bind(integer(page::MAX_BYTES as u64));
    for (_, names) in parts {
        query = query.bind(names.iter().map(|name| keys::escape(name).into_owned()).collect::<Vec<_>>());
    }
    query.fetch_all(connection).await
}

fn collect(rows: Vec<PgRow>, stretch: Stretch, limit: usize) -> Result<Page, LogError> {
    let (mut events, mut bytes, mut met) = (Vec::<Event>::with_capacity(rows.len()), 0, stretch.first());
    let mut words = Words::default();
    for row in rows {
        let decoded = row::decode(&row, &mut words);
        let event = decoded.map_err(|damage| damage.at(row::position(&row).unwrap_or(met)))?;
        met = event.position;
        bytes += page::weight(&event);
        if bytes > page::MAX_BYTES && !events.is_empty() {
            let end = events.last().map_or(met, |event| event.position);
            return Ok(Page { events, end });
        }
        events.push(event);
    }
    // What weighs too much alone is all that was sent.
    let whole = events.len() < limit && bytes <= page::MAX_BYTES;
    Ok(Page { events, end: if whole { stretch.last() } else { met } })
}

/// Checks that every position of a stretch is there.
async fn check_dense(connection: &mut PgConnection, stretch: Stretch) -> Result<(), LogError> {
    const COUNT: &str = "select count(*) from event where position between $1 and $2";
    const HOLE: &str = "
        select position from generate_series($1::bigint, $2::bigint) as wanted (position)
        where not exists (select from event where position = wanted.position)
        order by position limit 1";
    let (low, high) = (integer(stretch.low), integer(stretch.high));
    let failed = |error| Damage::Database(error).at(Position(stretch.low));
    let count = sqlx::query_scalar(COUNT).bind(low).bind(high).fetch_one(&mut *connection);
    let found: i64 = count.await.map_err(failed)?;
    if found == high - low + 1 {
        return Ok(());
    }
    let hole = sqlx::query_scalar(HOLE).bind(low).bind(high).fetch_one(connection);
    let position: i64 = hole.await.map_err(failed)?;
    Err(Damage::Row("the event is missing".into()).at(Position(position.cast_unsigned())))
}

/// Reads a part of a stream.
pub(super) async fn stream(
    connection: &mut PgConnection,
    stream: &StreamName,
    range: Range,
) -> Result<Vec<Event>, LogError> {
    let forward = range.direction == Direction::Forward;
    let query = format!(
        "select {COLUMNS} from event where stream = $1 and version between $2 and $3
            order by version {} limit $4",
        order(range.direction)
    );
    let from = range.from.0.max(1);
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(keys::escape(stream.as_str()))
        .bind(integer(from))
        .bind(integer(range.to.0))
        .bind(integer(range.limit as u64))
        .fetch_all(connection)
        .await
        .map_err(|error| Damage::Database(error).at(Position::START))?;
    let mut next = forward.then_some(Version(from));
    let (mut events, mut words) = (Vec::with_capacity(rows.len()), Words::default());
    for row in rows {
        let event = decode(&row, &mut words)?;
        if next.is_some_and(|next| next != event.version) {
            let reason = format!("an event of stream `{stream}` beside its version {} is missing", event.version);
            return Err(Damage::Row(reason).at(event.position));
        }
        next = Some(Version(if forward { event.version.0 + 1 } else { event.version.0.saturating_sub(1) }));
        events.push(event);
    }
    Ok(events)
}

/// The version and the position of a stream's last event.
pub(super) async fn last(connection: &mut PgConnection, stream: &StreamName) -> sqlx::Result<(Version, Position)> {
    let last: Option<(i64, i64)> =
        sqlx::query_as("select version, position from event where stream = $1 order by version desc limit 1")
            .bind(keys::escape(stream.as_str()))
            .fetch_optional(connection)
            .await?;
    let (version, position) = last.unwrap_or_default();
    Ok((Version(version.cast_unsigned()), Position(position.cast_unsigned())))
}

/// The event with an id.
pub(super) async fn event(connection: &mut PgConnection, id: EventId) -> Result<Option<Event>, LogError> {
    let query = format!("select {COLUMNS} from event where id = $1");
    let row = sqlx::query(AssertSqlSafe(query)).bind(id).fetch_optional(connection).await;
    let row = row.map_err(|error| Damage::Database(error).at(Position::START))?;
    row.as_ref().map(|row| decode(row, &mut Words::default())).transpose()
}

fn decode(row: &PgRow, words: &mut Words) -> Result<Event, LogError> {
    let decoded = row::decode(row, words);
    decoded.map_err(|damage| damage.at(row::position(row).unwrap_or(Position::START)))
}

fn order(direction: Direction) -> &'static str {
    if direction == Direction::Forward { "asc" } else { "desc" }
}

/// A number as PostgreSQL knows it: signed, so that larger ones become the largest.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
