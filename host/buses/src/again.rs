//! Messages that were no events, read again from what was kept of them. One reader serves every bus: what differs between
//! them is only what the names of attributes begin with.

use std::borrow::Cow;

use bytes::Bytes;
use lantern_core::{Clock, Message, SystemClock, bus::Undecodable};

use crate::cloud_events::{
    Absent, Invalid, bound,
    headers::{self, CONTENT_TYPE},
};

/// What the headers of attributes begin with, on any bus.
const PREFIXES: [&str; 4] = ["ce_", "ce-", "cloudEvents_", "cloudEvents:"];

/// Reads a message again that was no event. What has no time happens now.
pub(crate) fn read_again(message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable> {
    let absent = Absent { stream: None, category, time: SystemClock.now(), id: None };
    read(message, &absent).map_err(|invalid| {
        let pairs = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
        headers::undecodable(&invalid, message.key.clone(), pairs, message.body.clone())
    })
}

fn read(message: &Undecodable, absent: &Absent<'_>) -> Result<Message, Invalid> {
    let (mut content_type, mut attributes) = (None, Vec::new());
    for (name, value) in &message.headers {
        if name.eq_ignore_ascii_case(CONTENT_TYPE) {
            content_type = Some(text(CONTENT_TYPE, value)?);
        } else if let Some(name) = PREFIXES.iter().find_map(|prefix| attribute(name, prefix)) {
            let value = text(&name, value)?;
            attributes.push((Cow::from(name), Cow::from(value)));
        }
    }
    bound::read(content_type, attributes, &message.body, absent)
}

/// The name of the attribute that a header carries.
fn attribute(header: &str, prefix: &str) -> Option<String> {
    let (start, name) = header.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| name.to_ascii_lowercase())
}

fn text<'a>(name: &str, value: &'a Bytes) -> Result<&'a str, Invalid> {
    std::str::from_utf8(value).map_err(|_| Invalid::field(name.to_owned(), "is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(prefix: &str, subject: &str) -> Undecodable {
        let attributes = [("specversion", "1.0"), ("id", "7"), ("type", "Paid"), ("subject", subject)];
        let headers = attributes.map(|(name, value)| (format!("{prefix}{name}"), Bytes::from(value.to_owned())));
        let content_type = (CONTENT_TYPE.to_owned(), Bytes::from_static(b"application/json"));
        let headers = headers.into_iter().chain([content_type]).collect();
        Undecodable { reason: "no subject".into(), key: None, headers, body: Bytes::from_static(b"{}") }
    }

    #[test]
    fn a_category_makes_an_event_of_what_was_none_on_any_bus() {
        for prefix in PREFIXES {
            let message = kept(prefix, "no stream");
            let again = read_again(&message, None).unwrap_err();
            assert_eq!((&again.headers, &again.body), (&message.headers, &message.body), "{prefix}");
            let read = read_again(&kept(prefix, "42"), Some("Payment")).unwrap();
            assert_eq!((read.stream.as_str(), read.event.event_type.as_str()), ("Payment-42", "Paid"), "{prefix}");
        }
    }
}
