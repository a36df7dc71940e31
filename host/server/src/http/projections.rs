//! `/api/v1/projections`: deploying projections and changing what they run.

use std::collections::BTreeMap;

use axum::{Json, http::StatusCode};
use lantern_core::{Entry, Position, Name, journal::FailurePolicy, module::Limits};
use lantern_processors::{Deploy, Start, Status, Swapped};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    door::Open,
    given::{self, Path},
    modules::find,
    problem::Problem,
    shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(deploy_projection, list_projections))
        .routes(routes!(show_projection, remove_projection))
        .routes(routes!(pause_projection))
        .routes(routes!(resume_projection))
        .routes(routes!(swap_projection))
        .routes(routes!(roll_back_projection))
        .routes(routes!(rebuild_projection))
        .routes(routes!(show_history))
}

/// A projection to deploy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeployBody {
    /// Its name: 1 to 64 letters, digits, `_` and `-`.
    #[schema(value_type = String)]
    name: Name,
    /// Its module: a digest or its first six or more digits.
    module: String,
    /// `beginning` (default), `end`, or `after:N` for the events after position N.
    #[serde(default = "beginning")]
    from: String,
    /// What the module reads through `wasi:config`.
    #[serde(default)]
    config: BTreeMap<String, String>,
    /// What the module may use.
    #[serde(default)]
    #[schema(value_type = shapes::Limits)]
    limits: Limits,
    /// How failures are dealt with.
    #[serde(default)]
    #[schema(value_type = shapes::FailurePolicy)]
    failure_policy: FailurePolicy,
}

fn beginning() -> String {
    "beginning".into()
}

fn start(text: &str) -> Result<Start, Problem> {
    let after = |text: &str| text.strip_prefix("after:")?.parse().ok().map(|position| Start::After(Position(position)));
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        _ => after(text).ok_or_else(|| {
            Problem::invalid(format!("`from` is `{text}`: write `beginning`, `end` or `after:N` with a position"))
        }),
    }
}

/// Deploys a projection.
#[utoipa::path(
    post,
    path = "/api/v1/projections",
    tag = "projections",
    request_body = DeployBody,
    responses((status = 201, description = "It has begun", body = shapes::Status), Problem),
)]
async fn deploy_projection(
    Open(host): Open,
    given::Json(body): given::Json<DeployBody>,
) -> Result<(StatusCode, Json<Status>), Problem> {
    if body.failure_policy.attempts == 0 {
        return Err(Problem::invalid("`failure_policy.attempts` is 0: at least 1 is needed"));
    }
    let deploy = Deploy {
        start: start(&body.from)?,
        module: find(&*host.library, &body.module).await?,
        name: body.name,
        config: body.config,
        limits: body.limits,
        failure_policy: body.failure_policy,
    };
    Ok((StatusCode::CREATED, Json(host.supervisor.deploy(deploy).await?)))
}

/// All projections.
#[derive(Serialize)]
struct ProjectionList {
    projections: Vec<Status>,
}

/// Lists projections by name.
#[utoipa::path(
    get,
    path = "/api/v1/projections",
    tag = "projections",
    responses((status = 200, description = "The projections", body = shapes::ProjectionList), Problem),
)]
async fn list_projections(Open(host): Open) -> Json<ProjectionList> {
    Json(ProjectionList { projections: host.supervisor.list() })
}

/// Shows what a projection is doing.
#[utoipa::path(
    get,
    path = "/api/v1/projections/{name}",
    tag = "projections",
    params(("name" = String, Path)),
    responses((status = 200, description = "What the projection is doing", body = shapes::Status), Problem),
)]
async fn show_projection(Open(host): Open, Path(name): Path<Name>) -> Result<Json<Status>, Problem> {
    Ok(Json(host.supervisor.status(&name)?))
}

