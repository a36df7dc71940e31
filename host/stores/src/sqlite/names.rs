//! Text that repeats, kept once and referred to by number: what the log's tables `name` and `stream` hold, remembered.
//!
//! A row of either table never changes once it is committed, so what a reader remembers stays true.

use std::sync::Arc;

use lantern_core::{EventType, StreamName};
use quick_cache::unsync::Cache;
use rusqlite::{Connection, OptionalExtension};

use super::damage::Damage;

/// How many names of each sort are remembered.
const REMEMBERED: usize = 4096;

/// How many streams are remembered.
const STREAMS: usize = 32_768;

const NAME: &str = "select text from name where id = ?1";
const STREAM: &str = "select name from stream where id = ?1";
const NUMBER: &str = "select id from name where text = ?1";
const STREAM_NUMBER: &str = "select id from stream where name = ?1";

/// What a reader remembers of the two tables.
pub(super) struct Names {
    texts: Cache<i64, Arc<str>>,
    event_types: Cache<i64, EventType>,
    streams: Cache<i64, StreamName>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { texts: Cache::new(REMEMBERED), event_types: Cache::new(REMEMBERED), streams: Cache::new(STREAMS) }
    }

    pub(super) fn text(&mut self, connection: &Connection, number: i64) -> Result<Arc<str>, Damage> {
        remembered(&mut self.texts, number, || look_up(connection, NAME, number).map(Arc::from))
    }

    pub(super) fn event_type(&mut self, connection: &Connection, number: i64) -> Result<EventType, Damage> {
        remembered(&mut self.event_types, number, || {
            EventType::new(look_up(connection, NAME, number)?).map_err(|error| Damage::Row(error.to_string()))
        })
    }

    pub(super) fn stream(&mut self, connection: &Connection, number: i64) -> Result<StreamName, Damage> {
        remembered(&mut self.streams, number, || {
            StreamName::new(look_up(connection, STREAM, number)?).map_err(|error| Damage::Row(error.to_string()))
        })
    }
}

/// The number of a name, if it has one.
pub(super) fn number(connection: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(NUMBER)?.query_row([text], |row| row.get(0)).optional()
}

/// The number of a stream, if it has events.
pub(super) fn stream_number(connection: &Connection, stream: &StreamName) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(STREAM_NUMBER)?.query_row([stream.as_str()], |row| row.get(0)).optional()
}

fn remembered<T: Clone>(
    cache: &mut Cache<i64, T>,
    number: i64,
    look_up: impl FnOnce() -> Result<T, Damage>,
) -> Result<T, Damage> {
    if let Some(known) = cache.get(&number) {
        return Ok(known.clone());
    }
    let found = look_up()?;
    cache.insert(number, found.clone());
    Ok(found)
}

fn look_up(connection: &Connection, query: &str, number: i64) -> Result<String, Damage> {
    let mut statement = connection.prepare_cached(query).map_err(Damage::File)?;
    match statement.query_row([number], |row| row.get(0)).optional() {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Damage::Row(format!("name {number} is missing"))),
        Err(error) => Err(Damage::File(error)),
    }
}
