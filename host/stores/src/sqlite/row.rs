//! Turns events into rows and rows into events, for every table that holds events.
//!
//! Text that repeats stands in a row as its number in the log, and as it is in a table that does not keep its rows
//! for long.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use lantern_core::{
    Event, EventId, EventType, Metadata, NewEvent, Payload, Position, StreamName, Timestamp, TraceContext, Version,
};
use rusqlite::{
    Connection, Row, Statement, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::{damage::Damage, names::Names};

/// The columns of a row of the log, in the order [`decode`] takes them.
pub(super) const COLUMNS: &str = "position, version, id, stream, type, schema_version, time, content_type, data, \
    source, tenant, correlation_id, causation_id, actor, trace_id, span_id, trace_flags, trace_state, extra";

/// What repeats in rows: as texts, or as the numbers of texts that are kept once.
pub(super) struct Words<W> {
    stream: W,
    event_type: W,
    content_type: Option<W>,
    source: Option<W>,
    tenant: Option<W>,
}

impl<W> Words<W> {
    /// The words of an event, each made of its text by `word`.
    pub(super) fn of<'e>(
        stream: W,
        event: &'e NewEvent,
        mut word: impl FnMut(&'e str) -> rusqlite::Result<W>,
    ) -> rusqlite::Result<Self> {
        let event_type = word(event.event_type.as_str())?;
        let tenant = event.metadata.tenant.as_deref().map(&mut word).transpose()?;
        let source = event.metadata.source.as_deref().map(&mut word).transpose()?;
        let content_type = match &event.data {
            Payload::Json(_) => None,
            Payload::Bytes { content_type, .. } => Some(word(content_type)?),
        };
        Ok(Self { stream, event_type, content_type, source, tenant })
    }
}

/// Binds the columns of an event, `id` to `extra` in the order of [`COLUMNS`], to the parameters from `first` on.
pub(super) fn bind(
    statement: &mut Statement<'_>,
    first: usize,
    event: &NewEvent,
    words: &Words<impl ToSql>,
) -> rusqlite::Result<()> {
    let metadata = &event.metadata;
    let trace = metadata.trace.as_ref();
    let data = match &event.data {
        Payload::Json(text) => ValueRef::Text(text.as_bytes()),
        Payload::Bytes { data, .. } => ValueRef::Blob(data),
    };
    let extra = metadata.extra.as_deref().map(serde_json::to_string).transpose();
    let extra = extra.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let columns: [&dyn ToSql; 17] = [
        &event.id.as_bytes().as_slice(),
        &words.stream,
        &words.event_type,
        &event.schema_version,
        &event.time.0,
        &words.content_type,
        &ToSqlOutput::Borrowed(data),
        &words.source,
        &words.tenant,
        &metadata.correlation_id.as_deref(),
        &metadata.causation_id.as_deref(),
        &metadata.actor.as_deref(),
        &trace.map(|trace| trace.trace_id.to_be_bytes()),
        &trace.map(|trace| trace.span_id.cast_signed()),
        &trace.map(|trace| trace.flags),
        &trace.and_then(|trace| trace.state.as_deref()),
        &extra,
    ];
    for (parameter, column) in (first..).zip(columns) {
        statement.raw_bind_parameter(parameter, column)?;
    }
    Ok(())
}

/// What the words of a row stand for.
trait Lexicon {
    fn stream(&mut self, word: ValueRef<'_>) -> Result<StreamName, Damage>;
    fn event_type(&mut self, word: ValueRef<'_>) -> Result<EventType, Damage>;
    fn text(&mut self, word: ValueRef<'_>) -> Result<Arc<str>, Damage>;
}

/// Words that are numbers of the log's tables `name` and `stream`.
struct Numbered<'a> {
    connection: &'a Connection,
    names: &'a mut Names,
}

impl Lexicon for Numbered<'_> {
    fn stream(&mut self, word: ValueRef<'_>) -> Result<StreamName, Damage> {
        self.names.stream(self.connection, number_of(word, "stream")?)
    }

    fn event_type(&mut self, word: ValueRef<'_>) -> Result<EventType, Damage> {
        self.names.event_type(self.connection, number_of(word, "type")?)
    }

    fn text(&mut self, word: ValueRef<'_>) -> Result<Arc<str>, Damage> {
        self.names.text(self.connection, number_of(word, "name")?)
    }
}

fn number_of(word: ValueRef<'_>, name: &str) -> Result<i64, Damage> {
    match word {
        ValueRef::Integer(number) => Ok(number),
        _ => Err(Damage::column(name)),
    }
}

/// Words that are texts.
struct Spelled;

impl Lexicon for Spelled {
    fn stream(&mut self, word: ValueRef<'_>) -> Result<StreamName, Damage> {
        StreamName::new(text_of(word, "stream")?).map_err(|error| Damage::Row(error.to_string()))
    }

    fn event_type(&mut self, word: ValueRef<'_>) -> Result<EventType, Damage> {
        EventType::new(text_of(word, "type")?).map_err(|error| Damage::Row(error.to_string()))
    }

    fn text(&mut self, word: ValueRef<'_>) -> Result<Arc<str>, Damage> {
        text_of(word, "name").map(Arc::from)
    }
}

fn text_of<'a>(word: ValueRef<'a>, name: &str) -> Result<&'a str, Damage> {
    match word {
        ValueRef::Text(text) => str::from_utf8(text).map_err(|_| Damage::column(name)),
        _ => Err(Damage::column(name)),
    }
}

