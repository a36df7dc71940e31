//! The door of the host: closed while it starts and while it ends, so that requests in between find a whole host.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use lantern_telemetry::Telemetry;
use tokio::sync::watch;

use super::{elsewhere::Peers, problem::Problem};
use crate::wire::Host;

/// The door of the host.
pub(crate) struct Door {
    host: OnceLock<Arc<Host>>,
    closing: watch::Sender<bool>,
    /// Where spans of requests go, also before the host is there.
    pub(super) telemetry: Telemetry,
    /// The names under which it may be asked for, beside addresses and `localhost`.
    pub(super) names: Vec<String>,
    /// The way to other hosts.
    pub(super) peers: Peers,
}

/// A host that takes work. Handlers ask for it, so that none runs before the host is there or while it ends.
pub(super) struct Open(pub(super) Arc<Host>);

impl Door {
    /// A closed door.
    pub(crate) fn new(telemetry: Telemetry, names: Vec<String>) -> Self {
        Self { host: OnceLock::new(), closing: watch::Sender::new(false), telemetry, names, peers: Peers::new() }
    }

    /// Opens it to a host. A door opens once.
    pub(crate) fn open(&self, host: Arc<Host>) {
        // A second host would change nothing, since the first is there already.
        let _ = self.host.set(host);
    }

    /// Takes no further work; what waits for something to happen ends.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// The host, when it takes work.
    pub(super) fn host(&self) -> Result<Arc<Host>, Problem> {
        if *self.closing.borrow() {
            return Err(closing());
        }
        self.host.get().cloned().ok_or_else(|| {
            let detail = "the host is starting: try again in a moment";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", detail)
        })
    }

    /// Returns when the door closes.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as the door.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

/// The answer to whoever asks while the host ends.
pub(super) fn closing() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "the host is shutting down")
}

impl FromRequestParts<Arc<Door>> for Open {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, door: &Arc<Door>) -> Result<Self, Problem> {
        door.host().map(Self)
    }
}
