//! Errors as RFC 9457 problem details: what went wrong, for people and for programs.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lantern_core::{
    journal::JournalError,
    log::{AppendError, LogError, MAX_APPEND},
    module::LibraryError,
    read_model::ReadModelError,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{Content, Ref, RefOr, Response as Described, ResponseBuilder};

/// The media type of problem details.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong. Answered as problem details: `type`, `title`, `status`, `detail` and members of the type's own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// The type: a short name that never changes.
    pub(crate) slug: &'static str,
    /// What happened here and how to mend it.
    pub(crate) detail: String,
    /// What the type carries beside.
    pub(crate) members: Map<String, Value>,
}

/// The type and detail of a problem, left with its answer for the span of the request.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) slug: &'static str,
    pub(super) detail: String,
}

impl Problem {
    /// A problem of a type.
    pub(crate) fn new(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, detail: detail.into(), members: Map::new() }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", detail)
    }

    /// What is asked for is not there.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// Adds a member.
    pub(crate) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // Only plain values and names are given, which always have a JSON form.
        self.members.insert(name.into(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// The type in words: `wrong-expected-version` is `Wrong expected version`.
    fn title(&self) -> String {
        let words = self.slug.replace('-', " ");
        let mut letters = words.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
    }

    /// The problem as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), self.slug.into());
        body.insert("title".into(), self.title().into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.as_str().into());
        body.extend(self.members.clone());
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json().to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(Told { slug: self.slug, detail: self.detail });
        response
    }
}

impl utoipa::IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let described = ResponseBuilder::new().description("What went wrong").content(MEDIA_TYPE, content).build();
        BTreeMap::from([("default".into(), described.into())])
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let detail = error.to_string();
        match error {
            AppendError::WrongExpectedVersion { stream, expected, actual } => {
                Self::new(StatusCode::CONFLICT, "wrong-expected-version", detail)
                    .with("stream", stream)
                    .with("expected", expected.to_string())
                    .with("actual", actual)
            }
            AppendError::DuplicateEvent { id, position } => {
                Self::new(StatusCode::CONFLICT, "duplicate-event", detail).with("id", id).with("position", position)
            }
            AppendError::Empty => Self::invalid(detail),
            AppendError::TooLarge(events) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-events", detail)
                .with("events", events)
                .with("limit", MAX_APPEND),
            AppendError::Unavailable(_) => unavailable("log-unavailable", detail),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        let detail = error.to_string();
        match error {
            LogError::Corrupt { position, .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "log-damaged", detail).with("position", position)
            }
            LogError::Unavailable(_) => unavailable("log-unavailable", detail),
        }
    }
}

impl From<LibraryError> for Problem {
    fn from(error: LibraryError) -> Self {
        let detail = error.to_string();
        match error {
            LibraryError::Unfit(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "module-unfit", detail),
            LibraryError::Refused(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "module-refused", detail),
            LibraryError::Unknown(digest) => Self::not_found(detail).with("digest", digest),
            LibraryError::Ambiguous(digits) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "ambiguous-digest", detail).with("digits", digits)
            }
            LibraryError::Unavailable(_) => unavailable("library-unavailable", detail),
        }
    }
}

impl From<ReadModelError> for Problem {
    fn from(error: ReadModelError) -> Self {
        let detail = error.to_string();
        match error {
            ReadModelError::Unknown(generation) => Self::not_found(detail).with("generation", generation.to_string()),
            ReadModelError::Unavailable(_) => unavailable("read-model-unavailable", detail),
        }
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        unavailable("journal-unavailable", error.to_string())
    }
}

/// What passes by itself.
pub(super) fn unavailable(slug: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, slug, detail)
}

#[cfg(test)]
mod tests {
    use lantern_core::{Expected, Version};

    use super::*;

    #[test]
    fn a_problem_carries_what_a_program_needs() {
        let error = AppendError::WrongExpectedVersion {
            stream: "Order-1".parse().unwrap(),
            expected: Expected::Exact(Version(2)),
            actual: Version(3),
        };
        let expected = serde_json::json!({
            "type": "wrong-expected-version",
            "title": "Wrong expected version",
            "status": 409,
            "detail": "stream `Order-1` is at version 3, expected 2: read it again and decide anew",
            "stream": "Order-1",
            "expected": "2",
            "actual": 3,
        });
        assert_eq!(Problem::from(error).to_json(), expected);
    }

    #[test]
    fn what_passes_by_itself_says_when_to_try_again() {
        let response = Problem::from(LogError::Unavailable("the disk is full".into())).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
    }
}
