//! `/api/v1/traces`: the recent spans of one trace.

use axum::Json;
use lantern_telemetry::SpanView;
use serde::Serialize;
use utoipa_axum::routes;

use super::{Routes, door::Open, given::Path, problem::Problem, shapes};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(show_trace))
}

/// A trace.
#[derive(Serialize)]
struct TraceAnswer {
    trace_id: String,
    spans: Vec<SpanView>,
}

/// Shows the spans of a trace, in the order they began.
///
/// The host keeps recent spans only, and a span is there once it has ended.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{trace_id}",
    tag = "operation",
    params(("trace_id" = String, Path, description = "32 hexadecimal digits")),
    responses((status = 200, description = "The spans", body = shapes::TraceAnswer), Problem),
)]
async fn show_trace(Open(host): Open, Path(trace_id): Path<String>) -> Result<Json<TraceAnswer>, Problem> {
    let digits = trace_id.to_ascii_lowercase();
    let id = Some(&digits).filter(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    let id = id.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    let id = id.ok_or_else(|| Problem::invalid(format!("`{trace_id}` is no trace id: give 32 hexadecimal digits")))?;
    let spans = host.telemetry.trace(id);
    if spans.is_empty() {
        let detail =
            format!("there are no spans of trace {digits}: it is unknown, not sampled, or too old to be kept here");
        return Err(Problem::not_found(detail).with("trace_id", digits));
    }
    Ok(Json(TraceAnswer { trace_id: digits, spans }))
}
