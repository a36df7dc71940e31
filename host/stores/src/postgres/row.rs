//! Turns rows into events, for every table that holds events.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use lantern_core::{
    Event, EventId, EventType, Metadata, NewEvent, Payload, Position, StreamName, Timestamp, TraceContext, Version,
};
use sqlx::{Decode, Postgres, Row, postgres::PgRow};

use super::{damage::Damage, keys};

/// The columns of a row of the log, in the order [`decode`] takes them: from the third on those of any event.
pub(super) const COLUMNS: &str = "position, version, id, stream, type, schema_version, time, content_type, data, \
    source, tenant, correlation_id, causation_id, actor, trace_id, span_id, trace_flags, trace_state, extra";

/// How many words of a kind are kept.
const WORDS: usize = 32;

/// Words that were read before. A log has few types, sources and tenants: those of a page are made once and shared.
#[derive(Default)]
pub(super) struct Words {
    types: Vec<EventType>,
    texts: Vec<Arc<str>>,
}

impl Words {
    fn event_type(&mut self, kept: &str) -> Result<EventType, Damage> {
        if let Some(known) = self.types.iter().find(|known| known.as_str() == kept) {
            return Ok(known.clone());
        }
        let new = EventType::new(keys::unescape(kept)).map_err(|error| Damage::Row(error.to_string()))?;
        // One that is kept in another form is not found here again.
        if self.types.len() < WORDS && new.as_str() == kept {
            self.types.push(new.clone());
        }
        Ok(new)
    }

    fn text(&mut self, kept: &str) -> Arc<str> {
        if let Some(known) = self.texts.iter().find(|known| &***known == kept) {
            return known.clone();
        }
        let new: Arc<str> = keys::unescape(kept).into();
        if self.texts.len() < WORDS && *new == *kept {
            self.texts.push(new.clone());
        }
        new
    }
}

/// The position of a row of the log.
pub(super) fn position(row: &PgRow) -> Result<Position, Damage> {
    Columns { row, next: 0, words: &mut Words::default() }.number("position").map(Position)
}

/// Decodes a row of the log, of [`COLUMNS`].
pub(super) fn decode(row: &PgRow, words: &mut Words) -> Result<Event, Damage> {
    let mut columns = Columns { row, next: 0, words };
    let position = Position(columns.number("position")?);
    let version = Version(columns.number("version")?);
    let (stream, event) = columns.event()?;
    let NewEvent { id, event_type, schema_version, time, data, metadata } = event;
    Ok(Event { id, event_type, schema_version, stream, version, position, time, data, metadata })
}

/// Takes the columns of a row one after the other.
struct Columns<'a, 'w> {
    row: &'a PgRow,
    next: usize,
    words: &'w mut Words,
}

impl<'a> Columns<'a, '_> {
    /// The types of the columns are those of the host's own tables: they are not asked for with each value.
    fn take<T: Decode<'a, Postgres>>(&mut self, name: &str) -> Result<T, Damage> {
        let value = self.row.try_get_unchecked(self.next).map_err(|_| Damage::column(name))?;
        self.next += 1;
        Ok(value)
    }

    fn number<T: TryFrom<i64>>(&mut self, name: &str) -> Result<T, Damage> {
        T::try_from(self.take(name)?).map_err(|_| Damage::column(name))
    }

    fn str(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Damage> {
        Ok(self.take::<Option<&str>>(name)?.map(keys::unescape))
    }

    fn text(&mut self, name: &str) -> Result<Option<Arc<str>>, Damage> {
        Ok(self.str(name)?.map(Arc::from))
    }

    /// A text that many events have.
    fn word(&mut self, name: &str) -> Result<Option<Arc<str>>, Damage> {
        let kept = self.take::<Option<&str>>(name)?;
        Ok(kept.map(|kept| self.words.text(kept)))
    }

    /// Takes the columns of an event, and of its stream.
    fn event(&mut self) -> Result<(StreamName, NewEvent), Damage> {
        let id: EventId = self.take("id")?;
        let stream = keys::unescape(self.take("stream")?);
        let stream = StreamName::new(stream).map_err(|error| Damage::Row(error.to_string()))?;
        let kept = self.take("type")?;
        let event_type = self.words.event_type(kept)?;
        let event = NewEvent {
            id,
            event_type,
            schema_version: self.number("schema version")?,
            time: Timestamp(self.take("time")?),
            data: self.payload()?,
            metadata: Metadata {
                source: self.word("source")?,
                tenant: self.word("tenant")?,
                correlation_id: self.text("correlation id")?,
                causation_id: self.text("causation id")?,
                actor: self.word("actor")?,
                trace: self.trace()?,
                extra: self.extra()?,
            },
        };
        Ok((stream, event))
    }

    fn payload(&mut self) -> Result<Payload, Damage> {
        let content_type = self.word("content type")?;
        let data: &[u8] = self.take("data")?;
        match content_type {
            None => str::from_utf8(data).map(|text| Payload::Json(text.into())).map_err(|_| Damage::column("data")),
            Some(content_type) => Ok(Payload::Bytes { content_type, data: Bytes::copy_from_slice(data) }),
        }
    }

    fn trace(&mut self) -> Result<Option<TraceContext>, Damage> {
        let Some(trace_id) = self.take::<Option<EventId>>("trace id")? else {
            self.next += 3;
            return Ok(None);
        };
        // Kept as the signed number of the same bits.
        let span_id = self.take::<i64>("span id")?.cast_unsigned();
        let flags = u8::try_from(self.take::<i16>("trace flags")?).map_err(|_| Damage::column("trace flags"))?;
        Ok(Some(TraceContext { trace_id: trace_id.as_u128(), span_id, flags, state: self.text("trace state")? }))
    }

    fn extra(&mut self) -> Result<Option<Arc<BTreeMap<String, String>>>, Damage> {
        let Some(text) = self.take::<Option<&str>>("extra")? else { return Ok(None) };
        serde_json::from_str(text).map(|pairs| Some(Arc::new(pairs))).map_err(|_| Damage::column("extra"))
    }
}
