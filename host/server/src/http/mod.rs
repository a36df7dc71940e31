//! The HTTP API: one file a noun, each with its routes, and what they stand on.
//!
//! Routes are documented where they are written: the OpenAPI document is made from them and cannot miss one.

mod aggregates;
mod binary;
mod buses;
mod changes;
mod commands;
mod dead_letters;
mod documents;
mod door;
mod elsewhere;
#[cfg(test)]
mod elsewhere_tests;
mod events;
mod export;
#[cfg(test)]
mod fixture;
mod given;
mod handlers;
mod health;
mod host_name;
mod hosts;
mod incoming;
mod metrics;
mod modules;
mod openapi;
mod problem;
mod processors;
mod projections;
mod refusals;
mod request_span;
mod routes;
mod schedules;
mod shapes;
mod sql;
mod streams;
#[cfg(test)]
mod tests;
mod traces;
mod upcasters;
mod waiting;
#[cfg(test)]
mod write_side_tests;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware,
};
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub(crate) use changes::SwapBody;
pub(crate) use dead_letters::RetryBody;
pub(crate) use door::Door;
pub(crate) use events::MAX_LISTED;
#[cfg(test)]
pub(crate) use fixture::Served;
pub(crate) use hosts::HostShown;
pub(crate) use incoming::{AppendAnswer, MAX_BODY};
pub(crate) use modules::MIN_DIGITS;
pub(crate) use problem::Problem;
pub(crate) use projections::RebuildBody;
pub(crate) use routes::RetryRouteBody;
pub(crate) use sql::QueryBody;
pub(crate) use waiting::MAX_WAIT;

/// Routes with their documentation.
type Routes = OpenApiRouter<Arc<Door>>;

/// The largest body of a request that carries neither events nor a module, in bytes.
const SMALL_BODY: usize = 1024 * 1024;

/// The whole API behind a door.
pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::from(all_routes())
        .route("/", axum::routing::get(show_way))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(SMALL_BODY))
        .layer(middleware::from_fn_with_state(door.clone(), elsewhere::handed_on))
        .layer(middleware::from_fn_with_state(door.clone(), request_span::traced))
        .layer(middleware::from_fn_with_state(door.clone(), host_name::known))
        .with_state(door)
}

fn all_routes() -> Routes {
    Routes::with_openapi(openapi::Document::openapi())
        .merge(events::routes())
        .merge(export::routes())
        .merge(streams::routes())
        .merge(modules::routes())
        .merge(projections::routes())
        .merge(handlers::routes())
        .merge(schedules::routes())
        .merge(aggregates::routes())
        .merge(commands::routes())
        .merge(upcasters::routes())
        .merge(hosts::routes())
        .merge(buses::routes())
        .merge(routes::routes())
        .merge(traces::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(openapi::routes())
}

/// Whoever comes without knowing anything is shown where to go on.
async fn show_way() -> Json<Value> {
    Json(json!({
        "lantern": env!("CARGO_PKG_VERSION"),
        "api": "/api/v1/openapi.json",
        "health": "/health/ready",
        "metrics": "/metrics",
    }))
}

async fn unknown_route(request: Request) -> Problem {
    let detail = format!("there is no route {}: /api/v1/openapi.json lists all", request.uri().path());
    Problem::not_found(detail)
}

async fn unknown_method(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    let detail = format!("{path} knows no {method}: /api/v1/openapi.json lists what it knows");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}
