//! An event as an entry of a stream: the headers of the Kafka binding as fields, the body as the field `data`.

use bytes::Bytes;
use lantern_core::{
    Message, Timestamp,
    bus::{Form, Offset, Undecodable},
};
use redis_client::Value;

use crate::{
    cloud_events::{
        CloudEvent, bound,
        headers::{self, CONTENT_TYPE, PREFIX},
    },
    reading::Reading,
};

/// The field of the body.
const DATA: &str = "data";

/// Writes an event, field by field; answers about how many bytes it has.
pub(super) fn write(message: &Message, form: Form, mut field: impl FnMut(&str, &[u8])) -> usize {
    let mut size = 0;
    let mut name = String::from(PREFIX);
    let bound = bound::write(CloudEvent::message(message), form, |attribute, value| {
        name.truncate(PREFIX.len());
        name.push_str(attribute);
        size += name.len() + value.len();
        field(&name, value.as_bytes());
    });
    field(CONTENT_TYPE, bound.content_type.as_bytes());
    field(DATA, &bound.body);
    size + bound.body.len()
}

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its id: milliseconds and a count.
    pub(super) id: (u64, u64),
    /// Its fields in their order; `None` when the entry was trimmed after it was delivered.
    fields: Option<Vec<(String, Bytes)>>,
}

impl Entry {
    /// Takes entries from an answer: `[[id, [field, value, …]], …]`.
    pub(super) fn list(value: Value) -> Option<Vec<Self>> {
        match value {
            Value::Nil => Some(Vec::new()),
            Value::Array(entries) => entries.into_iter().map(Self::take).collect(),
            _ => None,
        }
    }

    /// Takes the entries of one stream from the answer of a read: `[[stream, entries]]`.
    pub(super) fn of_stream(value: Value) -> Option<Vec<Self>> {
        match value {
            Value::Nil => Some(Vec::new()),
            Value::Array(streams) => match streams.into_iter().next() {
                Some(Value::Array(stream)) => Self::list(stream.into_iter().nth(1)?),
                Some(_) => None,
                None => Some(Vec::new()),
            },
            _ => None,
        }
    }

    fn take(value: Value) -> Option<Self> {
        let Value::Array(parts) = value else { return None };
        let mut parts = parts.into_iter();
        let id = id(&text(parts.next()?)?)?;
        let fields = match parts.next()? {
            Value::Nil => None,
            Value::Array(values) => {
                let (mut fields, mut values) = (Vec::with_capacity(values.len() / 2), values.into_iter());
                while let (Some(name), Some(value)) = (values.next(), values.next()) {
                    let name = String::from_utf8_lossy(&text(name)?).into_owned();
                    fields.push((name, text(value)?));
                }
                Some(fields)
            }
            _ => return None,
        };
        Some(Self { id, fields })
    }

    /// Its place.
    pub(super) fn offset(&self) -> Offset {
        Offset::Entry(self.id.0, self.id.1)
    }

    /// The event in it, or its bytes; `None` when it was trimmed.
    pub(super) fn content(&self, reading: &Reading) -> Option<Result<Message, Undecodable>> {
        let fields = self.fields.as_ref()?;
        let body = fields.iter().find(|(name, _)| name == DATA).map(|(_, value)| value.clone()).unwrap_or_default();
        let others = || fields.iter().filter(|(name, _)| name != DATA).map(|(name, value)| (name.as_str(), &**value));
        let milliseconds = i64::try_from(self.id.0).unwrap_or(i64::MAX);
        let time = Timestamp(milliseconds.saturating_mul(1_000_000));
        let read = headers::read(others(), &[PREFIX], &body, &reading.absent(time));
        Some(read.map_err(|invalid| headers::undecodable(&invalid, None, others(), body.clone())))
    }
}

/// The id of an entry, from its text.
pub(super) fn id(text: &[u8]) -> Option<(u64, u64)> {
    let (time, count) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some((time.parse().ok()?, count.parse().ok()?))
}

fn text(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) => Some(text.into()),
        Value::Int(number) => Some(number.to_string().into()),
        _ => None,
    }
}
