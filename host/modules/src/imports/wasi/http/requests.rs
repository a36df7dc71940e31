//! The requests of one instance: what each call may send, the ids it sends along, and the threads that drive it all.

use std::{
    io,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use hyper::{
    Method, Request,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use lantern_core::{
    Call, Cause, Effect, EventId, TraceContext, effect_id,
    grants::Origin,
    module::{Failure, FailureKind},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::Semaphore,
};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks,
    p2::{HttpError, HttpResult, bindings::http::types::ErrorCode},
};

use super::{
    bodies::Allowance,
    connection::{Connector, SystemResolver},
    exchange::{Exchange, Received, Wire},
    record::Record,
    refusal::{Problem, Refusal},
};
use crate::state::{Deployment, Telemetry};

/// How many requests of one instance may be under way.
const MOST_OF_MODULE: usize = 8;

/// How many requests of one host may be under way; more wait for their turn.
const MOST_OF_HOST: usize = 256;

/// How many requests one call may make, those that were refused included.
const MOST_OF_CALL: usize = 1_000;

/// How many bytes one header list of a module may take.
const FIELDS: usize = 32 << 10;

/// How many pieces of a request's body are kept until the connection takes them, and how many bytes each may have.
const PIECES: usize = 16;
const PIECE: usize = 4 << 10;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The threads of all connections, started by the first request: neither those of the host nor those of guests.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).max_blocking_threads(32).thread_name("http").enable_all().build()
});

/// What all requests share.
static WIRE: LazyLock<Wire> = LazyLock::new(|| Wire {
    connector: Connector::new(Box::new(SystemResolver)),
    places: Arc::new(Semaphore::new(MOST_OF_HOST)),
});

/// The call ends here: it is tried without effect, and what comes next depends on an answer.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("nothing is sent in a dry run: the call ends here")]
pub(crate) struct NothingSent;

/// The requests of one instance.
pub(crate) struct Requests {
    /// What the crate needs for header lists.
    pub(super) fields: WasiHttpCtx,
    /// What is decided about requests.
    pub(super) hooks: Hooks,
}

/// What is decided about requests.
pub(super) struct Hooks {
    deployment: Arc<Deployment>,
    call: Option<InHand>,
}

/// What belongs to the call in hand.
struct InHand {
    event: EventId,
    is_dry: bool,
    deadline: Instant,
    around: Option<TraceContext>,
    has_sent: bool,
    allowance: Allowance,
    // New for each call: what an earlier one left unread takes nothing away.
    places: Arc<Semaphore>,
    records: Vec<Arc<Record>>,
}

impl Requests {
    /// For an instance that is about to start.
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        let mut fields = WasiHttpCtx::new();
        fields.set_field_size_limit(FIELDS);
        Self { fields, hooks: Hooks { deployment, call: None } }
    }

    /// Takes the event in hand. The call must end within its deadline, counted from now.
    pub(crate) fn begin(&mut self, call: &Call<'_>) {
        let settings = &self.hooks.deployment.settings;
        self.hooks.call = settings.grants.has_http().then(|| InHand {
            event: call.event.id,
            is_dry: call.cause == Cause::DryRun,
            deadline: Instant::now() + Duration::from_millis(settings.limits.deadline_ms),
            around: None,
            has_sent: false,
            allowance: Allowance::new(settings.limits.host_call_bytes),
            places: Arc::new(Semaphore::new(MOST_OF_MODULE)),
            records: Vec::new(),
        });
    }

    /// Ends the call: its requests are told.
    pub(crate) fn end(&mut self, telemetry: &mut Telemetry) {
        let Some(call) = self.hooks.call.take() else { return };
        for record in call.records {
            record.tell(telemetry);
        }
    }

    /// Until when the module may wait; nothing when it has asked for nothing that could come.
    pub(crate) fn patience(&self) -> Option<Instant> {
        self.hooks.call.as_ref().filter(|call| call.has_sent).map(|call| call.deadline)
    }
}

