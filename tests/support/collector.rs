//! A small OTLP collector, over gRPC or HTTP: what a host sends it can be looked at.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value},
};
use prost::Message;
use tokio::{net::TcpListener, sync::oneshot};

use super::wait;

/// A span as it arrived; ids in hexadecimal digits, an absent parent empty.
#[derive(Debug, Clone)]
pub struct Span {
    pub service: String,
    pub trace_id: String,
    pub span_id: String,
    pub parent: String,
    pub name: String,
    pub kind: i32,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    pub links: Vec<(String, String)>,
    /// The code of the status: 0 unset, 1 ok, 2 error.
    pub status: i32,
}

/// A collector on a free port of this machine.
pub struct Collector {
    address: SocketAddr,
    spans: Spans,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Spans = Arc<Mutex<Vec<Span>>>;

impl Collector {
    /// A collector that speaks OTLP over gRPC.
    pub fn grpc() -> Self {
        Self::start(|listener, spans, end| async move {
            tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(Receiver(spans)))
                .serve_with_incoming_shutdown(tonic::transport::server::TcpIncoming::from(listener), async {
                    let _ = end.await;
                })
                .await
                .unwrap();
        })
    }

    /// A collector that speaks OTLP over HTTP with protobuf.
    pub fn http() -> Self {
        Self::start(|listener, spans, end| async move {
            let app = Router::new().route("/v1/traces", post(receive)).with_state(spans);
            let ended = async {
                let _ = end.await;
            };
            // Open connections are dropped with the runtime: waiting for them would wait for the host.
            tokio::select! {
                served = axum::serve(listener, app).into_future() => served.unwrap(),
                () = ended => {}
            }
        })
    }

    fn start<F: Future<Output = ()>>(
        serve: impl FnOnce(TcpListener, Spans, oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (spans, (end, ended)) = (Spans::default(), oneshot::channel());
        let kept = spans.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { serve(TcpListener::from_std(listener).unwrap(), kept, ended).await });
        });
        Self { address, spans, end: Some(end), thread: Some(thread) }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of a trace that have arrived so far.
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.trace_id == trace_id).cloned().collect()
    }

    /// All spans with a name that have arrived so far.
    pub fn named(&self, name: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.name == name).cloned().collect()
    }

    /// Waits for the span with this name in a trace.
    #[track_caller]
    pub fn span(&self, trace_id: &str, name: &str) -> Span {
        wait::until(&format!("span `{name}` of trace {trace_id}"), || {
            self.trace(trace_id).into_iter().find(|span| span.name == name)
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the collector has been printed; the test fails by what it did not receive.
            let _ = thread.join();
        }
    }
}

struct Receiver(Spans);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        keep(&self.0, request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn receive(State(spans): State<Spans>, body: Bytes) -> (StatusCode, Vec<u8>) {
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => keep(&spans, request),
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string().into_bytes()),
    }
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}

fn keep(spans: &Spans, request: ExportTraceServiceRequest) {
    let mut kept = spans.lock().unwrap();
    for resource in request.resource_spans {
        let about = resource.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
        let service = about.get("service.name").cloned().unwrap_or_default();
        let received = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        kept.extend(received.map(|span| Span {
            service: service.clone(),
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name,
            kind: span.kind,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            attributes: texts(span.attributes),
            links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
            status: span.status.map_or(0, |status| status.code),
        }));
    }
}

fn texts(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::ArrayValue(array)) => {
            let values: Vec<_> = array.values.into_iter().map(text).collect();
            format!("[{}]", values.join(","))
        }
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
