//! `/api/v1/commands`: commands to aggregates.

use std::sync::Arc;

use axum::{Json, body::Bytes, http::HeaderMap};
use lantern_aggregates::{Answer, CommandError};
use lantern_buses::cloud_events::is_json;
use lantern_core::{Command, EventType, Metadata, Payload, StreamName, Version};
use lantern_telemetry::propagation;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{
    Routes,
    door::Open,
    given::{Body, Path, Query, media_type},
    problem::Problem,
    shapes,
};
use crate::wire::Host;

/// The header that carries the id of a command.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(send_command))
}

/// What goes with a command beside its data.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Sent {
    /// The command's id, a UUID, where the header `Idempotency-Key` does not give it: a command that is sent again under
    /// its id has no second effect and is answered as before.
    id: Option<String>,
    /// The version the sender believes the stream has; 0 for none.
    expect: Option<u64>,
    /// The id shared by everything one request set in motion.
    correlation_id: Option<String>,
    /// The id of what caused the command.
    causation_id: Option<String>,
    /// Whose data it is.
    tenant: Option<String>,
    /// Who acted.
    actor: Option<String>,
}

/// Sends a command to an aggregate.
///
/// The aggregate of the stream's category decides, on the state its events make. What it decides is appended at the
/// version it was decided on; when others changed the stream meanwhile, it is decided anew, a few times. A query with the
/// answer's `position` as its `min_position` sees what the command did.
///
/// Types of problems: `rejected` (422) with the module's own `code`, `message` and `details`; `wrong-expected-version`
/// and `contended` (409); `id-taken` (409), the id belongs to a command for another stream; `not-found` (404), there is
/// no such aggregate or it knows no such command; `busy` (503), too many commands wait; `module-failed` (500) with the
/// `trace_id` of the failure.
#[utoipa::path(
    post,
    path = "/api/v1/commands/{stream}/{type}",
    tag = "commands",
    params(
        ("stream" = String, Path, description = "`category-id`, percent-encoded; the category is the aggregate's name"),
        ("type" = String, Path, description = "The command's type, for example `PlaceOrder`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The command's id, a UUID; made where there is none"),
        Sent,
    ),
    request_body(description = "The command's data: JSON, or bytes of any other media type. An empty body is `{}`", content(
        (serde_json::Value = "application/json"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses((status = 200, description = "What was decided is in the log, on disk", body = shapes::CommandAnswer), Problem),
)]
async fn send_command(
    Open(host): Open,
    Path((stream, command_type)): Path<(StreamName, EventType)>,
    Query(sent): Query<Sent>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<Answer>, Problem> {
    let id = id(&headers, sent.id.as_deref())?;
    let text = |text: Option<String>| text.map(Arc::from);
    let command = Command {
        id: id.unwrap_or_else(Uuid::now_v7),
        stream,
        command_type,
        data: data(&headers, body)?,
        received_at: host.clock.now(),
        metadata: Metadata {
            correlation_id: text(sent.correlation_id),
            causation_id: text(sent.causation_id),
            tenant: text(sent.tenant),
            actor: text(sent.actor),
            trace: propagation::current(),
            ..Metadata::default()
        },
    };
    let expect = sent.expect.map(Version);
    carry_out(&host, command, id.is_some(), expect).await.map(Json).map_err(traced)
}

async fn carry_out(
    host: &Host,
    command: Command,
    was_named: bool,
    expect: Option<Version>,
) -> Result<Answer, CommandError> {
    if was_named {
        host.aggregates.send(command, expect).await
    } else {
        host.aggregates.send_fresh(command, expect).await
    }
}

/// The id of a command, from the header or the query.
fn id(headers: &HeaderMap, query: Option<&str>) -> Result<Option<Uuid>, Problem> {
    let header = headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap_or_default().trim_matches('"'));
    let uuid = |text: &str| {
        let wrong = || {
            let text = text.escape_debug();
            Problem::invalid(format!(
                "`{text}` is no id of a command: give a UUID, and the same again when you repeat it"
            ))
        };
        Uuid::parse_str(text).map_err(|_| wrong())
    };
    match (header.map(uuid).transpose()?, query.map(uuid).transpose()?) {
        (Some(header), Some(query)) if header != query => {
            let detail = format!("`Idempotency-Key` is {header}, but `id` is {query}: give one of the two");
            Err(Problem::invalid(detail))
        }
        (header, query) => Ok(header.or(query)),
    }
}

/// The data of a command.
fn data(headers: &HeaderMap, body: Bytes) -> Result<Payload, Problem> {
    let media_type = media_type(headers);
    if body.is_empty() && media_type.is_none() {
        return Ok(Payload::Json("{}".into()));
    }
    match media_type {
        Some(media_type) if !is_json(&media_type) => Ok(Payload::Bytes { content_type: media_type.into(), data: body }),
        _ => {
            let json = serde_json::from_slice::<&RawValue>(&body);
            let json = json.map_err(|error| Problem::invalid(format!("the command's data is no JSON: {error}")))?;
            Ok(Payload::Json(json.get().into()))
        }
    }
}

/// What the host failed at can be looked up in the trace of the request.
fn traced(error: CommandError) -> Problem {
    let problem = Problem::from(error);
    match propagation::current() {
        Some(context) if problem.status.is_server_error() => {
            problem.with("trace_id", format!("{:032x}", context.trace_id))
        }
        _ => problem,
    }
}
