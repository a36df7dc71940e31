//! `dead-letters` of a processor: what could not be handled, and what an operator does about it.

use axum::{
    Extension, Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use lantern_buses::cloud_events::CloudEvent;
use lantern_core::{Event, Filter, Kind, Log, Name, Parked, Position, StreamName, Subject, log::LogError};
use lantern_processors::{Refusal, Retried, Selection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    door::Open,
    events::limit,
    given::{self, Path, Query},
    problem::Problem,
    shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_processor_dead_letters))
        .routes(routes!(show_processor_dead_letter))
        .routes(routes!(retry_processor_dead_letters))
        .routes(routes!(skip_processor_dead_letter))
}

/// Which dead letters to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only later positions; default 0.
    after: Option<u64>,
    /// At most so many, 1 to 1000; default 100.
    limit: Option<u64>,
}

/// Dead letters.
#[derive(Serialize)]
struct DeadLetterList {
    dead_letters: Vec<Parked>,
}

/// A dead letter with its event.
#[derive(Serialize)]
struct DeadLetter<'a> {
    #[serde(flatten)]
    parked: &'a Parked,
    event: Option<CloudEvent<'a>>,
}

/// Lists dead letters in the order of the log, those that were skipped included.
#[utoipa::path(
    get,
    path = "/{name}/dead-letters",
    tag = "dead letters",
    params(("name" = String, Path), Wanted),
    responses((status = 200, description = "The dead letters", body = shapes::DeadLetterList), Problem),
)]
async fn list_processor_dead_letters(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let limit = wanted.limit.map_or(Ok(100), limit)?;
    let after = Position(wanted.after.unwrap_or(0));
    let dead_letters = host.supervisor.read_model(kind, &name, None).await?.parked(after, limit).await?;
    Ok(Json(DeadLetterList { dead_letters }).into_response())
}

/// Shows a dead letter with its event.
#[utoipa::path(
    get,
    path = "/{name}/dead-letters/{position}",
    tag = "dead letters",
    params(("name" = String, Path), ("position" = u64, Path)),
    responses((status = 200, description = "The dead letter", body = shapes::DeadLetter), Problem),
)]
async fn show_processor_dead_letter(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path((name, position)): Path<(Name, u64)>,
) -> Result<Response, Problem> {
    let position = Position(position);
    let parked = host.supervisor.read_model(kind, &name, None).await?.parked_at(position).await?;
    let parked = parked.ok_or(Refusal::NotParked { subject: Subject { kind, name }, position })?;
    let event = event_at(&*host.log, position).await?;
    let event = event.as_ref().map(CloudEvent::listing);
    Ok(Json(DeadLetter { parked: &parked, event }).into_response())
}

async fn event_at(log: &dyn Log, position: Position) -> Result<Option<Event>, LogError> {
    let page = log.read(Position(position.0.saturating_sub(1)), &Filter::all(), 1).await?;
    Ok(page.events.into_iter().find(|event| event.position == position))
}

/// Which dead letters to try again: one of the three.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryBody {
    /// `true`: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) all: Option<bool>,
    /// Those of one stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) stream: Option<StreamName>,
    /// One, which must be the first of its stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<u64>,
}

impl RetryBody {
    fn selection(self) -> Result<Selection, Problem> {
        match self {
            Self { all: Some(true), stream: None, position: None } => Ok(Selection::All),
            Self { all: None, stream: Some(stream), position: None } => Ok(Selection::Stream(stream)),
            Self { all: None, stream: None, position: Some(position) } => Ok(Selection::Position(Position(position))),
            _ => Err(Problem::invalid(r#"give one of `{"all": true}`, `{"stream": …}` and `{"position": …}`"#)),
        }
    }
}

/// Tries dead letters again, in the order of the log.
#[utoipa::path(
    post,
    path = "/{name}/dead-letters/retry",
    tag = "dead letters",
    params(("name" = String, Path)),
    request_body = RetryBody,
    responses((status = 200, description = "They were tried", body = shapes::Retried), Problem),
)]
async fn retry_processor_dead_letters(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
    given::Json(body): given::Json<RetryBody>,
) -> Result<Json<Retried>, Problem> {
    Ok(Json(host.supervisor.retry(kind, &name, body.selection()?).await?))
}

/// Passes over the first dead letter of a stream. Its record stays, as skipped.
#[utoipa::path(
    post,
    path = "/{name}/dead-letters/{position}/skip",
    tag = "dead letters",
    params(("name" = String, Path), ("position" = u64, Path)),
    responses((status = 204, description = "It is skipped"), Problem),
)]
async fn skip_processor_dead_letter(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path((name, position)): Path<(Name, u64)>,
) -> Result<StatusCode, Problem> {
    host.supervisor.skip(kind, &name, Position(position)).await?;
    Ok(StatusCode::NO_CONTENT)
}
