//! `/api/v1/openapi.json`: the document that describes every route, made from the routes themselves.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;
use utoipa_axum::routes;

use super::{Routes, problem::Problem, shapes};

/// What the document says beside the routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Lantern", description = "The HTTP API of a Lantern host", license(name = "Apache-2.0")),
    components(schemas(shapes::Problem)),
    tags(
        (name = "events", description = "The log and its streams"),
        (name = "modules", description = "Compiled Wasm components, by the digest of their bytes"),
        (name = "projections", description = "From events to documents: what runs, and what it runs with"),
        (name = "handlers", description = "From events to effects: what runs, and what it runs with"),
        (name = "schedules", description = "Events that handlers have put off"),
        (name = "aggregates", description = "What decides commands, and its state"),
        (name = "commands", description = "Asking aggregates for something"),
        (name = "upcasters", description = "What brings older events to their newest form"),
        (name = "buses", description = "Buses, and the routes between them and the log"),
        (name = "documents", description = "What projections and handlers wrote"),
        (name = "dead letters", description = "Events that could not be handled"),
        (name = "operation", description = "Health, metrics, traces"),
    )
)]
pub(super) struct Document;

/// The document, made at the first request.
static DOCUMENT: LazyLock<Option<String>> = LazyLock::new(|| super::all_routes().to_openapi().to_json().ok());

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(describe_api))
}

/// Describes this API.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "operation",
    responses((status = 200, description = "An OpenAPI document", content_type = "application/json")),
)]
async fn describe_api() -> Result<Response, Problem> {
    let document = DOCUMENT.as_deref().ok_or_else(|| Problem::not_found("the document could not be written"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}