/// Removes a projection with its read model.
#[utoipa::path(
    delete,
    path = "/api/v1/projections/{name}",
    tag = "projections",
    params(("name" = String, Path)),
    responses((status = 204, description = "It is gone; its history stays"), Problem),
)]
async fn remove_projection(Open(host): Open, Path(name): Path<Name>) -> Result<StatusCode, Problem> {
    host.supervisor.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pauses a projection at the next boundary of batches; it stays paused over a restart.
#[utoipa::path(
    post,
    path = "/api/v1/projections/{name}/pause",
    tag = "projections",
    params(("name" = String, Path)),
    responses((status = 200, description = "What the projection is doing", body = shapes::Status), Problem),
)]
async fn pause_projection(Open(host): Open, Path(name): Path<Name>) -> Result<Json<Status>, Problem> {
    Ok(Json(host.supervisor.pause(&name).await?))
}

/// Lets a projection go on that is paused or in error.
#[utoipa::path(
    post,
    path = "/api/v1/projections/{name}/resume",
    tag = "projections",
    params(("name" = String, Path)),
    responses((status = 200, description = "What the projection is doing", body = shapes::Status), Problem),
)]
async fn resume_projection(Open(host): Open, Path(name): Path<Name>) -> Result<Json<Status>, Problem> {
    Ok(Json(host.supervisor.resume(&name).await?))
}

/// The module to change to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwapBody {
    /// A digest or its first six or more digits.
    pub(crate) module: String,
}

/// Replaces the module between two events, keeping the read model.
///
/// The new module is tried on recent events and on every parked one first, without effect; one that fails is refused.
#[utoipa::path(
    post,
    path = "/api/v1/projections/{name}/swap",
    tag = "projections",
    params(("name" = String, Path)),
    request_body = SwapBody,
    responses((status = 200, description = "The change took effect", body = shapes::Swapped), Problem),
)]
async fn swap_projection(
    Open(host): Open,
    Path(name): Path<Name>,
    given::Json(body): given::Json<SwapBody>,
) -> Result<Json<Swapped>, Problem> {
    let module = find(&*host.library, &body.module).await?;
    Ok(Json(host.supervisor.swap(&name, module).await?))
}

/// Goes back to the module before the last swap, or the generation before the last promotion.
#[utoipa::path(
    post,
    path = "/api/v1/projections/{name}/rollback",
    tag = "projections",
    params(("name" = String, Path)),
    responses((status = 200, description = "The change took effect", body = shapes::Swapped), Problem),
)]
async fn roll_back_projection(Open(host): Open, Path(name): Path<Name>) -> Result<Json<Swapped>, Problem> {
    Ok(Json(host.supervisor.rollback(&name).await?))
}

/// What to rebuild with.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RebuildBody {
    /// A digest or its first six or more digits; the module that runs now when absent.
    pub(crate) module: Option<String>,
}

/// Begins a new generation beside the live one.
///
/// It is promoted by itself when it has caught up; until then `rebuild` in the status shows how far it is.
#[utoipa::path(
    post,
    path = "/api/v1/projections/{name}/rebuild",
    tag = "projections",
    params(("name" = String, Path)),
    request_body = RebuildBody,
    responses((status = 202, description = "It has begun", body = shapes::Status), Problem),
)]
async fn rebuild_projection(
    Open(host): Open,
    Path(name): Path<Name>,
    given::Json(body): given::Json<RebuildBody>,
) -> Result<(StatusCode, Json<Status>), Problem> {
    let module = match &body.module {
        Some(module) => Some(find(&*host.library, module).await?),
        None => None,
    };
    Ok((StatusCode::ACCEPTED, Json(host.supervisor.rebuild(&name, module).await?)))
}

/// What happened to a projection.
#[derive(Serialize)]
struct HistoryAnswer {
    entries: Vec<Entry>,
}

/// Tells what happened to a projection, oldest first; also to one that was removed.
#[utoipa::path(
    get,
    path = "/api/v1/projections/{name}/history",
    tag = "projections",
    params(("name" = String, Path)),
    responses((status = 200, description = "What happened", body = shapes::HistoryAnswer), Problem),
)]
async fn show_history(Open(host): Open, Path(name): Path<Name>) -> Result<Json<HistoryAnswer>, Problem> {
    Ok(Json(HistoryAnswer { entries: host.supervisor.history(&name).await? }))
}
