//! What a request gives: its path, query and body. What cannot be read is answered with a problem.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The parts of the path.
pub(super) struct Path<T>(pub(super) T);

/// The query.
pub(super) struct Query<T>(pub(super) T);

/// A body of JSON; an empty one stands for an empty object.
pub(super) struct Json<T>(pub(super) T);

/// A body as it is.
pub(super) struct Body(pub(super) Bytes);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection| Problem::invalid(format!("the path is wrong: {}", rejection.body_text())))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| Problem::invalid(format!("the query is wrong: {}", rejection.body_text())))
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = "the body is too large: events and modules may have 64 MiB, anything else 1 MiB";
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
            }
            _ => Problem::invalid(format!("the body did not arrive: {}", rejection.body_text())),
        })
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        let Body(body) = Body::from_request(request, state).await?;
        if body.is_empty() {
            return parsed(b"{}").map(Self);
        }
        if media_type.as_deref().is_some_and(|media_type| media_type != "application/json") {
            return Err(unsupported("application/json"));
        }
        parsed(&body).map(Self)
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid(format!("the body is wrong: {error}")))
}

/// The media type of a body, without parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The body is of a media type that is not read here.
pub(super) fn unsupported(needed: &str) -> Problem {
    let detail = format!("the body is of another media type: send it with `content-type: {needed}`");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
}
