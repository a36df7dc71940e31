//! Turns a row of the log's table `event` into an event.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use lantern_core::{Event, EventId, Metadata, Payload, Position, Timestamp, TraceContext, Version};
use rusqlite::{Connection, Row, types::ValueRef};

use super::{damage::Damage, names::Names};

/// The columns of a row, in the order [`decode`] takes them.
pub(super) const COLUMNS: &str = "position, id, stream, version, type, schema_version, time, content_type, data, \
    source, tenant, correlation_id, causation_id, actor, trace_id, span_id, trace_flags, trace_state, extra";

/// The position of a row.
pub(super) fn position(row: &Row<'_>) -> Result<Position, Damage> {
    Columns { row, next: 0 }.number("position").map(Position)
}

/// Decodes a row of [`COLUMNS`].
pub(super) fn decode(row: &Row<'_>, connection: &Connection, names: &mut Names) -> Result<Event, Damage> {
    let mut columns = Columns { row, next: 0 };
    Ok(Event {
        position: Position(columns.number("position")?),
        id: columns.id()?,
        stream: names.stream(connection, columns.integer("stream")?)?,
        version: Version(columns.number("version")?),
        event_type: names.event_type(connection, columns.integer("type")?)?,
        schema_version: columns.number("schema version")?,
        time: Timestamp(columns.integer("time")?),
        data: columns.payload(connection, names)?,
        metadata: Metadata {
            source: columns.name(connection, names)?,
            tenant: columns.name(connection, names)?,
            correlation_id: columns.text("correlation id")?,
            causation_id: columns.text("causation id")?,
            actor: columns.text("actor")?,
            trace: columns.trace()?,
            extra: columns.extra()?,
        },
    })
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

    fn name(&mut self, connection: &Connection, names: &mut Names) -> Result<Option<Arc<str>>, Damage> {
        match self.take()? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(names.text(connection, number)?)),
            _ => Err(Damage::column("name")),
        }
    }

    fn payload(&mut self, connection: &Connection, names: &mut Names) -> Result<Payload, Damage> {
        let content_type = self.name(connection, names)?;
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
