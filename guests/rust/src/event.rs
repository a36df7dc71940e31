//! Events as a module sees them.

use crate::bindings::{self, lantern::module::types::Payload};
use crate::{Failure, Time, TraceContext, data};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// An immutable fact, as the log holds it.
#[derive(Debug)]
pub struct Event {
    event: bindings::Event,
    trace: TraceContext,
}

impl Event {
    pub(crate) fn new(event: bindings::Event, trace: TraceContext) -> Self {
        Self { event, trace }
    }

    /// The identity of the event.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId { high: self.event.id_high, low: self.event.id_low }
    }

    /// The name of the kind of event, for example `OrderPlaced`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event.event_type
    }

    /// The version of the schema of the data, from 1.
    #[must_use]
    pub fn schema_version(&self) -> u32 {
        self.event.schema_version
    }

    /// The stream, category and id: `Order-42`.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.event.stream
    }

    /// The category of the stream: `Order` of `Order-42`.
    #[must_use]
    pub fn category(&self) -> &str {
        split(&self.event.stream).0
    }

    /// The id of the stream in its category: `42` of `Order-42`.
    #[must_use]
    pub fn stream_id(&self) -> &str {
        split(&self.event.stream).1
    }

    /// The place in the stream, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.event.version
    }

    /// The place in the log, from 1.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.event.position
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Time {
        Time::from_nanoseconds(self.event.time)
    }

    /// The media type of the data.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.event.content_type.as_deref().unwrap_or("application/json")
    }

    /// The data, read from JSON; borrowed text is not copied.
    ///
    /// For a module that reads the data itself instead of naming it in [`Projection::Data`](crate::Projection::Data).
    pub fn data<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        self.json().and_then(|text| Ok(serde_json::from_str(text)?)).map_err(|misfit| self.misfit(&misfit))
    }

    /// The bytes of the data, whatever their content type.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.event.data {
            Payload::Json(text) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }

    /// What the event carries beside its data, by key.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.event.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// What everything caused by the same request has in common.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.metadata("correlation-id")
    }

    /// What caused the event.
    #[must_use]
    pub fn causation_id(&self) -> Option<&str> {
        self.metadata("causation-id")
    }

    /// Whose event it is.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.metadata("tenant")
    }

    /// Who did it.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.metadata("actor")
    }

    /// The trace context of the span around this call.
    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        &self.trace
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        data::read(&self.event.event_type, &self.event.data).map_err(|misfit| self.misfit(&misfit))
    }

    fn json(&self) -> Result<&str, data::Misfit> {
        data::json(&self.event.data)
    }

    fn misfit(&self, misfit: &data::Misfit) -> Failure {
        let (kind, position, stream, version) = (self.event_type(), self.position(), self.stream(), self.version());
        Failure::Permanent(match misfit {
            data::Misfit::Bytes => format!(
                "the data of {kind} at position {position} ({stream}, version {version}) is {}, not JSON; read it with `event.bytes()`",
                self.content_type()
            ),
            misfit => format!(
                "the data of {kind} at position {position} ({stream}, version {version}) does not fit the module's type: {misfit}; mend \
                 the type in the module, for example with `#[serde(default)]`, swap the module and retry the event, or skip the event"
            ),
        })
    }
}

/// The first `-` divides; a stream without one is a category of its own.
pub(crate) fn split(stream: &str) -> (&str, &str) {
    stream.split_once('-').unwrap_or((stream, ""))
}

/// The identity of an event; its text is that of a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    high: u64,
    low: u64,
}

impl EventId {
    pub(crate) const fn new(high: u64, low: u64) -> Self {
        Self { high, low }
    }
}

impl From<EventId> for u128 {
    fn from(id: EventId) -> Self {
        Self::from(id.high) << 64 | Self::from(id.low)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = (self.high, self.low);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: Payload) -> Event {
        let event = bindings::Event {
            id_high: 0x13b8_0ef6_f4b9_5903,
            id_low: 0xa893_9d74_6fd7_6d8d,
            event_type: "OrderPlaced".to_owned(),
            schema_version: 1,
            stream: "Order-2026-7".to_owned(),
            version: 3,
            position: 70,
            time: 1_317_422_324_546_000_000,
            content_type: matches!(data, Payload::Bytes(_)).then(|| "image/png".to_owned()),
            data,
            metadata: vec![("tenant".to_owned(), "acme".to_owned()), ("colour".to_owned(), "red".to_owned())],
        };
        Event::new(event, TraceContext::default())
    }

    #[test]
    fn the_first_dash_divides_a_stream() {
        assert_eq!(split("Order-2026-7"), ("Order", "2026-7"));
        assert_eq!(split("Order-"), ("Order", ""));
        assert_eq!(split("Orders"), ("Orders", ""));
    }

    #[test]
    fn what_the_event_says_can_be_read() {
        let event = event(Payload::Json("{}".to_owned()));
        assert_eq!(event.id().to_string(), "13b80ef6-f4b9-5903-a893-9d746fd76d8d");
        assert_eq!(serde_json::to_string(&event.id()).unwrap(), "\"13b80ef6-f4b9-5903-a893-9d746fd76d8d\"");
        assert_eq!(u128::from(event.id()), 0x13b8_0ef6_f4b9_5903_a893_9d74_6fd7_6d8d);
        assert_eq!((event.category(), event.stream_id()), ("Order", "2026-7"));
        assert_eq!((event.tenant(), event.metadata("colour"), event.actor()), (Some("acme"), Some("red"), None));
        assert_eq!(event.content_type(), "application/json");
        assert_eq!(event.time().to_string(), "2011-09-30T22:38:44.546Z");
    }

    #[test]
    fn data_can_be_borrowed() {
        let event = event(Payload::Json(r#"{"customer":"ada"}"#.to_owned()));
        #[derive(Deserialize)]
        struct Placed<'a> {
            customer: &'a str,
        }
        assert_eq!(event.data::<Placed<'_>>().unwrap().customer, "ada");
    }

    #[test]
    fn bad_data_names_type_position_and_reason() {
        let failure = event(Payload::Json("{\"amount\":-1}".to_owned()))
            .data::<std::collections::BTreeMap<String, u64>>()
            .unwrap_err();
        for part in ["OrderPlaced", "position 70", "Order-2026-7", "version 3", "invalid value: integer `-1`", "column"]
        {
            assert!(failure.reason().contains(part), "{failure:?} lacks {part}");
        }
        assert!(matches!(failure, Failure::Permanent(_)));
    }

    #[test]
    fn bytes_are_no_json() {
        let event = event(Payload::Bytes(vec![137, 80]));
        assert!(event.data::<u64>().unwrap_err().reason().contains("is image/png, not JSON"));
        assert_eq!(event.bytes(), [137, 80]);
    }
}
