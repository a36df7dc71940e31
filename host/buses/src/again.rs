//! Messages that were no events, read again from what was kept of them. One reader serves every bus: what differs between
//! them is only what the names of attributes begin with.

use lantern_core::{Clock, Message, SystemClock, bus::Undecodable};

use crate::cloud_events::{Absent, headers};

/// What the headers of attributes begin with, on any bus.
const PREFIXES: [&str; 4] = ["ce_", "ce-", "cloudEvents_", "cloudEvents:"];

/// Reads a message again that was no event. What has no time happens now.
pub(crate) fn read_again(message: &Undecodable, category: Option<&str>) -> Result<Message, Undecodable> {
    let absent = Absent { stream: None, category, time: SystemClock.now(), id: None };
    let pairs = || message.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
    headers::read(pairs(), &PREFIXES, &message.body, &absent)
        .map_err(|invalid| headers::undecodable(&invalid, message.key.clone(), pairs(), message.body.clone()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cloud_events::headers::CONTENT_TYPE;

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
