//! What the writer of the log knows, and how it writes: the head, the versions of streams and the numbers of names are
//! kept in memory, and true as long as only this writer writes.

use std::sync::Arc;

use lantern_core::{Append, Appended, NewEvent, Payload, Position, StreamName, Version, log::AppendError};
use quick_cache::unsync::Cache;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, types::ValueRef};

use super::{
    ids::Ids,
    names, reads,
    row::{self, Words},
};
use crate::decide::{Decision, Known, Ledger};

/// How many streams' versions are kept.
const STREAMS: usize = 65_536;

/// How many names' numbers are kept.
const NAMES: usize = 4096;

/// From the fourth column on in the order of [`row::bind`].
const INSERT: &str = "insert into event (position, version, category, id, stream, type, schema_version, time,
    content_type, data, source, tenant, correlation_id, causation_id, actor, trace_id, span_id, trace_flags,
    trace_state, extra)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";

const KNOWN: &str = "select version, stream, type, schema_version, content_type, data from event where position = ?1";

/// What the writer remembers between transactions.
pub(super) struct Memory {
    head: Position,
    ids: Ids,
    streams: Cache<StreamName, Stream>,
    names: Cache<Arc<str>, i64>,
}

/// A stream as it is now.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// Its number; `None` while it has none, because it has no events.
    number: Option<i64>,
    version: Version,
}

impl Memory {
    /// Reads from the file what cannot be read when it is needed.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let (head, ids) = (reads::head(connection)?, Ids::load(connection)?);
        Ok(Self { head, ids, streams: Cache::new(STREAMS), names: Cache::new(NAMES) })
    }

    /// The last position.
    pub(super) fn head(&self) -> Position {
        self.head
    }
}

/// A transaction of the writer: decides appends and writes them.
pub(super) struct Writing<'a> {
    connection: &'a Connection,
    memory: &'a mut Memory,
    insert: CachedStatement<'a>,
    known: CachedStatement<'a>,
}

impl<'a> Writing<'a> {
    /// Begins to write in an open transaction. What the memory holds after a transaction that is then rolled back is
    /// not true: the caller throws it away.
    pub(super) fn begin(connection: &'a Connection, memory: &'a mut Memory) -> rusqlite::Result<Self> {
        let (insert, known) = (connection.prepare_cached(INSERT)?, connection.prepare_cached(KNOWN)?);
        Ok(Self { connection, memory, insert, known })
    }

    /// Writes what was decided.
    pub(super) fn write(&mut self, appends: &[Append], decision: &Decision) -> rusqlite::Result<()> {
        let mut fresh = decision.fresh.iter().copied().peekable();
        let mut index = 0;
        for Append { stream, events, .. } in appends {
            let (mut numbers, mut version) = (None, None);
            for event in events {
                if fresh.next_if_eq(&index).is_some() {
                    let (number, category) = match numbers {
                        Some(numbers) => numbers,
                        None => *numbers.insert((self.stream_number(stream)?, self.name(stream.category())?)),
                    };
                    let place = decision.places[index];
                    self.insert(event, place, number, category)?;
                    self.memory.ids.insert(place.id, place.position);
                    (self.memory.head, version) = (place.position, Some(place.version));
                }
                index += 1;
            }
            if let (Some(version), Some((number, _))) = (version, numbers) {
                self.memory.streams.insert(stream.clone(), Stream { number: Some(number), version });
            }
        }
        Ok(())
    }

    /// Ends the writing, before the transaction is committed. Answers the last position.
    pub(super) fn end(self) -> rusqlite::Result<Position> {
        self.memory.ids.settle(self.connection, self.memory.head)?;
        Ok(self.memory.head)
    }

    fn insert(&mut self, event: &NewEvent, place: Appended, stream: i64, category: i64) -> rusqlite::Result<()> {
        let words = Words::of(stream, event, |text| self.name(text))?;
        self.insert.raw_bind_parameter(1, place.position.0.cast_signed())?;
        self.insert.raw_bind_parameter(2, place.version.0.cast_signed())?;
        self.insert.raw_bind_parameter(3, category)?;
        row::bind(&mut self.insert, 4, event, &words)?;
        self.insert.raw_execute()?;
        Ok(())
    }

