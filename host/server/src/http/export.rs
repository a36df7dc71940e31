//! `/api/v1/events/export`: the log as JSON lines, one page in memory at a time.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use lantern_buses::cloud_events::CloudEvent;
use lantern_core::{Filter, Position, log::LogError};
use utoipa_axum::routes;

use super::{Routes, door::Open, events::Wanted, given::Query, problem::Problem};
use crate::wire::Host;

/// How many events are read at once.
const PAGE: usize = 1000;

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(export_events))
}

/// An export under way.
struct Export {
    host: Arc<Host>,
    filter: Filter,
    at: Position,
    until: Position,
}

/// Exports events as JSON lines, in the order of the log.
///
/// Ends at the head that the log had when the export began. What is exported can be imported: it comes out the same.
/// An export that breaks off ends without the end of a chunked body.
#[utoipa::path(
    get,
    path = "/api/v1/events/export",
    tag = "events",
    params(
        ("after" = Option<u64>, Query, description = "Only later events; default 0"),
        ("before" = Option<u64>, Query, description = "Only earlier events"),
        ("category" = Option<Vec<String>>, Query, description = "Only streams of these categories; may be repeated"),
        ("type" = Option<Vec<String>>, Query, description = "Only events of these types; may be repeated"),
        ("tenant" = Option<Vec<String>>, Query, description = "Only events of these tenants; may be repeated"),
    ),
    responses((status = 200, description = "CloudEvents", body = String, content_type = "application/x-ndjson"), Problem),
)]
async fn export_events(Open(host): Open, Query(pairs): Query<Vec<(String, String)>>) -> Result<Response, Problem> {
    let wanted = Wanted::of(pairs)?;
    let head = *host.log.head().borrow();
    let until = wanted.before.map_or(head, |before| head.min(Position(before.0.saturating_sub(1))));
    let export = Export { host, filter: wanted.filter, at: wanted.after.unwrap_or_default(), until };
    let lines = stream::try_unfold(export, next_lines);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// The lines of the next page.
async fn next_lines(mut export: Export) -> Result<Option<(Bytes, Export)>, LogError> {
    while export.at < export.until {
        let page = export.host.log.read(export.at, &export.filter, PAGE).await?;
        if page.end == export.at {
            return Ok(None);
        }
        export.at = page.end;
        let mut lines = Vec::new();
        for event in page.events.iter().take_while(|event| event.position <= export.until) {
            let unwritable =
                |error: serde_json::Error| LogError::Corrupt { position: event.position, reason: error.to_string() };
            serde_json::to_writer(&mut lines, &CloudEvent::exchange(event)).map_err(unwritable)?;
            lines.push(b'\n');
        }
        if !lines.is_empty() {
            return Ok(Some((lines.into(), export)));
        }
    }
    Ok(None)
}
