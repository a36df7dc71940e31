//! `/api/v1/routes`: the routes between buses and the log, and what they have set aside.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use lantern_core::Name;
use lantern_processors::{DeadLetter, Refusal, Retried, RouteStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    door::{Door, Open},
    elsewhere,
    events::limit,
    given::{self, Path, Query},
    problem::Problem,
    shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_routes))
        .routes(routes!(show_route))
        .routes(routes!(pause_route))
        .routes(routes!(resume_route))
        .routes(routes!(list_route_dead_letters))
        .routes(routes!(show_route_dead_letter, discard_route_dead_letter))
        .routes(routes!(retry_route_dead_letters))
}

/// All routes.
#[derive(Serialize)]
struct RouteList {
    routes: Vec<RouteStatus>,
}

/// Lists the routes by name, whichever host runs them.
#[utoipa::path(
    get,
    path = "/api/v1/routes",
    tag = "buses",
    responses((status = 200, description = "The routes", body = shapes::RouteList), Problem),
)]
async fn list_routes(
    State(door): State<Arc<Door>>,
    Open(host): Open,
    headers: HeaderMap,
) -> Result<Json<RouteList>, Problem> {
    Ok(Json(RouteList { routes: elsewhere::list_routes(&host, &door, &headers).await? }))
}

/// Shows how a route is doing.
#[utoipa::path(
    get,
    path = "/api/v1/routes/{name}",
    tag = "buses",
    params(("name" = String, Path)),
    responses((status = 200, description = "The route", body = shapes::RouteStatus), Problem),
)]
async fn show_route(Open(host): Open, Path(name): Path<Name>) -> Result<Json<RouteStatus>, Problem> {
    match host.routes.status(&name).await {
        // Its owner does not answer: what is stored is shown.
        Err(Refusal::RouteElsewhere { .. }) => Ok(Json(host.routes.recall(&name).await?)),
        status => Ok(Json(status?)),
    }
}

/// Has a route rest until it is resumed, also when it moves to another host or the host starts again.
#[utoipa::path(
    post,
    path = "/api/v1/routes/{name}/pause",
    tag = "buses",
    params(("name" = String, Path)),
    responses((status = 200, description = "It rests", body = shapes::RouteStatus), Problem),
)]
async fn pause_route(Open(host): Open, Path(name): Path<Name>) -> Result<Json<RouteStatus>, Problem> {
    Ok(Json(host.routes.pause(&name).await?))
}

/// Lets a route go on that was paused, or stopped by an error.
#[utoipa::path(
    post,
    path = "/api/v1/routes/{name}/resume",
    tag = "buses",
    params(("name" = String, Path)),
    responses((status = 200, description = "It goes on", body = shapes::RouteStatus), Problem),
)]
async fn resume_route(Open(host): Open, Path(name): Path<Name>) -> Result<Json<RouteStatus>, Problem> {
    Ok(Json(host.routes.resume(&name).await?))
}

/// Which dead letters to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only those after this one: a position or an id.
    after: Option<String>,
    /// At most so many, 1 to 1000; default 100.
    limit: Option<u64>,
}

/// Dead letters of a route.
#[derive(Serialize)]
struct RouteDeadLetterList {
    dead_letters: Vec<DeadLetter>,
}

/// Lists what a route has set aside: events that a bus did not take, or messages that are no events.
#[utoipa::path(
    get,
    path = "/api/v1/routes/{name}/dead-letters",
    tag = "dead letters",
    params(("name" = String, Path), Wanted),
    responses((status = 200, description = "The dead letters", body = shapes::RouteDeadLetterList), Problem),
)]
async fn list_route_dead_letters(
    Open(host): Open,
    Path(name): Path<Name>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<RouteDeadLetterList>, Problem> {
    let limit = wanted.limit.map_or(Ok(100), limit)?;
    let dead_letters = host.routes.dead_letters(&name, wanted.after.as_deref(), limit).await?;
    Ok(Json(RouteDeadLetterList { dead_letters }))
}

/// Shows one of them: an event by its position, a message by its id.
#[utoipa::path(
    get,
    path = "/api/v1/routes/{name}/dead-letters/{id}",
    tag = "dead letters",
    params(("name" = String, Path), ("id" = String, Path)),
    responses((status = 200, description = "The dead letter", body = shapes::RouteDeadLetter), Problem),
)]
async fn show_route_dead_letter(Open(host): Open, Path((name, id)): Path<(Name, String)>) -> Result<Response, Problem> {
    Ok(Json(host.routes.dead_letter(&name, &id).await?).into_response())
}

/// Which dead letters of a route to try again: all of them unless one is named.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryRouteBody {
    /// Only this one: a position or an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Messages are read as if the route had this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) category: Option<String>,
}

/// Tries again what a route has set aside: publishes the events, reads the messages anew.
#[utoipa::path(
    post,
    path = "/api/v1/routes/{name}/dead-letters/retry",
    tag = "dead letters",
    params(("name" = String, Path)),
    request_body = RetryRouteBody,
    responses((status = 200, description = "They were tried", body = shapes::Retried), Problem),
)]
async fn retry_route_dead_letters(
    Open(host): Open,
    Path(name): Path<Name>,
    given::Json(body): given::Json<RetryRouteBody>,
) -> Result<Json<Retried>, Problem> {
    Ok(Json(host.routes.retry(&name, body.id.as_deref(), body.category.as_deref()).await?))
}

/// Gives up on what a route has set aside. The record of an event stays, as skipped, and its stream goes on; a message is
/// forgotten.
#[utoipa::path(
    delete,
    path = "/api/v1/routes/{name}/dead-letters/{id}",
    tag = "dead letters",
    params(("name" = String, Path), ("id" = String, Path)),
    responses((status = 204, description = "It is given up"), Problem),
)]
async fn discard_route_dead_letter(
    Open(host): Open,
    Path((name, id)): Path<(Name, String)>,
) -> Result<StatusCode, Problem> {
    host.routes.discard(&name, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
