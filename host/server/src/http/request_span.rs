//! The span of a request: the server side of a trace that began elsewhere, or the beginning of a new one.
//!
//! Not recorded are health and metrics, which are asked for all day, and routes that wait for something to happen,
//! whose duration says nothing.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::HeaderValue,
    middleware::Next,
    response::Response,
};
use lantern_core::witness::SpanKind;
use lantern_telemetry::{ActiveSpan, names, propagation};

use super::{door::Door, problem::Told};

/// Runs a request inside its span, and hands the span's context back in `traceparent`.
pub(super) async fn traced(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(route) = route.filter(|route| is_recorded(route)) else {
        return next.run(request).await;
    };
    let mut span = begin(&door, &route, &request);
    let context = span.context().clone();
    let mut response = propagation::scope(context.clone(), next.run(request)).await;
    conclude(&mut span, &response);
    for (name, value) in propagation::inject(&context) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn is_recorded(route: &str) -> bool {
    route.starts_with("/api/v1/") && !route.ends_with("/wait") && !route.ends_with("/changes")
}

fn begin(door: &Door, route: &str, request: &Request) -> ActiveSpan {
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let name = format!("{} {route}", request.method());
    let mut span = door.telemetry.span(name, SpanKind::Server).parent(propagation::extract(header)).start();
    if span.is_recorded() {
        span.set(names::HTTP_METHOD, request.method().as_str());
        span.set(names::HTTP_ROUTE, route);
        span.set(names::URL_PATH, request.uri().path());
        span.set(names::URL_SCHEME, "http");
        if let Some(agent) = header("user-agent") {
            span.set(names::USER_AGENT, agent);
        }
    }
    span
}

/// A refusal is no error of the server; only what the server failed at marks its span as failed.
fn conclude(span: &mut ActiveSpan, response: &Response) {
    span.set(names::HTTP_STATUS, response.status().as_u16());
    let Some(told) = response.extensions().get::<Told>() else { return };
    if response.status().is_server_error() {
        span.error(told.slug, &told.detail);
    } else {
        span.set(names::ERROR_TYPE, told.slug);
    }
}
