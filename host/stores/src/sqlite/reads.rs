//! Reads of the log: pages in both directions, streams, single events. A page is checked to be without holes.

use lantern_core::{
    Event, EventId, Filter, Page, Position, StreamName, Version,
    log::{Direction, LogError, Range},
};
use rusqlite::{Connection, Statement, params};

use super::{
    damage::Damage,
    ids,
    names::{self, Names},
    readers::Reader,
    row::{self, COLUMNS},
};
use crate::page::{self, Stretch};

/// Reads a page of a stretch that is not empty; `limit` is at least 1.
pub(super) fn page(
    reader: &mut Reader<Names>,
    stretch: Stretch,
    filter: &Filter,
    limit: usize,
) -> Result<Page, LogError> {
    let first = stretch.first();
    // Both statements of a filtered read have to see the same log.
    let transaction = reader.connection.unchecked_transaction().map_err(|error| Damage::File(error).at(first))?;
    let wanted = wanted(&transaction, filter).map_err(|error| Damage::File(error).at(first))?;
    let page = collect(&transaction, &mut reader.state, stretch, &wanted, limit)?;
    let read = stretch.until(page.end);
    // Without a filter, as many events as positions is proof enough.
    if !filter.is_all() || page.events.len() as u64 != read.high - read.low + 1 {
        check_dense(&transaction, read)?;
    }
    Ok(page)
}

/// The condition a filter puts on a row. Names that no event has yet have no number, and fit none.
fn wanted(connection: &Connection, filter: &Filter) -> rusqlite::Result<String> {
    let mut condition = String::new();
    let parts =
        [("category", &filter.categories), ("type", &filter.event_types), ("tenant", &filter.tenants)].into_iter();
    for (column, names) in parts.filter(|(_, names)| !names.is_empty()) {
        let mut numbers = Vec::new();
        for name in names {
            numbers.extend(names::number(connection, name)?.map(|number| number.to_string()));
        }
        condition.push_str(&format!(" and {column} in ({})", numbers.join(", ")));
    }
    Ok(condition)
}

fn collect(
    connection: &Connection,
    names: &mut Names,
    stretch: Stretch,
    wanted: &str,
    limit: usize,
) -> Result<Page, LogError> {
    let order = if stretch.direction == Direction::Forward { "asc" } else { "desc" };
    let query = format!(
        "select {COLUMNS} from event where position between ?1 and ?2{wanted} order by position {order} limit ?3"
    );
    let mut met = stretch.first();
    let failed = |error, met| Damage::File(error).at(met);
    let mut statement = connection.prepare_cached(&query).map_err(|error| failed(error, met))?;
    let range = params![integer(stretch.low), integer(stretch.high), integer(limit as u64)];
    let mut rows = statement.query(range).map_err(|error| failed(error, met))?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(|error| failed(error, met))? {
        met = row::position(row).map_err(|damage| damage.at(met))?;
        let event = row::decode(row, connection, names).map_err(|damage| damage.at(met))?;
        bytes += page::weight(&event);
        if bytes > page::MAX_BYTES && !events.is_empty() {
            let end = events.last().map_or(met, |event: &Event| event.position);
            return Ok(Page { events, end });
        }
        events.push(event);
    }
    let end = if events.len() == limit { met } else { stretch.last() };
    Ok(Page { events, end })
}

/// Checks that every position of a stretch is there.
fn check_dense(connection: &Connection, stretch: Stretch) -> Result<(), LogError> {
    const COUNT: &str = "select count(*) from event where position between ?1 and ?2";
    // The first hole: the first position of the stretch, or one whose predecessor is there.
    const HOLE: &str = "
        select ?1 where not exists (select 1 from event where position = ?1)
        union all
        select * from (
            select position + 1 from event as this
            where position between ?1 and ?2 - 1
                and not exists (select 1 from event where position = this.position + 1)
            order by position limit 1
        )
        limit 1";
    let range = params![integer(stretch.low), integer(stretch.high)];
    let low = Position(stretch.low);
    let failed = |error| Damage::File(error).at(low);
    let mut count = connection.prepare_cached(COUNT).map_err(failed)?;
    let found: i64 = count.query_row(range, |row| row.get(0)).map_err(failed)?;
    if found == integer(stretch.high - stretch.low + 1) {
        return Ok(());
    }
    let mut hole = connection.prepare(HOLE).map_err(failed)?;
    let position: i64 = hole.query_row(range, |row| row.get(0)).map_err(failed)?;
    Err(missing(Position(position.cast_unsigned())))
}

