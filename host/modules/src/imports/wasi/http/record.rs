//! The record of one request: written by the thread that drives it, told as a span when the call ends.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::{Method, Uri};
use lantern_core::{
    Clock, Timestamp, TraceContext,
    grants::Origin,
    witness::{Attribute, GuestSpan, Level, SpanKind, SpanStatus},
};
use wasmtime_wasi_http::Error;

use super::refusal::{Problem, kind};
use crate::state::{Line, Telemetry};

/// The name under which spans and lines of requests are told.
const SCOPE: &str = "wasi:http/outgoing-handler";

/// Methods that are attributes as they are (RFC 9110 and RFC 5789); the name of another one could be anything.
const KNOWN: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];

/// The record of one request.
pub(super) struct Record {
    clock: Arc<dyn Clock>,
    /// The request's own span, where the call is traced.
    span: Option<TraceContext>,
    parent: u64,
    name: String,
    attributes: Vec<Attribute>,
    start: Timestamp,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    status: Option<u16>,
    error: Option<&'static str>,
    line: Option<String>,
    end: Option<Timestamp>,
}

impl Record {
    /// Begins the record of a request, inside the span the module is in.
    pub(super) fn begin(
        clock: Arc<dyn Clock>,
        around: Option<&TraceContext>,
        method: &Method,
        origin: &Origin,
        uri: &Uri,
    ) -> Self {
        let (name, told) = if KNOWN.contains(method) { (method.as_str(), method.as_str()) } else { ("HTTP", "_OTHER") };
        // What stands in a query may be a secret.
        let query = if uri.query().is_some() { "?REDACTED" } else { "" };
        Self {
            span: around.map(|around| TraceContext { span_id: span_id(), ..around.clone() }),
            parent: around.map_or(0, |around| around.span_id),
            name: name.into(),
            attributes: vec![
                text("http.request.method", told),
                text("server.address", &origin.host),
                ("server.port".into(), origin.port.to_string()),
                text("url.full", &format!("{origin}{}{query}", uri.path())),
            ],
            start: clock.now(),
            progress: Mutex::default(),
            clock,
        }
    }

    /// The request's own span, which the other side is told.
    pub(super) fn span(&self) -> Option<&TraceContext> {
        self.span.as_ref()
    }

    /// The answer's head is there.
    pub(super) fn answered(&self, status: u16) {
        let now = self.clock.now();
        let mut progress = self.progress();
        progress.status = Some(status);
        progress.end = Some(now);
    }

    /// The answer is complete.
    pub(super) fn ended(&self) {
        let now = self.clock.now();
        self.progress().end = Some(now);
    }

    /// The answer broke off.
    pub(super) fn failed(&self, error: &Error) {
        let now = self.clock.now();
        let mut progress = self.progress();
        if let Error::HttpResponseBodySize(Some(most)) = error {
            progress.line = Some(format!(
                "the answer was cut off: its body has more than {most} bytes; a larger limit (`http_body_bytes`) in the \
                 deployment lets it through"
            ));
        }
        progress.error = Some(kind(error));
        progress.end = Some(now);
    }

    /// The request came to no answer.
    pub(super) fn fell_through(&self, problem: &Problem) {
        let now = self.clock.now();
        let mut progress = self.progress();
        progress.error = Some(problem.kind());
        progress.end = Some(now);
        if let Problem::Refused(refusal) = problem {
            progress.line = Some(refusal.to_string());
        }
    }

    /// Tells the call's witness.
    pub(super) fn tell(&self, telemetry: &mut Telemetry) {
        let Progress { status, error, line, end } = std::mem::take(&mut *self.progress());
        if let Some(message) = line {
            let span = self.span.as_ref().map(|span| span.span_id);
            telemetry.log(Line { level: Level::Warn, context: SCOPE.into(), message, span, attributes: Vec::new() });
        }
        let Some(span) = &self.span else { return };
        let bad_status = status.filter(|status| *status >= 400).map(|status| status.to_string());
        let error = error.map(str::to_owned).or(bad_status);
        let status = status.map(|status| ("http.response.status_code".to_owned(), status.to_string()));
        let wrong = error.as_deref().map(|error| text("error.type", error));
        telemetry.keep_span(GuestSpan {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: self.parent,
            kind: SpanKind::Client,
            name: self.name.clone(),
            start: self.start,
            // A request nobody waited for is told as far as it came.
            end: end.unwrap_or_else(|| self.clock.now()),
            status: error.map_or(SpanStatus::Unset, SpanStatus::Error),
            attributes: self.attributes.iter().cloned().chain(status).chain(wrong).collect(),
            events: Vec::new(),
            links: Vec::new(),
            scope: SCOPE.into(),
        });
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attribute whose value is a text.
fn text(name: &str, value: &str) -> Attribute {
    (name.into(), serde_json::Value::from(value).to_string())
}

/// An id no other span of the trace has. The system's random numbers seed it, as they do the keys of hash maps.
fn span_id() -> u64 {
    RandomState::new().hash_one("span").max(1)
}