/// The position of a row of the log.
pub(super) fn position(row: &Row<'_>) -> Result<Position, Damage> {
    Columns { row, next: 0 }.number("position").map(Position)
}

/// Decodes a row of the log, of [`COLUMNS`].
pub(super) fn decode(row: &Row<'_>, connection: &Connection, names: &mut Names) -> Result<Event, Damage> {
    let mut columns = Columns { row, next: 0 };
    let position = Position(columns.number("position")?);
    let version = Version(columns.number("version")?);
    let (stream, event) = columns.event(&mut Numbered { connection, names })?;
    let NewEvent { id, event_type, schema_version, time, data, metadata } = event;
    Ok(Event { id, event_type, schema_version, stream, version, position, time, data, metadata })
}

/// Decodes an event that is spelled out in a row from the column `first` on, and its stream.
pub(super) fn decode_spelled(row: &Row<'_>, first: usize) -> Result<(StreamName, NewEvent), Damage> {
    Columns { row, next: first }.event(&mut Spelled)
}

/// Takes the columns of a row one after the other.
struct Columns<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    fn take(&mut self) -> Result<ValueRef<'a>, Damage> {
        let value = self.row.get_ref(self.next)?;
        self.next += 1;
        Ok(value)
    }

    fn integer(&mut self, name: &str) -> Result<i64, Damage> {
        match self.take()? {
            ValueRef::Integer(integer) => Ok(integer),
            _ => Err(Damage::column(name)),
        }
    }

    fn number<T: TryFrom<i64>>(&mut self, name: &str) -> Result<T, Damage> {
        T::try_from(self.integer(name)?).map_err(|_| Damage::column(name))
    }

    fn id(&mut self) -> Result<EventId, Damage> {
        match self.take()? {
            ValueRef::Blob(bytes) => EventId::from_slice(bytes).map_err(|_| Damage::column("id")),
            _ => Err(Damage::column("id")),
        }
    }

    fn str(&mut self, name: &str) -> Result<Option<&'a str>, Damage> {
        match self.take()? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => str::from_utf8(text).map(Some).map_err(|_| Damage::column(name)),
            _ => Err(Damage::column(name)),
        }
    }

    fn text(&mut self, name: &str) -> Result<Option<Arc<str>>, Damage> {
        Ok(self.str(name)?.map(Arc::from))
    }

    /// Takes the columns of an event, and of its stream.
    fn event(&mut self, lexicon: &mut impl Lexicon) -> Result<(StreamName, NewEvent), Damage> {
        let id = self.id()?;
        let stream = lexicon.stream(self.take()?)?;
        let event = NewEvent {
            id,
            event_type: lexicon.event_type(self.take()?)?,
            schema_version: self.number("schema version")?,
            time: Timestamp(self.integer("time")?),
            data: self.payload(lexicon)?,
            metadata: Metadata {
                source: self.word(lexicon)?,
                tenant: self.word(lexicon)?,
                correlation_id: self.text("correlation id")?,
                causation_id: self.text("causation id")?,
                actor: self.text("actor")?,
                trace: self.trace()?,
                extra: self.extra()?,
            },
        };
        Ok((stream, event))
    }

    fn word(&mut self, lexicon: &mut impl Lexicon) -> Result<Option<Arc<str>>, Damage> {
        match self.take()? {
            ValueRef::Null => Ok(None),
            word => lexicon.text(word).map(Some),
        }
    }

    fn payload(&mut self, lexicon: &mut impl Lexicon) -> Result<Payload, Damage> {
        let content_type = self.word(lexicon)?;
        match (content_type, self.take()?) {
            (None, ValueRef::Text(text)) => {
                str::from_utf8(text).map(|text| Payload::Json(text.into())).map_err(|_| Damage::column("data"))
            }
            (Some(content_type), ValueRef::Blob(data)) => {
                Ok(Payload::Bytes { content_type, data: Bytes::copy_from_slice(data) })
            }
            _ => Err(Damage::column("data")),
        }
    }

    fn trace(&mut self) -> Result<Option<TraceContext>, Damage> {
        let trace_id = match self.take()? {
            ValueRef::Null => None,
            ValueRef::Blob(bytes) => {
                Some(u128::from_be_bytes(bytes.try_into().map_err(|_| Damage::column("trace id"))?))
            }
            _ => return Err(Damage::column("trace id")),
        };
        let Some(trace_id) = trace_id else {
            self.next += 3;
            return Ok(None);
        };
        // Stored as the signed number of the same bits.
        let span_id = self.integer("span id")?.cast_unsigned();
        let flags = self.number("trace flags")?;
        Ok(Some(TraceContext { trace_id, span_id, flags, state: self.text("trace state")? }))
    }

    fn extra(&mut self) -> Result<Option<Arc<BTreeMap<String, String>>>, Damage> {
        let Some(text) = self.str("extra")? else { return Ok(None) };
        serde_json::from_str(text).map(|pairs| Some(Arc::new(pairs))).map_err(|_| Damage::column("extra"))
    }
}