    /// The number of a name, which is given one when it has none.
    fn name(&mut self, text: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.known_name(text)? {
            return Ok(number);
        }
        self.connection.prepare_cached("insert into name (text) values (?1)")?.execute([text])?;
        let number = self.connection.last_insert_rowid();
        self.memory.names.insert(text.into(), number);
        Ok(number)
    }

    /// The number of a name, if it has one.
    fn known_name(&mut self, text: &str) -> rusqlite::Result<Option<i64>> {
        if let Some(number) = self.memory.names.get(text) {
            return Ok(Some(*number));
        }
        let number = names::number(self.connection, text)?;
        if let Some(number) = number {
            self.memory.names.insert(text.into(), number);
        }
        Ok(number)
    }

    /// The number of a stream, which is given one when it has none.
    fn stream_number(&mut self, stream: &StreamName) -> rusqlite::Result<i64> {
        if let Some(number) = self.stream(stream)?.number {
            return Ok(number);
        }
        self.connection.prepare_cached("insert into stream (name) values (?1)")?.execute([stream.as_str()])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// A stream as it is now.
    fn stream(&mut self, stream: &StreamName) -> rusqlite::Result<Stream> {
        if let Some(known) = self.memory.streams.get(stream) {
            return Ok(*known);
        }
        let number = names::stream_number(self.connection, stream)?;
        let version = match number {
            Some(number) => reads::last_version(self.connection, number)?,
            None => Version::NONE,
        };
        let found = Stream { number, version };
        self.memory.streams.insert(stream.clone(), found);
        Ok(found)
    }

    /// The event with the id of a new one.
    fn known(&mut self, stream: &StreamName, event: &NewEvent) -> rusqlite::Result<Option<Known>> {
        let Some(position) = self.memory.ids.position(self.connection, event.id)? else { return Ok(None) };
        let there = |row: &Row<'_>| {
            let content_type: Option<i64> = row.get(4)?;
            let data = match (&event.data, row.get_ref(5)?) {
                (Payload::Json(text), ValueRef::Text(data)) => content_type.is_none() && text.as_bytes() == data,
                (Payload::Bytes { data, .. }, ValueRef::Blob(there)) => content_type.is_some() && data == there,
                _ => false,
            };
            let same = data && row.get::<_, u32>(3)? == event.schema_version;
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, content_type, same))
        };
        let found = self.known.query_row([position.0.cast_signed()], there).optional()?;
        let Some((version, in_stream, event_type, content_type, mut same)) = found else {
            // The log is damaged there. Whatever the event was, its id is taken.
            return Ok(Some(Known { version: Version::NONE, position, same: false }));
        };
        same &= self.stream(stream)?.number == Some(in_stream);
        same &= self.known_name(event.event_type.as_str())? == Some(event_type);
        if let Payload::Bytes { content_type: wanted, .. } = &event.data {
            same &= self.known_name(wanted)? == content_type;
        }
        Ok(Some(Known { version: Version(version.cast_unsigned()), position, same }))
    }
}

impl Ledger for Writing<'_> {
    fn head(&self) -> Position {
        self.memory.head
    }

    fn version(&mut self, stream: &StreamName) -> Result<Version, AppendError> {
        self.stream(stream).map(|stream| stream.version).map_err(|error| unavailable(&error))
    }

    fn known(&mut self, stream: &StreamName, event: &NewEvent) -> Result<Option<Known>, AppendError> {
        Self::known(self, stream, event).map_err(|error| unavailable(&error))
    }
}

/// What a failure of SQLite means to a writer.
pub(super) fn unavailable(error: &rusqlite::Error) -> AppendError {
    AppendError::Unavailable(error.to_string())
}
