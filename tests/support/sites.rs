//! A web site on this machine that writes down every request it gets.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, sync::oneshot};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A site on a free port. It answers `/redirect?URL` with a redirect, `/slow` after an hour, everything else with the body
/// it was sent.
pub struct Site {
    address: SocketAddr,
    requests: Requests,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Requests = Arc<Mutex<Vec<Request>>>;

impl Site {
    /// A site at an address of this machine.
    pub fn at(address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let requests = Requests::default();
        let (end, ended) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let kept = requests.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((address, 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let app = Router::new().fallback(answer).with_state(kept);
                // Open connections are dropped with the runtime.
                tokio::select! {
                    served = axum::serve(listener, app).into_future() => served.unwrap(),
                    _ = ended => {}
                }
            });
        });
        Self { address: told.recv().unwrap(), requests, end: Some(end), thread: Some(thread) }
    }

    /// A site at 127.0.0.1.
    pub fn start() -> Self {
        Self::at("127.0.0.1")
    }

    /// Its origin, with the address it listens on.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The requests so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.end.take().map(|end| end.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answer(
    State(requests): State<Requests>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    let request = Request { method: method.to_string(), path: uri.path().to_owned(), headers, body: body.clone() };
    requests.lock().unwrap().push(request);
    match uri.path() {
        "/redirect" => {
            let to = uri.query().unwrap_or_default().to_owned();
            (StatusCode::FOUND, [(HeaderName::from_static("location"), to)]).into_response()
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            StatusCode::OK.into_response()
        }
        _ => body.into_response(),
    }
}
