//! `/api/v1/projections`: what only projections have. The rest is that of all processors.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use lantern_core::{Kind, Name};
use lantern_processors::Status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    door::{Door, Open},
    elsewhere,
    given::{self, Path},
    modules::find,
    problem::Problem,
    processors, shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    let own = Routes::new().routes(routes!(list_projections)).routes(routes!(rebuild_projection));
    processors::routes(Kind::Projection, own)
}

/// All projections.
#[derive(Serialize)]
struct ProjectionList {
    projections: Vec<Status>,
}

/// Lists projections by name.
#[utoipa::path(
    get,
    path = "/",
    tag = "projections",
    responses((status = 200, description = "The projections", body = shapes::ProjectionList), Problem),
)]
async fn list_projections(
    Open(host): Open,
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
) -> Result<Json<ProjectionList>, Problem> {
    Ok(Json(ProjectionList { projections: elsewhere::list(&host, &door, Kind::Projection, &headers).await? }))
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
    path = "/{name}/rebuild",
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
    Ok((StatusCode::ACCEPTED, Json(host.supervisor.rebuild(Kind::Projection, &name, module).await?)))
}
