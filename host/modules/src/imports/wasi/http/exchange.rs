//! One request and its answer: a connection of its own, bounded in time and in size.
//!
//! A redirect is not followed: the module sees it as an answer like any other, and a request to where it points is
//! checked as any other.

use std::{error::Error as _, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::{Request, Response, Uri, client::conn::http1, header::HeaderMap};
use hyper_util::rt::TokioIo;
use lantern_core::grants::Origin;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::{
    bodies::{Allowance, Answer, Outgoing, Patience},
    connection::Connector,
    record::Record,
    refusal::Problem,
};
use crate::state::Deployment;

/// How long it may take to find a name's addresses and to connect, unless the module wants it shorter.
const CONNECT: Duration = Duration::from_secs(5);

/// How many bytes the head of an answer may have, and how many are read ahead of its body.
const HEAD: usize = 64 << 10;

/// An answer, and what keeps its connection going.
pub(super) type Received = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// What the host shares between all requests of all modules.
pub(super) struct Wire {
    /// What opens connections.
    pub(super) connector: Connector,
    /// Places for requests under way.
    pub(super) places: Arc<Semaphore>,
}

/// One request that is about to be sent.
pub(super) struct Exchange {
    /// Where to, as listed.
    pub(super) origin: Origin,
    /// What the module may do.
    pub(super) deployment: Arc<Deployment>,
    /// When the answer must be complete.
    pub(super) deadline: Instant,
    /// What the module wants to be shorter.
    pub(super) options: RequestOptions,
    /// What the requests of the call may hand over.
    pub(super) allowance: Allowance,
    /// The place it takes among those of its module.
    pub(super) place: OwnedSemaphorePermit,
    /// Where it is recorded.
    pub(super) record: Arc<Record>,
}

impl Exchange {
    /// Sends the request and gives the answer as soon as its head is there.
    pub(super) async fn send(self, wire: &Wire, request: Request<WasiBody>) -> Result<Received, Error> {
        let record = self.record.clone();
        self.sent(wire, request).await.map_err(|problem| {
            record.fell_through(&problem);
            problem.into()
        })
    }

    async fn sent(self, wire: &Wire, request: Request<WasiBody>) -> Result<Received, Problem> {
        let Self { origin, deployment, deadline, options, allowance, place, record } = self;
        allowance.spend(size(request.uri(), request.headers()))?;
        let waiting = timeout_at(deadline, wire.places.clone().acquire_owned()).await;
        // The places are never closed, so that only the time can run out.
        let shared = waiting.ok().and_then(Result::ok).ok_or(Error::ConnectionLimitReached)?;
        let connected = deadline.min(Instant::now() + options.connect_timeout.unwrap_or(CONNECT).min(CONNECT));
        let stream = wire.connector.open(&origin, &deployment.settings.grants, connected).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD).max_header_size(HEAD);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| received(&error))?;
        // Ends with the answer that owns it, or with the module that no longer wants one.
        let connection = spawn(connection);
        let (head, body) = request.into_parts();
        let begun = timeout_at(deadline, Outgoing::begun(body, allowance)).await;
        let request = Request::from_parts(head, begun.map_err(|_| Error::HttpResponseTimeout)??);
        let first = options.first_byte_timeout.map_or(deadline, |most| deadline.min(Instant::now() + most));
        let answer = timeout_at(first, sender.send_request(at_origin(request)?)).await;
        let answer = answer.map_err(|_| Error::HttpResponseTimeout)?.map_err(|error| received(&error))?;
        record.answered(answer.status().as_u16());
        let most = deployment.settings.limits.http_body_bytes;
        let patience = Patience { deadline, pause: options.between_bytes_timeout };
        let answer = answer.map(|body| Answer::new(body, most, patience, record, place).boxed_unsync());
        let driving = Box::new(async move {
            // What goes wrong is seen by who reads the answer. One that nobody reads ends with the call all the same.
            timeout_at(deadline, connection).await.ok();
            drop(shared);
            Ok(())
        });
        Ok((answer, driving))
    }
}

/// The request as it is sent to the origin itself: the path without scheme and host.
fn at_origin<T>(mut request: Request<T>) -> Result<Request<T>, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // A query may stand alone; in the request line it may not.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    *request.uri_mut() = Uri::try_from(path).map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}

/// How many bytes the head of a request has, about.
fn size(uri: &Uri, fields: &HeaderMap) -> usize {
    let path = uri.path_and_query().map_or(1, |path| path.as_str().len());
    path + fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}

/// What the module sees of an error on an open connection.
pub(super) fn received(error: &hyper::Error) -> Error {
    // What the request's own body said comes back as the reason.
    if let Some(Error::HttpRequestBodySize(size)) = error.source().and_then(|reason| reason.downcast_ref()) {
        return Error::HttpRequestBodySize(*size);
    }
    if error.is_parse_too_large() {
        return Error::HttpResponseHeaderSectionSize(Some(HEAD as u32));
    }
    if error.is_incomplete_message() {
        return Error::HttpResponseIncomplete;
    }
    if error.is_closed() || error.is_canceled() || error.source().is_some_and(|reason| reason.is::<std::io::Error>()) {
        return Error::ConnectionTerminated;
    }
    Error::HttpProtocolError
}
