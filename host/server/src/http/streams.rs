//! `/api/v1/streams`: the events of one entity.

use axum::{
    Json,
    extract::DefaultBodyLimit,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use lantern_buses::cloud_events::CloudEvent;
use lantern_core::{StreamName, Version, log::Range};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::UtoipaMethodRouterExt, routes};

use super::{
    Routes,
    door::Open,
    events::{Believed, direction, limit},
    given::{Body, Path, Query},
    incoming::{self, AppendAnswer, Form, MAX_BODY, Target},
    problem::Problem,
    shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(append_to_stream).layer(DefaultBodyLimit::max(MAX_BODY))).routes(routes!(read_stream))
}

/// Appends events to a stream.
///
/// The events are CloudEvents whose `subject` may be left out, so `type` and `data` are enough: an object with the
/// array `events`, or as in `POST /api/v1/events`, binary mode included.
#[utoipa::path(
    post,
    path = "/api/v1/streams/{stream}/events",
    tag = "events",
    params(("stream" = String, Path, description = "`category-id`, percent-encoded"), Believed),
    request_body(content = shapes::StreamEvents, content_type = "application/json"),
    responses((status = 200, description = "All events are in the log, on disk", body = AppendAnswer), Problem),
)]
async fn append_to_stream(
    Open(host): Open,
    Path(stream): Path<StreamName>,
    Query(believed): Query<Believed>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<AppendAnswer>, Problem> {
    let target = Target { stream: Some(stream), expected: believed.expected()? };
    incoming::append(&host, body, incoming::form(headers, Form::Wrapped)?, target).await.map(Json)
}

/// Which events of a stream to read.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The first version; default 1.
    from: Option<u64>,
    /// The last version; default the stream's last.
    to: Option<u64>,
    /// `forward` (default) or `backward`.
    direction: Option<String>,
    /// At most so many, 1 to 1000; default 100.
    limit: Option<u64>,
}

/// Events of a stream.
#[derive(Serialize)]
struct StreamAnswer<'a> {
    stream: &'a StreamName,
    version: Version,
    events: Vec<CloudEvent<'a>>,
}

/// Reads a stream.
#[utoipa::path(
    get,
    path = "/api/v1/streams/{stream}",
    tag = "events",
    params(("stream" = String, Path, description = "`category-id`, percent-encoded"), Wanted),
    responses((status = 200, description = "The events", body = shapes::StreamAnswer), Problem),
)]
async fn read_stream(
    Open(host): Open,
    Path(stream): Path<StreamName>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let version = host.log.stream_version(&stream).await?;
    if version == Version::NONE {
        let detail = format!("there is no stream `{stream}`: a stream begins with its first event");
        return Err(Problem::not_found(detail).with("stream", stream));
    }
    let range = Range {
        from: Version(wanted.from.unwrap_or(1)),
        to: wanted.to.map_or(version, Version),
        direction: wanted.direction.as_deref().map(direction).transpose()?.unwrap_or_default(),
        limit: wanted.limit.map(limit).transpose()?.unwrap_or(100),
    };
    let events = host.log.read_stream(&stream, range).await?;
    let events = events.iter().map(CloudEvent::listing).collect();
    Ok(Json(StreamAnswer { stream: &stream, version, events }).into_response())
}
