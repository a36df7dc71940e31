//! One event in the binary mode of CloudEvents over HTTP: its attributes are headers, its data is the body. Both ways.

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lantern_buses::cloud_events::{Absent, CloudEvent, Invalid, bound, http};
use lantern_core::{NewEvent, StreamName};

use super::problem::Problem;

/// Whether the headers of a request say that it is an event in binary mode.
pub(super) fn is_meant(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    http::is_binary(content_type, headers.keys().map(HeaderName::as_str))
}

/// Reads the event of a request.
pub(super) fn read(headers: &HeaderMap, body: &Bytes, absent: &Absent<'_>) -> Result<(StreamName, NewEvent), Problem> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    http::read(headers, body, absent).map_err(|invalid| refused(&invalid))
}

/// What is wrong, and the header in which it is wrong.
fn refused(Invalid { field, reason }: &Invalid) -> Problem {
    let header = field.as_deref().and_then(http::header);
    let place = header.as_ref().map_or_else(|| "the body".into(), |header| format!("the header `{header}`"));
    let detail = format!("the event in binary mode: {place} {reason}");
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-event", detail).with("reason", reason);
    let problem = field.iter().fold(problem, |problem, field| problem.with("field", field));
    header.iter().fold(problem, |problem, header| problem.with("header", header))
}

/// An answer that is an event in binary mode. One that has no such form is answered in structured mode; the content type
/// tells.
pub(super) fn answer(event: CloudEvent<'_>) -> Response {
    let mut attributes = Vec::new();
    let bound = http::write(event, |name, value| attributes.push((name, value.to_owned())));
    let header =
        |(name, value): (String, String)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?));
    // A handler may have given its event a pair whose name is no header's.
    let headers: Option<HeaderMap> = attributes.into_iter().map(header).collect();
    match headers.zip(HeaderValue::try_from(bound.content_type).ok()) {
        Some((headers, content_type)) => (headers, [(header::CONTENT_TYPE, content_type)], bound.body).into_response(),
        None => structured(event),
    }
}

/// An answer that is an event in structured mode.
pub(super) fn structured(event: CloudEvent<'_>) -> Response {
    ([(header::CONTENT_TYPE, bound::STRUCTURED)], axum::Json(event)).into_response()
}
