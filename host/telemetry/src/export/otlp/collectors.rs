//! Collectors for tests, by gRPC and by HTTP, good ones and bad ones, and what the exporter makes of them.

use std::{
    future::IntoFuture as _,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::to_bytes,
    extract::Request,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse as _, Response},
};
use lantern_core::{Cause, witness::SpanKind};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    Telemetry, TelemetryError,
    fixture::{self, ports},
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as a collector got it: where it came to, what its key was, what it held.
struct Received {
    path: String,
    key: Option<String>,
    request: ExportTraceServiceRequest,
}

/// A collector that runs.
struct Collector {
    address: SocketAddr,
    received: Receiver<Received>,
    _runtime: Runtime,
}

impl Collector {
    /// A collector by HTTP that refuses the first requests with a status.
    fn http(refusals: usize, status: StatusCode) -> Self {
        let (sender, received) = sync_channel(100);
        let left = Arc::new(AtomicUsize::new(refusals));
        let answer = move |request: Request| answer(request, sender.clone(), left.clone(), status);
        let (runtime, listener) = listening();
        let address = listener.local_addr().unwrap();
        let served = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, Router::new().fallback(answer)).into_future().await
        };
        runtime.spawn(served);
        Self { address, received, _runtime: runtime }
    }

    fn grpc() -> Self {
        let (sender, received) = sync_channel(100);
        let (runtime, listener) = listening();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let service = TraceServiceServer::new(Grpc(sender));
            Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)).await
        });
        Self { address, received, _runtime: runtime }
    }

    /// What comes next: the request and the names of its spans.
    fn next(&self) -> (Received, Vec<String>) {
        let received = self.received.recv_timeout(PATIENCE).unwrap();
        let spans = received.request.resource_spans.iter().flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans);
        let names = spans.map(|span| span.name.clone()).collect();
        (received, names)
    }
}

async fn answer(
    request: Request,
    sender: SyncSender<Received>,
    left: Arc<AtomicUsize>,
    status: StatusCode,
) -> Response {
    if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return (status, [(RETRY_AFTER, "0")]).into_response();
    }
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let path = request.uri().path().to_owned();
    let key = request.headers().get("x-key").map(|key| key.to_str().unwrap().to_owned());
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    sender.send(Received { path, key, request }).unwrap();
    ExportTraceServiceResponse::default().encode_to_vec().into_response()
}

struct Grpc(SyncSender<Received>);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let key = request.metadata().get("x-key").map(|key| key.to_str().unwrap().to_owned());
        let received = Received { path: String::new(), key, request: request.into_inner() };
        self.0.send(received).unwrap();
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn listening() -> (Runtime, TcpListener) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    (runtime, listener)
}

/// Telemetry that exports to an address, with more variables.
fn exporting(address: SocketAddr, more: &[(&str, &str)]) -> Telemetry {
    let endpoint = format!("http://{address}");
    let given = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let environment = given.iter().chain(more).copied().collect();
    Telemetry::start(crate::TelemetryConfig { environment, ..fixture::config([]) }).unwrap()
}

fn record(telemetry: &Telemetry, name: &'static str) -> u128 {
    let span = telemetry.span(name, SpanKind::Server).start();
    span.context().trace_id
}