fn missing(position: Position) -> LogError {
    Damage::Row("the event is missing".into()).at(position)
}

/// Reads a part of a stream.
pub(super) fn stream(reader: &mut Reader<Names>, stream: &StreamName, range: Range) -> Result<Vec<Event>, LogError> {
    let failed = |error| Damage::File(error).at(Position::START);
    let connection = &reader.connection;
    let Some(number) = names::stream_number(connection, stream).map_err(failed)? else { return Ok(Vec::new()) };
    let forward = range.direction == Direction::Forward;
    let order = if forward { "asc" } else { "desc" };
    let query = format!(
        "select {COLUMNS} from event where stream = ?1 and version between ?2 and ?3
            order by version {order} limit ?4"
    );
    let mut statement = connection.prepare_cached(&query).map_err(failed)?;
    let from = range.from.0.max(1);
    let bounds = params![number, integer(from), integer(range.to.0), integer(range.limit as u64)];
    let mut next = forward.then_some(Version(from));
    let mut events: Vec<Event> = Vec::new();
    read_rows(&mut statement, bounds, connection, &mut reader.state, |event| {
        if next.is_some_and(|next| next != event.version) {
            let reason = format!("an event of stream `{stream}` beside its version {} is missing", event.version);
            return Err(Damage::Row(reason).at(event.position));
        }
        next = Some(Version(if forward { event.version.0 + 1 } else { event.version.0.saturating_sub(1) }));
        events.push(event);
        Ok(())
    })?;
    Ok(events)
}

/// The version of a stream's last event.
pub(super) fn stream_version(connection: &Connection, stream: &StreamName) -> rusqlite::Result<Version> {
    match names::stream_number(connection, stream)? {
        Some(number) => last_version(connection, number),
        None => Ok(Version::NONE),
    }
}

/// The version of the last event of the stream with a number.
pub(super) fn last_version(connection: &Connection, number: i64) -> rusqlite::Result<Version> {
    let mut statement = connection.prepare_cached("select max(version) from event where stream = ?1")?;
    let version: Option<i64> = statement.query_row([number], |row| row.get(0))?;
    Ok(Version(version.unwrap_or(0).cast_unsigned()))
}

/// The event with an id.
pub(super) fn event(reader: &mut Reader<Names>, id: EventId) -> Result<Option<Event>, LogError> {
    let failed = |error| Damage::File(error).at(Position::START);
    let moment = reader.connection.unchecked_transaction().map_err(failed)?;
    let Some(position) = ids::position(&moment, id).map_err(failed)? else { return Ok(None) };
    let query = format!("select {COLUMNS} from event where position = ?1");
    let mut statement = moment.prepare_cached(&query).map_err(failed)?;
    let mut found = None;
    read_rows(&mut statement, [integer(position.0)], &moment, &mut reader.state, |event| {
        found = Some(event);
        Ok(())
    })?;
    found.map(Some).ok_or_else(|| missing(position))
}

/// The last position of a log.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Position> {
    let head: Option<i64> = connection.query_row("select max(position) from event", (), |row| row.get(0))?;
    Ok(Position(head.unwrap_or(0).cast_unsigned()))
}

/// Decodes the rows of a query.
fn read_rows(
    statement: &mut Statement<'_>,
    params: impl rusqlite::Params,
    connection: &Connection,
    names: &mut Names,
    mut take: impl FnMut(Event) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut met = Position::START;
    let mut rows = statement.query(params).map_err(|error| Damage::File(error).at(met))?;
    while let Some(row) = rows.next().map_err(|error| Damage::File(error).at(met))? {
        met = row::position(row).map_err(|damage| damage.at(met))?;
        take(row::decode(row, connection, names).map_err(|damage| damage.at(met))?)?;
    }
    Ok(())
}

/// A number as SQLite knows it: signed, so that larger ones become the largest.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
