//! `/api/v1/handlers`: what only handlers have. The rest is that of all processors; what they scheduled has a file of
//! its own.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use lantern_core::Kind;
use lantern_processors::Status;
use serde::Serialize;
use utoipa_axum::routes;

use super::{
    Routes,
    door::{Door, Open},
    elsewhere,
    problem::Problem,
    processors, shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    processors::routes(Kind::Handler, Routes::new().routes(routes!(list_handlers)))
}

/// All handlers.
#[derive(Serialize)]
struct HandlerList {
    handlers: Vec<Status>,
}

/// Lists handlers by name.
#[utoipa::path(
    get,
    path = "/",
    tag = "handlers",
    responses((status = 200, description = "The handlers", body = shapes::HandlerList), Problem),
)]
async fn list_handlers(
    Open(host): Open,
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
) -> Result<Json<HandlerList>, Problem> {
    Ok(Json(HandlerList { handlers: elsewhere::list(&host, &door, Kind::Handler, &headers).await? }))
}