#[test]
fn spans_arrive_by_http() {
    let collector = Collector::http(0, StatusCode::OK);
    let telemetry =
        exporting(collector.address, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"), ("OTEL_SERVICE_NAME", "shop")]);
    let trace_id = record(&telemetry, "first");
    let (received, names) = collector.next();
    assert_eq!((received.path.as_str(), received.key.as_deref()), ("/v1/traces", Some("a b")));
    assert_eq!(names, ["first"]);
    let of = &received.request.resource_spans[0];
    assert_eq!(of.scope_spans[0].spans[0].trace_id, trace_id.to_be_bytes());
    let resource = format!("{:?}", of.resource);
    assert!(resource.contains("service.name") && resource.contains("shop"), "{resource}");
    assert!(telemetry.clone().shutdown(PATIENCE));
    assert!(telemetry.metrics().contains("telemetry_spans_exported_total{exporter=\"otlp\"} 1"));
}

#[test]
fn spans_arrive_by_grpc_and_the_last_ones_before_the_end() {
    let collector = Collector::grpc();
    let more = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_HEADERS", "X-Key=secret")];
    let slow = [("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    let telemetry = exporting(collector.address, &[more.as_slice(), &slow].concat());
    record(&telemetry, "first");
    record(&telemetry, "second");
    assert!(telemetry.shutdown(PATIENCE));
    let (received, names) = collector.next();
    assert_eq!(received.key.as_deref(), Some("secret"));
    assert_eq!(names, ["first", "second"]);
}

#[test]
fn a_single_call_arrives_though_nothing_follows_it() {
    let collector = Collector::http(0, StatusCode::OK);
    let telemetry = exporting(collector.address, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut instance = runtime.block_on(ports::Closure::new(|_| ports::well()).watched(&telemetry));
    ports::handle(instance.as_mut(), &ports::event(None), Cause::Live);
    assert_eq!(collector.next().1, ["eventsource.projection.handle"]);
    ports::handle(instance.as_mut(), &ports::event(None), Cause::Live);
    assert_eq!(collector.next().1, ["eventsource.projection.handle"]);
}

#[test]
fn a_large_burst_arrives_whole_in_batches() {
    let collector = Collector::grpc();
    let more = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "700")];
    let telemetry = exporting(collector.address, &more);
    for _ in 0..5_000 {
        record(&telemetry, "burst");
    }
    assert!(telemetry.shutdown(PATIENCE));
    let mut arrived = 0;
    while arrived < 5_000 {
        let (_, names) = collector.next();
        assert!(names.len() <= 700);
        arrived += names.len();
    }
    assert_eq!(arrived, 5_000);
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_given_up() {
    let collector = Collector::http(2, StatusCode::SERVICE_UNAVAILABLE);
    let telemetry = exporting(collector.address, &[]);
    record(&telemetry, "patient");
    assert_eq!(collector.next().1, ["patient"]);
    let collector = Collector::http(1, StatusCode::BAD_REQUEST);
    let telemetry = exporting(collector.address, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")]);
    record(&telemetry, "refused");
    record(&telemetry, "taken");
    assert_eq!(collector.next().1, ["taken"]);
    assert!(telemetry.clone().shutdown(PATIENCE));
    let metrics = telemetry.metrics();
    for line in [
        "telemetry_spans_dropped_total{stage=\"otlp\"} 1",
        "telemetry_export_failures_total{exporter=\"otlp\"} 1",
        "telemetry_spans_exported_total{exporter=\"otlp\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[test]
fn a_collector_that_hangs_holds_up_nothing() {
    for protocol in ["grpc", "http/protobuf"] {
        // Connections are taken by the system, and nobody ever answers.
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
        let more = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_BSP_MAX_QUEUE_SIZE", "100")];
        let telemetry = exporting(hanging.local_addr().unwrap(), &more);
        let ids: Vec<u128> = (0..1_000).map(|_| record(&telemetry, "s")).collect();
        assert_eq!(telemetry.trace(ids[999]).len(), 1, "recent spans do not wait for the exporter");
        let began = Instant::now();
        let keep = telemetry.clone();
        assert!(!telemetry.shutdown(Duration::from_millis(200)));
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
        let metrics = keep.metrics();
        let dropped =
            metrics.lines().find_map(|line| line.strip_prefix("telemetry_spans_dropped_total{stage=\"otlp\"} "));
        let dropped: u64 = dropped.unwrap().parse().unwrap();
        // What is in the exporter's hands when it is told to stop is counted by itself, perhaps a moment later.
        assert!((900..=1_000).contains(&dropped), "{dropped}");
    }
}

#[test]
fn without_a_collector_the_end_comes_at_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let telemetry = exporting(address, &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]);
    record(&telemetry, "lost");
    let began = Instant::now();
    assert!(!telemetry.clone().shutdown(PATIENCE));
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert!(telemetry.metrics().contains("telemetry_spans_dropped_total{stage=\"otlp\"} 1"), "{}", telemetry.metrics());
}

#[test]
fn an_endpoint_that_is_none_is_an_error_that_names_it() {
    for (endpoint, protocol) in
        [("not an address", "grpc"), ("not an address", "http/protobuf"), ("ftp://c", "http/protobuf")]
    {
        let given = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let error = Telemetry::start(fixture::config(given)).unwrap_err();
        assert!(matches!(error, TelemetryError::Export { exporter: "otlp", .. }), "{error}");
        assert!(error.to_string().contains(endpoint) && error.to_string().contains("write `http://host"), "{error}");
    }
}
