//! CloudEvents 1.0: JSON and messages read into events and written from them.
//!
//! | CloudEvents | Lantern |
//! |---|---|
//! | `subject` | the stream, `category-id` |
//! | `id` | the event id; a text that is no UUID becomes a UUID v5 of source and id and is kept in the pair `ce-id` |
//! | `source` | `metadata.source`; `/lantern` stands for none |
//! | `type`, `time` | type and time |
//! | `data` | JSON, verbatim but for line breaks; a text of another content type becomes bytes |
//! | `data_base64` | bytes |
//! | `datacontenttype` | the content type; one that JSON data has beside `application/json` is kept in `ce-datacontenttype` |
//! | `schemaversion` | the schema version, 1 when absent |
//! | `correlationid`, `causationid`, `tenant`, `actor` | the fields of the metadata |
//! | `traceparent`, `tracestate` | the trace context |
//! | `position`, `streamversion` | written in listings, passed over when read: they belong to one log |
//! | `dataschema` and every other extension | a free pair of that name |
//!
//! Writing and reading an event gives the same event; reading and writing what was written gives the same bytes.
//! [`bound`] says how an event becomes a message of each protocol.

pub mod bound;
mod compact;
mod draft;
pub(crate) mod headers;
pub mod http;
mod invalid;
mod read;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use draft::Absent;
pub use invalid::Invalid;
pub use read::read;
pub use write::CloudEvent;

/// The source of events that name none.
pub const SOURCE: &str = "/lantern";

/// The free pair that keeps an id that is no UUID.
pub const KEPT_ID: &str = "ce-id";

/// The free pair that keeps the content type of JSON data that is not plainly `application/json`.
pub const KEPT_CONTENT_TYPE: &str = "ce-datacontenttype";

/// Whether a media type says that the data is JSON.
pub fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let ends_with = |end: &str| {
        let at = media_type.len().checked_sub(end.len());
        at.and_then(|at| media_type.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    ends_with("/json") || ends_with("+json")
}
