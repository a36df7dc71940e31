//! `/api/v1/upcasters`: deploying upcasters and changing what they run.

use std::collections::BTreeMap;

use axum::{Json, http::StatusCode};
use lantern_core::{Name, module::Limits};
use lantern_upcasters::{Deploy, Status, Swapped};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    changes::{HistoryAnswer, SwapBody},
    door::Open,
    given::{self, Path},
    modules::find,
    problem::Problem,
    shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(deploy_upcaster, list_upcasters))
        .routes(routes!(show_upcaster, remove_upcaster))
        .routes(routes!(swap_upcaster))
        .routes(routes!(roll_back_upcaster))
        .routes(routes!(show_upcaster_history))
}

/// An upcaster to deploy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpcasterDeployBody {
    /// Its name: 1 to 64 letters, digits, `_` and `-`.
    #[schema(value_type = String)]
    name: Name,
    /// Its module: a digest or its first six or more digits.
    module: String,
    /// What the module reads through `wasi:config`.
    #[serde(default)]
    config: BTreeMap<String, String>,
    /// What the module may use.
    #[serde(default)]
    #[schema(value_type = shapes::Limits)]
    limits: Limits,
}

/// Deploys an upcaster: from now on modules see older events in the form it makes of them. The log stays as it is.
#[utoipa::path(
    post,
    path = "/api/v1/upcasters",
    tag = "upcasters",
    request_body = UpcasterDeployBody,
    responses((status = 201, description = "Its steps are taken", body = shapes::UpcasterStatus), Problem),
)]
async fn deploy_upcaster(
    Open(host): Open,
    given::Json(body): given::Json<UpcasterDeployBody>,
) -> Result<(StatusCode, Json<Status>), Problem> {
    let module = find(&*host.library, &body.module).await?;
    let UpcasterDeployBody { name, config, limits, .. } = body;
    let deploy = Deploy { name, module, config, limits };
    Ok((StatusCode::CREATED, Json(host.upcasters.deploy(deploy).await?)))
}

/// All upcasters.
#[derive(Serialize)]
struct UpcasterList {
    upcasters: Vec<Status>,
}

/// Lists upcasters by name.
#[utoipa::path(
    get,
    path = "/api/v1/upcasters",
    tag = "upcasters",
    responses((status = 200, description = "The upcasters", body = shapes::UpcasterList), Problem),
)]
async fn list_upcasters(Open(host): Open) -> Json<UpcasterList> {
    Json(UpcasterList { upcasters: host.upcasters.list() })
}

/// Shows how an upcaster stands.
#[utoipa::path(
    get,
    path = "/api/v1/upcasters/{name}",
    tag = "upcasters",
    params(("name" = String, Path)),
    responses((status = 200, description = "How the upcaster stands", body = shapes::UpcasterStatus), Problem),
)]
async fn show_upcaster(Open(host): Open, Path(name): Path<Name>) -> Result<Json<Status>, Problem> {
    Ok(Json(host.upcasters.status(&name)?))
}

/// Removes an upcaster: from now on its steps are not taken.
#[utoipa::path(
    delete,
    path = "/api/v1/upcasters/{name}",
    tag = "upcasters",
    params(("name" = String, Path)),
    responses((status = 204, description = "It is gone; its history stays"), Problem),
)]
async fn remove_upcaster(Open(host): Open, Path(name): Path<Name>) -> Result<StatusCode, Problem> {
    host.upcasters.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces the module.
///
/// The new module is tried on recent events first, without effect; one that fails is refused. What other modules see
/// from then on is what the new one makes.
#[utoipa::path(
    post,
    path = "/api/v1/upcasters/{name}/swap",
    tag = "upcasters",
    params(("name" = String, Path)),
    request_body = SwapBody,
    responses((status = 200, description = "The change took effect", body = shapes::UpcasterSwapped), Problem),
)]
async fn swap_upcaster(
    Open(host): Open,
    Path(name): Path<Name>,
    given::Json(body): given::Json<SwapBody>,
) -> Result<Json<Swapped>, Problem> {
    let module = find(&*host.library, &body.module).await?;
    Ok(Json(host.upcasters.swap(&name, module).await?))
}

/// Goes back to the module before the last swap.
#[utoipa::path(
    post,
    path = "/api/v1/upcasters/{name}/rollback",
    tag = "upcasters",
    params(("name" = String, Path)),
    responses((status = 200, description = "The change took effect", body = shapes::UpcasterSwapped), Problem),
)]
async fn roll_back_upcaster(Open(host): Open, Path(name): Path<Name>) -> Result<Json<Swapped>, Problem> {
    Ok(Json(host.upcasters.rollback(&name).await?))
}

/// Tells what happened to an upcaster, oldest first; also to one that was removed.
#[utoipa::path(
    get,
    path = "/api/v1/upcasters/{name}/history",
    tag = "upcasters",
    params(("name" = String, Path)),
    responses((status = 200, description = "What happened", body = shapes::HistoryAnswer), Problem),
)]
async fn show_upcaster_history(Open(host): Open, Path(name): Path<Name>) -> Result<Json<HistoryAnswer>, Problem> {
    Ok(Json(HistoryAnswer { entries: host.upcasters.history(&name).await? }))
}
