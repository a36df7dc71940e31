//! `/metrics`: the metrics of the host, for Prometheus.

use std::sync::Arc;

use axum::{extract::State, http::header, response::IntoResponse};
use utoipa_axum::routes;

use super::{Routes, door::Door};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(show_metrics))
}

/// Shows all metrics in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain")),
)]
async fn show_metrics(State(door): State<Arc<Door>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, lantern_telemetry::metrics::CONTENT_TYPE)], door.telemetry.metrics())
}