impl Hooks {
    /// Whether the event is tried without effect.
    pub(super) fn is_dry(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.is_dry)
    }

    /// Makes ready for a request of the module that is in a span. Gives what drives the connection.
    pub(super) fn prepare(&mut self, around: Option<TraceContext>) -> HttpResult<Handle> {
        let no_event = || ErrorCode::InternalError(Some(Refusal::NoEvent.to_string()));
        let call = self.call.as_mut().ok_or_else(no_event)?;
        call.around = around;
        call.has_sent = true;
        RUNTIME.as_ref().map(|runtime| runtime.handle().clone()).map_err(|error| {
            let message = format!("the thread of the HTTP connections does not start: {error}");
            HttpError::trap(Failure::new(FailureKind::Host, message))
        })
    }

    /// The exchange of a request that is allowed, with everything that is sent along.
    fn exchange(&mut self, request: &mut Request<WasiBody>, options: RequestOptions) -> Result<Exchange, Problem> {
        let origin = origin(request)?;
        let Some(call) = &mut self.call else { return Err(Refusal::NoEvent.into()) };
        if call.records.len() >= MOST_OF_CALL {
            return Err(Refusal::TooMuch { origin: origin.to_string(), most: MOST_OF_CALL }.into());
        }
        let clock = self.deployment.clock.clone();
        let record = Record::begin(clock, call.around.as_ref(), request.method(), &origin, request.uri());
        let record = Arc::new(record);
        let index = call.records.len();
        call.records.push(record.clone());
        let checked = self.deployment.check(request, &origin).and_then(|()| {
            let most = MOST_OF_MODULE;
            let place = call.places.clone().try_acquire_owned();
            place.map_err(|_| Refusal::TooMany { origin: origin.to_string(), most })
        });
        let place = match checked {
            Ok(place) => place,
            Err(refusal) => {
                let problem = refusal.into();
                record.fell_through(&problem);
                return Err(problem);
            }
        };
        sign(request, &record, || effect_id(&self.deployment.settings.name, call.event, Effect::Requested, index));
        let allowance = call.allowance.clone();
        let deadline = before(call.deadline).into();
        Ok(Exchange { origin, deployment: self.deployment.clone(), deadline, options, allowance, place, record })
    }
}

impl Deployment {
    /// Whether the deployment lets a request go to its origin.
    fn check(&self, request: &Request<WasiBody>, origin: &Origin) -> Result<(), Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Tunnel { origin: origin.to_string() });
        }
        if !self.settings.grants.http.contains(origin) {
            return Err(Refusal::Origin { origin: origin.to_string() });
        }
        Ok(())
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Received, Error>> + Send> {
        match self.exchange(&mut request, options.unwrap_or_default()) {
            Ok(exchange) => Box::new(exchange.send(&WIRE, request)),
            Err(problem) => Box::new(std::future::ready(Err(problem.into()))),
        }
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        PIECES
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }
}

/// Where a request goes, in the form in which origins are listed.
fn origin(request: &Request<WasiBody>) -> Result<Origin, Error> {
    let uri = request.uri();
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Error::HttpRequestUriInvalid);
    };
    format!("{scheme}://{authority}").parse().map_err(|_| Error::HttpRequestUriInvalid)
}

/// Adds the trace, and the id by which the other side knows a request it has seen before. An id of the module's own
/// stays.
fn sign(request: &mut Request<WasiBody>, record: &Record, id: impl FnOnce() -> EventId) {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(request.method());
    let fields = request.headers_mut();
    if let Some(span) = record.span() {
        put(fields, TRACEPARENT, &span.traceparent());
        fields.remove(TRACESTATE);
        if let Some(state) = &span.state {
            put(fields, TRACESTATE, state);
        }
    }
    if !is_safe && !fields.contains_key(IDEMPOTENCY_KEY) {
        put(fields, IDEMPOTENCY_KEY, &id().to_string());
    }
}

/// A text that cannot be a field, which only a foreign `tracestate` can be, is left out.
fn put(fields: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.insert(name, value);
    }
}

/// A tenth of what remains of the call is left to the module, so that it can say what is to become of the event.
fn before(deadline: Instant) -> Instant {
    let remaining = deadline.saturating_duration_since(Instant::now());
    deadline - remaining / 10
}
