//! `/health`: whether the host lives, and whether it can serve.

use std::sync::Arc;

use axum::{Json, extract::State};
use lantern_core::State as ProjectionState;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Routes, door::Door, problem::Problem};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(show_life)).routes(routes!(show_readiness))
}

/// The host lives.
#[derive(Serialize, ToSchema)]
struct Life {
    /// `alive`.
    status: &'static str,
}

/// The host can serve.
#[derive(Serialize, ToSchema)]
struct Readiness {
    /// `ready`, or `degraded` when a projection has stopped by an error: the host serves, but somebody should look.
    status: &'static str,
    /// The projections that have stopped.
    in_error: Vec<Stopped>,
}

/// A projection that has stopped by an error.
#[derive(Serialize, ToSchema)]
struct Stopped {
    /// Its name.
    name: String,
    /// What went wrong.
    error: Option<String>,
}

/// Says that the host lives.
#[utoipa::path(get, path = "/health/live", tag = "operation", responses((status = 200, description = "The host lives", body = Life)))]
async fn show_life() -> Json<Life> {
    Json(Life { status: "alive" })
}

/// Says whether the host can serve: not while it starts or ends.
///
/// A projection in error does not keep a host from serving the others, so it makes the host `degraded`, not unready.
#[utoipa::path(get, path = "/health/ready", tag = "operation", responses((status = 200, description = "The host can serve", body = Readiness), Problem))]
async fn show_readiness(State(door): State<Arc<Door>>) -> Result<Json<Readiness>, Problem> {
    let projections = door.host()?.supervisor.list();
    let in_error = projections.into_iter().filter(|status| status.state == ProjectionState::Error);
    let in_error: Vec<_> = in_error
        .map(|status| Stopped { name: status.name.to_string(), error: status.last_error.map(|error| error.message) })
        .collect();
    Ok(Json(Readiness { status: if in_error.is_empty() { "ready" } else { "degraded" }, in_error }))
}
