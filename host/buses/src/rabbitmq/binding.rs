//! An event as a message of AMQP 0-9-1: attributes as headers, the content type as the property of that name.
//!
//! AMQP 1.0 has `cloudEvents_…` or `cloudEvents:…` as application properties (CloudEvents AMQP binding), which RabbitMQ
//! shows as headers; makers that speak AMQP 0-9-1 alone use `ce-…`.

use std::borrow::Cow;

use bytes::Bytes;
use lantern_core::{
    Clock, Message, SystemClock, Timestamp,
    bus::{Form, Undecodable},
};
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{
    cloud_events::{CloudEvent, Invalid, bound},
    reading::Reading,
};

/// The longest short text of AMQP, in bytes.
const SHORT: usize = 255;

/// A message that stays when the broker restarts.
const PERSISTENT: u8 = 2;

/// What the headers of attributes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Prefix {
    /// `cloudEvents_`
    #[default]
    Underscore,
    /// `cloudEvents:`
    Colon,
    /// `ce-`
    Short,
}

impl Prefix {
    const ALL: [Self; 3] = [Self::Underscore, Self::Colon, Self::Short];

    /// What can be written in the URL.
    pub(super) const NEEDED: &str = "`cloudEvents_`, `cloudEvents:` and `ce-` are possible";

    pub(super) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|prefix| prefix.text() == text)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Underscore => "cloudEvents_",
            Self::Colon => "cloudEvents:",
            Self::Short => "ce-",
        }
    }
}

/// Writes an event: its properties and its body.
pub(super) fn write(message: &Message, form: Form, prefix: Prefix) -> (BasicProperties, Bytes) {
    let (mut headers, mut fits) = (FieldTable::default(), true);
    let bound = bound::write(CloudEvent::message(message), form, |name, value| {
        match ShortString::try_new(format!("{}{name}", prefix.text())) {
            Ok(header) => drop(headers.insert(header, AMQPValue::LongString(value.into()))),
            Err(_) => fits = false,
        }
    });
    if !fits || bound.content_type.len() > SHORT {
        // The name of an attribute is longer than that of a header can be.
        return write(message, Form::Structured, prefix);
    }
    let seconds = u64::try_from(message.event.time.0.div_euclid(1_000_000_000)).unwrap_or(0);
    let properties = BasicProperties::default()
        .with_content_type(short(bound.content_type))
        .with_message_id(short(&message.event.id.to_string()))
        .with_timestamp(seconds)
        .with_type(short(message.event.event_type.as_str()))
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    (properties, bound.body)
}

/// The routing key of an event.
pub(super) fn routing_key(message: &Message) -> ShortString {
    short(&format!("{}.{}", message.stream.category(), message.event.event_type))
}

/// A text, cut off where AMQP has no room for more.
pub(super) fn short(text: &str) -> ShortString {
    let mut end = text.len().min(SHORT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::from(&text[..end])
}

/// Reads a message.
pub(super) fn read(delivery: Delivery, reading: &Reading) -> Result<Message, Undecodable> {
    let Delivery { properties, data, routing_key, .. } = delivery;
    let body = Bytes::from(data);
    let seconds = properties.timestamp().and_then(|seconds| i64::try_from(seconds).ok());
    let time = seconds.and_then(|seconds| seconds.checked_mul(1_000_000_000)).map(Timestamp);
    let time = time.unwrap_or_else(|| SystemClock.now());
    let content_type = properties.content_type().as_ref().map(ShortString::as_str);
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    let headers = || headers.into_iter().flatten();
    let attributes = headers().filter_map(|(header, value)| Some(attribute(attribute_name(header.as_str())?, value)));
    let attributes = attributes.collect::<Result<Vec<_>, _>>();
    let read = attributes.and_then(|attributes| bound::read(content_type, attributes, &body, &reading.absent(time)));
    read.map_err(|invalid| {
        let kept = headers().map(|(header, value)| (header.as_str().to_owned(), kept(header.as_str(), value)));
        let content_type = content_type.map(|it| ("content-type".to_owned(), Bytes::copy_from_slice(it.as_bytes())));
        let headers = kept.chain(content_type).collect();
        let key = Some(Bytes::copy_from_slice(routing_key.as_str().as_bytes()));
        Undecodable { reason: invalid.of_message(), key, headers, body: body.clone() }
    })
}

/// The name of the attribute that a header carries.
fn attribute_name(header: &str) -> Option<&str> {
    let name = |prefix: Prefix| {
        let (start, name) = header.split_at_checked(prefix.text().len())?;
        start.eq_ignore_ascii_case(prefix.text()).then_some(name)
    };
    Prefix::ALL.into_iter().find_map(name)
}

fn attribute<'a>(name: &'a str, value: &'a AMQPValue) -> Result<(Cow<'a, str>, Cow<'a, str>), Invalid> {
    let wrong = |what: &str| Invalid::field(name.to_owned(), what);
    let lower = name.to_ascii_lowercase();
    // A moment may come as milliseconds, as AMQP 1.0 has it.
    let moment = |number: i64| number.checked_mul(1_000_000).filter(|_| lower == "time").map(Timestamp);
    let text = match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).map_err(|_| wrong("is no UTF-8"))?.into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::ByteArray(bytes) => std::str::from_utf8(bytes.as_slice()).map_err(|_| wrong("is no UTF-8"))?.into(),
        AMQPValue::Timestamp(seconds) => {
            let nanoseconds = i64::try_from(*seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000_000));
            nanoseconds.map(Timestamp).ok_or_else(|| wrong("is no time"))?.to_string().into()
        }
        AMQPValue::LongLongInt(number) => {
            moment(*number).map_or_else(|| number.to_string(), |time| time.to_string()).into()
        }
        AMQPValue::Boolean(value) => value.to_string().into(),
        AMQPValue::ShortShortInt(number) => number.to_string().into(),
        AMQPValue::ShortShortUInt(number) => number.to_string().into(),
        AMQPValue::ShortInt(number) => number.to_string().into(),
        AMQPValue::ShortUInt(number) => number.to_string().into(),
        AMQPValue::LongInt(number) => number.to_string().into(),
        AMQPValue::LongUInt(number) => number.to_string().into(),
        _ => return Err(wrong("is neither a text nor a whole number, a time, true or false")),
    };
    Ok((lower.into(), text))
}

/// A header as it is kept of a message that is no event; an attribute as the text that it was read from.
fn kept(header: &str, value: &AMQPValue) -> Bytes {
    let text = attribute_name(header).and_then(|name| attribute(name, value).ok());
    match (text, value) {
        (Some((_, text)), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, AMQPValue::LongString(text)) => Bytes::copy_from_slice(text.as_bytes()),
        (None, AMQPValue::ShortString(text)) => Bytes::copy_from_slice(text.as_str().as_bytes()),
        (None, AMQPValue::ByteArray(bytes)) => Bytes::copy_from_slice(bytes.as_slice()),
        (None, other) => format!("{other:?}").into(),
    }
}
