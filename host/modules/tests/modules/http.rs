//! Requests of a handler against real servers: where they may go, what is sent along, and what ends them.

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
    Call, Cause, Effect, Effects, Grants, GuestThreads, Kind, Outcome, TraceContext, effect_id,
    module::{FailureKind, Settings},
    witness::{GuestSpan, Level, SpanKind, SpanStatus},
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
    static THREADS: LazyLock<GuestThreads> = LazyLock::new(|| GuestThreads::new().unwrap());
    let mut caller = load("caller", settings).await.instance();
    let handled = move || {
        let event = event(1, &data.to_string());
        caller.handle(&Call { event: &event, cause, attempt: 1, trace }, &nothing())
    };
    THREADS.run(handled).await.unwrap()
}

fn trace() -> TraceContext {
    TraceContext { trace_id: TRACE, span_id: HANDLE, flags: TraceContext::SAMPLED, state: Some("vendor=1".into()) }
}

/// What came of each request, as the guest saw it.
#[track_caller]
fn answers(outcome: &Outcome) -> Vec<Value> {
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

#[tokio::test]
async fn a_listed_origin_is_served_and_told_who_asks() {
    let server = Server::start().await;
    let settings = granted(&[&server.origin()], &[]);
    let (answers, outcome) = ask(&settings, &[server.request("GET", "/orders?key=secret")]).await;
    let seen = echoed(&answers[0]);
    assert_eq!((&seen["method"], &seen["target"]), (&json!("GET"), &json!("/orders?key=secret")));
    assert_eq!(field(&seen, "host"), Some(server.address.to_string().as_str()));
    let [span] = &outcome.witness.spans[..] else { panic!("one span: {outcome:?}") };
    let sent_on = TraceContext { span_id: span.span_id, ..trace() };
    assert_eq!(field(&seen, "traceparent"), Some(sent_on.traceparent().as_str()));
    assert_eq!(field(&seen, "tracestate"), Some("vendor=1"));
    assert_eq!((span.trace_id, span.parent_span_id), (TRACE, HANDLE));
    assert_eq!((span.kind, span.name.as_str(), &span.status), (SpanKind::Client, "GET", &SpanStatus::Unset));
    assert_eq!(attribute(span, "http.request.method"), Some("\"GET\""));
    assert_eq!(attribute(span, "server.address"), Some("\"127.0.0.1\""));
    assert_eq!(attribute(span, "server.port"), Some(server.address.port().to_string().as_str()));
    assert_eq!(attribute(span, "url.full"), Some(format!("\"{}/orders?REDACTED\"", server.origin()).as_str()));
    assert_eq!(attribute(span, "http.response.status_code"), Some("200"));
    assert_eq!(attribute(span, "error.type"), None);
    assert!(span.start <= span.end);
}

#[tokio::test]
async fn ipv6_is_served_too() {
    let server = Server::start_at("[::1]:0").await;
    let (answers, outcome) = ask(&granted(&[&server.origin()], &[]), &[server.request("GET", "/")]).await;
    assert_eq!(field(&echoed(&answers[0]), "host"), Some(server.address.to_string().as_str()));
    assert_eq!(attribute(&outcome.witness.spans[0], "server.address"), Some("\"::1\""));
}

#[tokio::test]
async fn an_origin_that_is_not_listed_is_refused_with_the_rule() {
    let (listed, other) = (Server::start().await, Server::start().await);
    let settings = granted(&[&listed.origin()], &["127.0.0.0/8"]);
    let (answers, outcome) = ask(&settings, &[other.request("POST", "/"), listed.request("GET", "/")]).await;
    let rule = format!("{} is refused: the deployment does not list this origin", other.origin());
    assert_failed(&answers[0], &["InternalError", &rule]);
    assert_eq!((listed.seen(), other.seen()), (1, 0));
    let [line] = &outcome.witness.logs[..] else { panic!("one line: {outcome:?}") };
    assert!(line.message.starts_with(&rule) && line.level == Level::Warn, "{line:?}");
    let refused = &outcome.witness.spans[0];
    assert_eq!(line.span_id, Some(refused.span_id));
    assert_eq!(attribute(refused, "error.type"), Some("\"HTTP-request-denied\""));
    assert_eq!(refused.status, SpanStatus::Error("HTTP-request-denied".into()));
}

#[tokio::test]
async fn scheme_host_and_port_must_all_be_those_listed() {
    let server = Server::start().await;
    let (port, settings) = (server.address.port(), granted(&[&server.origin()], &["127.0.0.0/8", "::1"]));
    for authority in [
        format!("localhost:{port}"),
        format!("127.0.0.2:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        format!("[::127.0.0.1]:{port}"),
        format!("[64:ff9b::7f00:1]:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("127.1:{port}"),
        format!("127.0.0.1.:{port}"),
        "127.0.0.1".to_owned(),
    ] {
        let (answers, _) = ask(&settings, &[request("GET", &authority, "/")]).await;
        assert_failed(&answers[0], &["is refused", "does not list this origin"]);
    }
    let mut secured = server.request("GET", "/");
    secured["scheme"] = json!("https");
    assert_failed(&ask(&settings, &[secured]).await.0[0], &["https://127.0.0.1", "does not list this origin"]);
    let (answers, _) = ask(&settings, &[request("GET", &format!("user:word@{}", server.address), "/")]).await;
    assert_failed(&answers[0], &["HttpRequestUriInvalid"]);
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_unless_the_address_is_listed() {
    let server = Server::start().await;
    let name = format!("localhost:{}", server.address.port());
    let (origin, wanted) = (format!("http://{name}"), [request("GET", &name, "/")]);
    let (answers, outcome) = ask(&granted(&[&origin], &["10.0.0.0/8"]), &wanted).await;
    assert_failed(&answers[0], &[&origin, "is a loopback address", "--http-address"]);
    assert_eq!(server.seen(), 0);
    assert_eq!(attribute(&outcome.witness.spans[0], "error.type"), Some("\"destination-IP-prohibited\""));
    assert!(outcome.witness.logs[0].message.contains("is a loopback address"));
    let (answers, _) = ask(&granted(&[&origin], &["127.0.0.1"]), &wanted).await;
    assert_eq!(field(&echoed(&answers[0]), "host"), Some(name.as_str()));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (listed, secret) = (Server::start().await, Server::start().await);
    let wanted =
        [listed.request("GET", &format!("/redirect?to={}/inside", secret.origin())), secret.request("GET", "/inside")];
    let (answers, _) = ask(&granted(&[&listed.origin()], &[]), &wanted).await;
    let redirected = &answers[0]["answered"];
    assert_eq!(redirected["status"], 302);
    let location = json!(["location", format!("{}/inside", secret.origin())]);
    assert!(redirected["headers"].as_array().unwrap().contains(&location), "{redirected}");
    assert_failed(&answers[1], &["does not list this origin"]);
    assert_eq!((listed.seen(), secret.seen()), (1, 0));
}

#[tokio::test]
async fn a_tunnel_is_refused() {
    let server = Server::start().await;
    let (answers, _) = ask(&granted(&[&server.origin()], &[]), &[server.request("CONNECT", "/")]).await;
    assert_failed(&answers[0], &["tunnel"]);
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn what_changes_something_carries_an_id_that_repeats() {
    let server = Server::start().await;
    let settings = granted(&[&server.origin()], &[]);
    let mut own = server.request("PUT", "/");
    own["headers"] = json!([["idempotency-key", "mine"]]);
    let wanted = [server.request("GET", "/"), server.request("POST", "/"), server.request("DELETE", "/"), own];
    let keys = async || {
        let (answers, _) = ask(&settings, &wanted).await;
        let key = |answer| field(&echoed(answer), "idempotency-key").map(str::to_owned);
        answers.iter().map(key).collect::<Vec<_>>()
    };
    let id = |index| Some(effect_id(&settings.name, event(1, "").id, Effect::Requested, index).to_string());
    let expected = [None, id(1), id(2), Some("mine".to_owned())];
    assert_eq!(keys().await, expected);
    assert_eq!(keys().await, expected, "the event handled again");
}

#[tokio::test]
async fn headers_that_frame_the_message_are_the_hosts() {
    let server = Server::start().await;
    for name in ["host", "connection", "transfer-encoding", "upgrade", "proxy-authorization"] {
        let mut smuggling = server.request("POST", "/");
        smuggling["headers"] = json!([[name, "chunked"]]);
        let (answers, _) = ask(&granted(&[&server.origin()], &[]), &[smuggling]).await;
        assert_failed(&answers[0], &[name, "Forbidden"]);
    }
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn a_call_that_is_not_traced_sends_no_trace() {
    let server = Server::start().await;
    let data = json!({"requests": [server.request("GET", "/")]});
    let outcome = handle_as(&granted(&[&server.origin()], &[]), data, Cause::Live, None).await;
    assert_eq!(field(&echoed(&answers(&outcome)[0]), "traceparent"), None);
    assert!(outcome.witness.spans.is_empty());
}

#[tokio::test]
async fn an_answer_that_says_no_is_an_answer_and_an_error_of_the_span() {
    let server = Server::start().await;
    let (answers, outcome) = ask(&granted(&[&server.origin()], &[]), &[server.request("GET", "/wrong")]).await;
    assert_eq!(answers[0]["answered"]["status"], 500);
    assert_eq!(attribute(&outcome.witness.spans[0], "error.type"), Some("\"500\""));
}

#[tokio::test]
async fn nothing_is_sent_in_a_dry_run() {
    let server = Server::start().await;
    let data = json!({"requests": [server.request("POST", "/")]});
    let outcome = handle_as(&granted(&[&server.origin()], &[]), data, Cause::DryRun, Some(trace())).await;
    assert_eq!(outcome.result.unwrap(), Effects::default());
    assert_eq!(server.seen(), 0);
    assert!(outcome.witness.spans.is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read_to_its_end() {
    let server = Server::start().await;
    let mut settings = granted(&[&server.origin()], &[]);
    let wanted = [server.request("GET", "/large")];
    let (answers, _) = ask(&settings, &wanted).await;
    assert_eq!(answers[0]["answered"]["body"].as_str().unwrap().len(), 100_000);
    settings.limits.http_body_bytes = 100_000;
    assert!(ask(&settings, &wanted).await.0[0]["answered"].is_object(), "exactly as large as allowed");
    settings.limits.http_body_bytes = 99_999;
    let (answers, outcome) = ask(&settings, &wanted).await;
    assert_failed(&answers[0], &["body size exceeds limit: 99999 bytes"]);
    assert!(outcome.witness.logs[0].message.contains("`http_body_bytes`"));
    assert_eq!(attribute(&outcome.witness.spans[0], "error.type"), Some("\"HTTP-response-body-size\""));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let (answers, _) = ask(&granted(&[&server.origin()], &[]), &[server.request("GET", "/wordy")]).await;
    assert_failed(&answers[0], &["HttpResponseHeaderSectionSize"]);
}

#[tokio::test]
async fn a_body_without_bytes_is_none() {
    let server = Server::start().await;
    let with_body = |method: &str, bytes: usize| {
        let mut request = server.request(method, "/");
        request["body"] = json!(bytes);
        request
    };
    let wanted = [with_body("GET", 0), with_body("POST", 0), with_body("POST", 10_000)];
    let (answers, _) = ask(&granted(&[&server.origin()], &[]), &wanted).await;
    let framed = |answer| {
        let echoed = echoed(answer);
        (field(&echoed, "transfer-encoding").is_some(), echoed["body"].as_u64())
    };
    assert_eq!(
        answers.iter().map(framed).collect::<Vec<_>>(),
        [(false, Some(0)), (false, Some(0)), (true, Some(10_000))]
    );
}

#[tokio::test]
async fn bodies_of_requests_are_counted_together() {
    let server = Server::start().await;
    let mut settings = granted(&[&server.origin()], &[]);
    settings.limits.host_call_bytes = 150_000;
    let mut large = server.request("POST", "/");
    large["body"] = json!(100_000);
    let (answers, _) = ask(&settings, &[large.clone(), large]).await;
    assert_eq!(echoed(&answers[0])["body"], 100_000);
    assert_failed(&answers[1], &["HttpRequestBodySize"]);
}

#[tokio::test]
async fn a_module_has_so_many_requests_under_way_and_no_more() {
    let server = Server::start().await;
    let settings = granted(&[&server.origin()], &[]);
    let wanted = vec![server.request("GET", "/gate"); AT_ONCE + 1];
    let outcome = handle(&settings, json!({"requests": wanted, "at_once": true})).await;
    let answers = answers(&outcome);
    // The gate opens when all of them stand before it.
    assert!(answers[..AT_ONCE].iter().all(|answer| answer["answered"]["status"] == 200), "{answers:?}");
    assert_failed(&answers[AT_ONCE], &["8 requests of this module are under way"]);
    // Each that is answered makes room for another.
    let wanted = vec![server.request("GET", "/"); 2 * AT_ONCE];
    assert!(ask(&settings, &wanted).await.0.iter().all(|answer| answer["answered"]["status"] == 200));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_by_the_module_or_ends_the_call() {
    let server = Server::start().await;
    let mut settings = granted(&[&server.origin()], &[]);
    settings.limits.deadline_ms = 500;
    let outcome = handle(&settings, json!({"requests": [server.request("GET", "/never")]})).await;
    // On a machine that starves, the module may not get to say what it saw before its own time is over.
    match &outcome.result {
        Ok(_) => assert_failed(&answers(&outcome)[0], &["HttpResponseTimeout"]),
        Err(failure) => assert_eq!(failure.kind, FailureKind::Deadline, "{failure}"),
    }
}

#[tokio::test]
async fn the_module_may_be_less_patient() {
    let server = Server::start().await;
    let mut settings = granted(&[&server.origin()], &[]);
    settings.limits.deadline_ms = 600_000;
    let (mut silent, mut stalling) = (server.request("GET", "/never"), server.request("GET", "/stall"));
    silent["first_byte_ms"] = json!(20);
    stalling["between_bytes_ms"] = json!(20);
    let (answers, outcome) = ask(&settings, &[silent, stalling]).await;
    assert_failed(&answers[0], &["HttpResponseTimeout"]);
    assert_failed(&answers[1], &["HTTP response timeout"]);
    let kinds = outcome.witness.spans.iter().map(|span| attribute(span, "error.type")).collect::<Vec<_>>();
    assert_eq!(kinds, [Some("\"HTTP-response-timeout\""); 2]);
}

#[tokio::test]
async fn nobody_at_the_port_is_an_error_the_module_sees() {
    let server = Server::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = granted(&[&server.origin(), &format!("http://{closed}")], &[]);
    let (answers, _) = ask(&settings, &[request("GET", &closed.to_string(), "/"), server.request("GET", "/")]).await;
    assert_failed(&answers[0], &["ConnectionRefused"]);
    assert_eq!(answers[1]["answered"]["status"], 200);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_not_spoken_to() {
    let server = Server::start().await;
    let origin = format!("https://{}", server.address);
    let mut secured = server.request("GET", "/");
    secured["scheme"] = json!("https");
    let (answers, _) = ask(&granted(&[&origin], &[]), &[secured]).await;
    assert_failed(&answers[0], &["TlsProtocolError"]);
    assert_eq!(server.seen(), 0);
}
