//! An event as a record: attributes as headers `ce_…`, the stream as key (CloudEvents Kafka binding).

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use lantern_core::{
    Clock, Message, SystemClock, Timestamp,
    bus::{Form, Undecodable},
};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};

use crate::{
    cloud_events::{
        CloudEvent, bound,
        headers::{self, CONTENT_TYPE, PREFIX},
    },
    reading::Reading,
};

/// Writes an event: its headers and its body.
pub(super) fn write(message: &Message, form: Form) -> (OwnedHeaders, Bytes) {
    let mut headers = OwnedHeaders::new_with_capacity(12);
    let mut name = String::from(PREFIX);
    let bound = bound::write(CloudEvent::message(message), form, |attribute, value| {
        name.truncate(PREFIX.len());
        name.push_str(attribute);
        let all = std::mem::take(&mut headers);
        headers = all.insert(Header { key: &name, value: Some(value) });
    });
    let headers = headers.insert(Header { key: CONTENT_TYPE, value: Some(bound.content_type) });
    (headers, bound.body)
}

/// Reads a record.
pub(super) fn read(record: &BorrowedMessage<'_>, reading: &Reading) -> Result<Message, Undecodable> {
    let body = record.payload().map(Bytes::copy_from_slice).unwrap_or_default();
    let key = || record.key().map(Bytes::copy_from_slice);
    // The client gives up on a header whose name is no UTF-8, and anybody can send one.
    let Ok(pairs) = catch_unwind(AssertUnwindSafe(|| pairs(record))) else {
        let reason = "the name of a header is no UTF-8".into();
        return Err(Undecodable { reason, key: key(), headers: Vec::new(), body });
    };
    let milliseconds = record.timestamp().to_millis().filter(|milliseconds| *milliseconds >= 0);
    let time = milliseconds.map_or_else(|| SystemClock.now(), |it| Timestamp(it.saturating_mul(1_000_000)));
    let read = headers::read(pairs.iter().copied(), &[PREFIX], &body, &reading.absent(time));
    read.map_err(|invalid| {
        let mut undecodable = headers::undecodable(&invalid, key(), pairs.iter().copied(), body.clone());
        if record.payload().is_none() {
            undecodable.reason = format!("{}; it has no body at all", undecodable.reason);
        }
        undecodable
    })
}

/// The headers; one without a value has an empty one.
fn pairs<'a>(record: &'a BorrowedMessage<'_>) -> Vec<(&'a str, &'a [u8])> {
    let Some(headers) = record.headers() else { return Vec::new() };
    headers.iter().map(|header| (header.key, header.value.unwrap_or_default())).collect()
}
