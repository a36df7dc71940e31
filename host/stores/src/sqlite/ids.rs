//! Which ids are in the log: an index on disk that is written late, and in memory what it does not have yet.
//!
//! Ids are random as a rule, so that an index that is written with each event dirties a page of its own for each: that
//! is more than all else an append costs. Instead the ids of the last events stay in memory, in sixteen slices by their
//! first digit. A slice that has grown is put into the index at once and in order, so that a page of the index takes in
//! many of them. The file says for each slice up to which position the index has it; what lies beyond is read back
//! when the log is opened.

use std::collections::HashMap;

use lantern_core::{EventId, Position};
use rusqlite::{Connection, OptionalExtension};

/// How many slices there are. Ids that grow with time all fall into one, which does no harm: they are in order anyway.
const SLICES: usize = 16;

/// A slice is put into the index when it has so many ids.
const GROWN: usize = 4096;

/// A slice is put into the index when that was not done for so many positions. Not much more is ever read back.
const LAGGING: u64 = 100_000;

/// The ids that are in the log.
pub(super) struct Ids {
    slices: [Slice; SLICES],
}

/// The ids of one slice that are not in the index.
#[derive(Default)]
struct Slice {
    ids: HashMap<EventId, Position>,
    /// The index has all ids up to this position.
    indexed: Position,
}

impl Ids {
    /// Reads back what is not in the index.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut ids = Self { slices: Default::default() };
        let mut indexed = connection.prepare("select slice, position from indexed")?;
        let mut rows = indexed.query(())?;
        while let Some(row) = rows.next()? {
            if let Some(slice) = ids.slices.get_mut(usize::from(row.get::<_, u8>(0)?)) {
                slice.indexed = Position(row.get::<_, i64>(1)?.cast_unsigned());
            }
        }
        let first = ids.slices.iter().map(|slice| slice.indexed).min().unwrap_or_default();
        let mut events = connection.prepare("select id, position from event where position > ?1")?;
        let mut rows = events.query([first.0.cast_signed()])?;
        while let Some(row) = rows.next()? {
            let id = EventId::from_bytes(row.get(0)?);
            let position = Position(row.get::<_, i64>(1)?.cast_unsigned());
            if position > ids.slice(id).indexed {
                ids.insert(id, position);
            }
        }
        Ok(ids)
    }

    /// Where the event with an id stands.
    pub(super) fn position(&mut self, connection: &Connection, id: EventId) -> rusqlite::Result<Option<Position>> {
        match self.slice(id).ids.get(&id) {
            Some(position) => Ok(Some(*position)),
            None => indexed(connection, id),
        }
    }

    /// Takes in the id of an event that is written.
    pub(super) fn insert(&mut self, id: EventId, position: Position) {
        self.slice(id).ids.insert(id, position);
    }

    /// Puts slices that have grown, or were left behind, into the index, in the transaction that is open.
    pub(super) fn settle(&mut self, connection: &Connection, head: Position) -> rusqlite::Result<()> {
        for (number, slice) in (0_u8..).zip(&mut self.slices) {
            if slice.ids.len() >= GROWN || head.since(slice.indexed) >= LAGGING {
                slice.settle(connection, number, head)?;
            }
        }
        Ok(())
    }

    fn slice(&mut self, id: EventId) -> &mut Slice {
        &mut self.slices[usize::from(slice(id))]
    }
}

impl Slice {
    fn settle(&mut self, connection: &Connection, number: u8, head: Position) -> rusqlite::Result<()> {
        let mut ids: Vec<_> = self.ids.drain().collect();
        ids.sort_unstable();
        let mut insert = connection.prepare_cached("insert into event_id (id, position) values (?1, ?2)")?;
        for (id, position) in ids {
            insert.execute((id.as_bytes().as_slice(), position.0.cast_signed()))?;
        }
        let mut indexed = connection.prepare_cached("update indexed set position = ?1 where slice = ?2")?;
        indexed.execute((head.0.cast_signed(), number))?;
        self.indexed = head;
        Ok(())
    }
}

/// Where the event with an id stands, as far as the index knows.
fn indexed(connection: &Connection, id: EventId) -> rusqlite::Result<Option<Position>> {
    let mut statement = connection.prepare_cached("select position from event_id where id = ?1")?;
    found(statement.query_row([id.as_bytes().as_slice()], |row| row.get(0)))
}

/// Where the event with an id stands, to a reader. It has to look through what is not in the index yet, in the
/// transaction that is open, lest the id moves into the index in between.
pub(super) fn position(connection: &Connection, id: EventId) -> rusqlite::Result<Option<Position>> {
    if let Some(position) = indexed(connection, id)? {
        return Ok(Some(position));
    }
    let mut statement = connection.prepare_cached(
        "select position from event where position > (select position from indexed where slice = ?2) and id = ?1",
    )?;
    found(statement.query_row((id.as_bytes().as_slice(), slice(id)), |row| row.get(0)))
}

/// The slice an id falls into: its first digit.
fn slice(id: EventId) -> u8 {
    id.as_bytes()[0] >> 4
}

fn found(position: rusqlite::Result<i64>) -> rusqlite::Result<Option<Position>> {
    Ok(position.optional()?.map(|position| Position(position.cast_unsigned())))
}
