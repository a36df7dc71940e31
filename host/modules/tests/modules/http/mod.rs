//! Requests of a handler against real servers.

mod limits;
mod messages;
mod origins;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{Query, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use hyper::body::Frame;
use lantern_core::{
    Call, Cause, Grants, GuestThreads, Kind, Outcome, TraceContext, module::Settings, witness::GuestSpan,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Barrier};

use crate::support::{event, load, nothing, settings};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const HANDLE: u64 = 0x00f0_67aa_0ba9_02b7;

/// How many requests of one module may be under way.
const AT_ONCE: usize = 8;

/// A server on this machine, and how many requests it has seen.
struct Server {
    address: SocketAddr,
    seen: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    async fn start_at(address: &str) -> Self {
        let seen = Arc::new(AtomicUsize::new(0));
        let (counted, gate) = (seen.clone(), Arc::new(Barrier::new(AT_ONCE)));
        let router = Router::new()
            .route("/redirect", any(redirect))
            .route("/large", any(async || "x".repeat(100_000)))
            .route("/wordy", any(async || [("x-long", "x".repeat(100_000))].into_response()))
            .route("/wrong", any(async || StatusCode::INTERNAL_SERVER_ERROR))
            .route("/never", any(async || std::future::pending::<()>().await))
            .route("/stall", any(async || Body::new(Stalling { begun: false })))
            .route("/gate", any(async move || gate.wait().await.is_leader().to_string()))
            .fallback(echo)
            .layer(axum::middleware::map_request(move |request: Request| {
                counted.fetch_add(1, Ordering::SeqCst);
                std::future::ready(request)
            }));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, seen }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// A request to it.
    fn request(&self, method: &str, path: &str) -> Value {
        request(method, &self.address.to_string(), path)
    }
}

/// Points to `?to=`.
async fn redirect(Query(query): Query<BTreeMap<String, String>>) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, query["to"].clone())]).into_response()
}

/// A body that begins and never ends.
struct Stalling {
    begun: bool,
}

impl HttpBody for Stalling {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.begun, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"some")))))
    }
}

/// What arrived, as JSON.
async fn echo(request: Request) -> String {
    let (head, body) = request.into_parts();
    let headers = head.headers.iter().map(|(name, value)| json!([name.as_str(), value.to_str().unwrap()]));
    let headers = headers.collect::<Vec<_>>();
    let length = axum::body::to_bytes(Body::new(body), usize::MAX).await.map_or(0, |body| body.len());
    json!({"method": head.method.as_str(), "target": head.uri.to_string(), "headers": headers, "body": length})
        .to_string()
}

fn request(method: &str, authority: &str, path: &str) -> Value {
    json!({"method": method, "scheme": "http", "authority": authority, "path": path})
}

/// A deployment that may send to these origins, and to these special addresses.
fn granted(http: &[&str], addresses: &[&str]) -> Settings {
    let grants = Grants {
        http: http.iter().map(|origin| origin.parse().unwrap()).collect(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ..Grants::default()
    };
    Settings { kind: Kind::Handler, grants, ..settings() }
}

/// Handles one event that asks for requests.
async fn handle(settings: &Settings, data: Value) -> Outcome {
    handle_as(settings, data, Cause::Live, Some(trace())).await
}

async fn handle_as(settings: &Settings, data: Value, cause: Cause<'static>, trace: Option<TraceContext>) -> Outcome {
    handle_by("caller", settings, data, cause, trace).await
}

/// Handles one event by a guest, on a thread as guests have it in the host.
async fn handle_by(
    package: &str,
    settings: &Settings,
    data: Value,
    cause: Cause<'static>,
    trace: Option<TraceContext>,
) -> Outcome {
    static THREADS: LazyLock<GuestThreads> = LazyLock::new(|| GuestThreads::new().unwrap());
    let mut instance = load(package, settings).await.instance();
    let handled = move || {
        let event = event(1, &data.to_string());
        instance.handle(&Call { event: &event, cause, attempt: 1, trace }, &nothing())
    };
    THREADS.run(handled).await.unwrap()
}

fn trace() -> TraceContext {
    TraceContext { trace_id: TRACE, span_id: HANDLE, flags: TraceContext::SAMPLED, state: Some("vendor=1".into()) }
}

/// What came of each request, as the guest saw it.
#[track_caller]
fn answers(outcome: &Outcome) -> Vec<Value> {
    let Value::Array(answers) = document(outcome) else { panic!("no list") };
    answers
}

/// The document the guest wrote.
#[track_caller]
fn document(outcome: &Outcome) -> Value {
    let effects = outcome.result.as_ref().unwrap_or_else(|failure| panic!("{failure}: {:?}", outcome.witness));
    serde_json::from_str(effects.writes[0].value.as_deref().unwrap()).unwrap()
}

/// What came of the requests of one event, and what was said meanwhile.
async fn ask(settings: &Settings, requests: &[Value]) -> (Vec<Value>, Outcome) {
    let outcome = handle(settings, json!({"requests": requests})).await;
    (answers(&outcome), outcome)
}

/// What the server saw of a request that was answered.
#[track_caller]
fn echoed(answer: &Value) -> Value {
    let body = answer["answered"]["body"].as_str().unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str(body).unwrap()
}

/// A field of a request as the server saw it.
fn field<'a>(echoed: &'a Value, name: &str) -> Option<&'a str> {
    let fields = echoed["headers"].as_array().unwrap();
    fields.iter().find(|field| field[0] == name).map(|field| field[1].as_str().unwrap())
}

fn attribute<'a>(span: &'a GuestSpan, name: &str) -> Option<&'a str> {
    span.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

/// That a request failed, and in which words.
#[track_caller]
fn assert_failed(answer: &Value, words: &[&str]) {
    let error = answer["failed"].as_str().unwrap_or_else(|| panic!("it did not fail: {answer}"));
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}
