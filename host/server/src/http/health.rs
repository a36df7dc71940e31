//! `/health`: whether the host lives, and whether it can serve.

use std::sync::Arc;

use axum::{Json, extract::State};
use lantern_core::{Kind, State as ProcessorState};
use lantern_processors::Direction;
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
    /// `ready`, or `degraded` when a projection, handler or route is in error or runs on no host: the host serves, but
    /// somebody should look.
    status: &'static str,
    /// The projections, handlers and routes of this host that are in error.
    in_error: Vec<Stopped>,
    /// The projections, handlers and routes that no host runs; a route as `publish.NAME` or `consume.NAME`. For a few seconds
    /// that is no matter: they change hosts.
    unattended: Vec<String>,
    /// Why the other hosts cannot be heard of, so that this one may run nothing for long.
    registry: Option<String>,
}

/// A projection, handler or route that is in error.
#[derive(Serialize, ToSchema)]
struct Stopped {
    /// `projection`, `handler`, `publish` or `consume`.
    kind: &'static str,
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
/// A projection, handler or route in error does not keep a host from serving the others, so it makes the host `degraded`, not
/// unready. The same is true of one that no host runs.
#[utoipa::path(get, path = "/health/ready", tag = "operation", responses((status = 200, description = "The host can serve", body = Readiness), Problem))]
async fn show_readiness(State(door): State<Arc<Door>>) -> Result<Json<Readiness>, Problem> {
    let host = door.host()?;
    let supervisor = &host.supervisor;
    let processors = [Kind::Projection, Kind::Handler].into_iter().flat_map(|kind| supervisor.list(kind));
    let in_error = processors.filter(|status| status.state == ProcessorState::Error).map(|status| Stopped {
        kind: status.kind.as_str(),
        name: status.name.to_string(),
        error: status.last_error.map(|error| error.message),
    });
    let routes = host.routes.glance().into_iter().filter(|status| status.state == ProcessorState::Error);
    let routes = routes.map(|status| Stopped {
        kind: match status.direction {
            Direction::Publish => "publish",
            Direction::Consume => "consume",
        },
        name: status.name.to_string(),
        error: status.last_error.map(|error| error.message),
    });
    let in_error: Vec<_> = in_error.chain(routes).collect();
    let unattended: Vec<_> = supervisor.unattended().iter().map(ToString::to_string).collect();
    let registry = supervisor.trouble().map(|error| error.to_string());
    let is_well = in_error.is_empty() && unattended.is_empty() && registry.is_none();
    let status = if is_well { "ready" } else { "degraded" };
    Ok(Json(Readiness { status, in_error, unattended, registry }))
}
