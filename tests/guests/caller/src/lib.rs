//! Sends the requests that stand in the event's data, one after another, and writes down what came of each.

use bindings::{
    Description, Event, Failure, Guest, TraceContext,
    lantern::module::{documents, types::Payload, types::ProcessorKind},
};
use serde::{Deserialize, Serialize};
use wasip2::http::{
    outgoing_handler,
    types::{
        ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody,
        OutgoingRequest, RequestOptions, Scheme,
    },
};
use wasip2::io::streams::StreamError;

mod bindings {
    #![allow(clippy::all, unused_qualifications, reason = "generated code")]
    wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });
}

const COLLECTION: &str = "answers";

#[derive(Deserialize)]
struct Wanted {
    requests: Vec<Request>,
    /// Whether all are sent before the first answer is read.
    #[serde(default)]
    at_once: bool,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    scheme: String,
    authority: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// How many bytes its body has; none when there is no body.
    #[serde(default)]
    body: Option<usize>,
    /// How long it waits for the head of the answer, in milliseconds.
    #[serde(default)]
    first_byte_ms: Option<u64>,
    /// How long it waits for each piece of the body, in milliseconds.
    #[serde(default)]
    between_bytes_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Answered { status: u16, headers: Vec<(String, String)>, body: String },
    Failed(String),
}

struct Caller;

impl Guest for Caller {
    fn describe() -> Description {
        Description {
            kind: ProcessorKind::Handler,
            name: "caller".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            categories: Vec::new(),
            event_types: Vec::new(),
            collections: vec![COLLECTION.to_owned()],
            schema_versions: Vec::new(),
            migrations: Vec::new(),
        }
    }

    fn handle(_: TraceContext, event: Event) -> Result<(), Failure> {
        let Payload::Json(data) = &event.data else { return Err(Failure::Permanent("no JSON".to_owned())) };
        let wanted = serde_json::from_str::<Wanted>(data).map_err(|error| Failure::Permanent(error.to_string()))?;
        let answers = if wanted.at_once {
            let sent = wanted.requests.iter().map(send).collect::<Vec<_>>();
            sent.into_iter().map(|sent| sent.and_then(Sent::head)).collect::<Vec<_>>().into_iter().map(told).collect()
        } else {
            wanted.requests.iter().map(|request| told(send(request).and_then(Sent::head))).collect::<Vec<_>>()
        };
        let answers = serde_json::to_string(&answers).map_err(|error| Failure::Permanent(error.to_string()))?;
        documents::put(COLLECTION, &event.position.to_string(), &answers);
        Ok(())
    }
}

/// A request that was sent; the answer may be under way.
struct Sent(FutureIncomingResponse);

impl Sent {
    fn head(self) -> Result<IncomingResponse, ErrorCode> {
        self.0.subscribe().block();
        self.0.get().expect("it is there").expect("it is taken once")
    }
}

fn send(request: &Request) -> Result<Sent, ErrorCode> {
    let headers = Fields::new();
    for (name, value) in &request.headers {
        let appended = headers.append(name, value.as_bytes());
        appended.map_err(|error| ErrorCode::InternalError(Some(format!("{name}: {error:?}"))))?;
    }
    let outgoing = OutgoingRequest::new(headers);
    let method = match request.method.as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "CONNECT" => Method::Connect,
        other => Method::Other(other.to_owned()),
    };
    let scheme = if request.scheme == "https" { Scheme::Https } else { Scheme::Http };
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    outgoing.set_method(&method).map_err(invalid)?;
    outgoing.set_scheme(Some(&scheme)).map_err(invalid)?;
    outgoing.set_authority(Some(&request.authority)).map_err(invalid)?;
    outgoing.set_path_with_query(request.path.as_deref()).map_err(invalid)?;
    let options = RequestOptions::new();
    let nanoseconds = |milliseconds: Option<u64>| milliseconds.map(|some| some * 1_000_000);
    options.set_first_byte_timeout(nanoseconds(request.first_byte_ms)).map_err(invalid)?;
    options.set_between_bytes_timeout(nanoseconds(request.between_bytes_ms)).map_err(invalid)?;
    let Some(length) = request.body else { return outgoing_handler::handle(outgoing, Some(options)).map(Sent) };
    let body = outgoing.body().expect("it is taken once");
    let sent = outgoing_handler::handle(outgoing, Some(options))?;
    write(&body, length);
    OutgoingBody::finish(body, None)?;
    Ok(Sent(sent))
}

/// A connection that is closed meanwhile says so when the answer is read.
fn write(body: &OutgoingBody, length: usize) {
    let stream = body.write().expect("it is taken once");
    let mut left = length;
    while left > 0 {
        let piece = left.min(4096);
        if stream.blocking_write_and_flush(&vec![b'x'; piece]).is_err() {
            return;
        }
        left -= piece;
    }
}

fn told(head: Result<IncomingResponse, ErrorCode>) -> Answer {
    match head.map_err(|error| format!("{error:?}")).and_then(|answer| read(&answer)) {
        Ok(answer) => answer,
        Err(error) => Answer::Failed(error),
    }
}

fn read(answer: &IncomingResponse) -> Result<Answer, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = answer.headers().entries().iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let body = answer.consume().expect("it is taken once");
    let bytes = bytes(&body)?;
    Ok(Answer::Answered { status: answer.status(), headers, body: text(&bytes) })
}

fn bytes(body: &IncomingBody) -> Result<Vec<u8>, String> {
    let stream = body.stream().expect("it is taken once");
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

bindings::export!(Caller with_types_in bindings);
