//! Requests for a processor or a route that another host runs: they are handed on to it, and its answer is handed back, so
//! that every host answers for all of them.
//!
//! What only the owner knows is asked of the owner: what it is doing, and every change. Read models, dead letters and
//! histories are in the stores that all share, and any host reads them.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use lantern_core::{Identity, Kind, Name, Subject};
use lantern_processors::{Place, Refusal, RouteStatus, Status};
use lantern_telemetry::propagation;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{self, Instant};

use super::{SMALL_BODY, door::Door, problem::Problem};
use crate::wire::Host;

/// Marks a request that another host hands on: it is not handed on again.
const HANDED_ON: HeaderName = HeaderName::from_static("lantern-handed-on");

/// Marks the answer of a host that does not run what it was asked about. Nothing was done there.
const NOT_HERE: HeaderName = HeaderName::from_static("lantern-not-here");

/// How long a processor may be on its way from one host to another.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a look is taken at where it is.
const GLANCE: Duration = Duration::from_millis(100);

/// How long a host may take to say how its processors stand.
const MOMENT: Duration = Duration::from_secs(2);

/// What of an answer or request is about one connection only.
const OF_ONE_CONNECTION: [HeaderName; 6] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::HOST, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];

/// Talks to the other hosts.
pub(super) struct Peers {
    http: reqwest::Client,
}

/// What a request is about.
enum Concern {
    /// A processor.
    Processor(Subject),
    /// A route.
    Route(Name),
}

impl Concern {
    fn place(&self, host: &Host) -> Result<Place, Refusal> {
        match self {
            Self::Processor(Subject { kind, name }) => host.supervisor.place(*kind, name),
            Self::Route(name) => host.routes.place(name),
        }
    }

    /// It is not here.
    fn elsewhere(self) -> Refusal {
        match self {
            Self::Processor(subject) => Refusal::Elsewhere { subject, host: None },
            Self::Route(route) => Refusal::RouteElsewhere { route, host: None },
        }
    }
}

/// Why another host gave no answer of its own.
enum Silence {
    /// It does not run the processor: nothing was done.
    NotHere,
    /// It cannot be reached: nothing was done.
    Unreachable,
    /// It took the request and did not answer: perhaps it was done.
    Broken(String),
}

impl Peers {
    /// Connects to nobody yet.
    pub(super) fn new() -> Self {
        // Hosts that share a database talk to each other directly.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(MOMENT).build();
        // Only a TLS library that does not start could keep it from being built, and `main` has started it.
        Self { http: http.unwrap_or_default() }
    }

    async fn ask(&self, peer: &Identity, parts: &Parts, body: Bytes) -> Result<Response, Silence> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = HeaderMap::new();
        for (name, value) in parts.headers.iter().filter(|(name, _)| !OF_ONE_CONNECTION.contains(name)) {
            headers.append(name, value.clone());
        }
        headers.insert(HANDED_ON, HeaderValue::from_static("1"));
        for (name, value) in propagation::current().iter().flat_map(propagation::inject) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        let request = self.http.request(parts.method.clone(), format!("{}{path}", peer.address));
        let sent = request.headers(headers).body(body).send().await;
        let answer = sent.map_err(|error| match error.is_connect() {
            true => Silence::Unreachable,
            false => Silence::Broken(error.to_string()),
        })?;
        if answer.headers().contains_key(NOT_HERE) {
            return Err(Silence::NotHere);
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
        *response.status_mut() = status;
        for (name, value) in headers.iter().filter(|(name, _)| !OF_ONE_CONNECTION.contains(name)) {
            response.headers_mut().append(name, value.clone());
        }
        Ok(response)
    }

    /// How those of a sort stand that a host runs; nothing when it does not answer soon.
    async fn list<T: DeserializeOwned>(&self, peer: &Identity, sort: &str) -> Vec<T> {
        #[derive(Deserialize)]
        struct Listed<T> {
            #[serde(alias = "projections", alias = "handlers", alias = "routes")]
            all: Vec<T>,
        }

        let url = format!("{}/api/v1/{sort}", peer.address);
        let asking = async {
            let answer = self.http.get(url).header(HANDED_ON, "1").send().await?;
            answer.error_for_status()?.json::<Listed<T>>().await
        };
        match time::timeout(MOMENT, asking).await {
            Ok(Ok(listed)) => listed.all,
            Ok(Err(error)) => {
                tracing::warn!(host = peer.name, "it does not say what it runs: {error}");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }
}

/// All processors of a kind, whoever runs them, by name. A host that is asked by another one answers for itself.
pub(super) async fn list(host: &Host, door: &Door, kind: Kind, headers: &HeaderMap) -> Result<Vec<Status>, Problem> {
    let mut all = host.supervisor.list(kind);
    if headers.contains_key(HANDED_ON) {
        return Ok(all);
    }
    let names = host.supervisor.names(kind);
    for name in complete(host, door, &format!("{kind}s"), &mut all, names, |status| &status.name).await {
        match host.supervisor.recall(kind, &name).await {
            Ok(status) => all.push(status),
            Err(Refusal::Unknown(_)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// All routes, whoever runs them, by name. A host that is asked by another one answers for itself.
pub(super) async fn list_routes(host: &Host, door: &Door, headers: &HeaderMap) -> Result<Vec<RouteStatus>, Problem> {
    let mut all = host.routes.list().await?;
    if headers.contains_key(HANDED_ON) {
        return Ok(all);
    }
    let names = host.routes.names();
    for name in complete(host, door, "routes", &mut all, names, |status| &status.name).await {
        match host.routes.recall(&name).await {
            Ok(status) => all.push(status),
            // It is in no configuration but that of a host which does not answer.
            Err(Refusal::RouteElsewhere { .. } | Refusal::UnknownRoute(_)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Adds what the other hosts run of the names; answers those that nobody has told of.
async fn complete<T: DeserializeOwned>(
    host: &Host,
    door: &Door,
    sort: &str,
    all: &mut Vec<T>,
    names: impl IntoIterator<Item = Name>,
    name_of: impl Fn(&T) -> &Name,
) -> Vec<Name> {
    let is_missing = |all: &[T], name: &Name| !all.iter().any(|one| name_of(one) == name);
    let mut missing: Vec<Name> = names.into_iter().filter(|name| is_missing(all, name)).collect();
    if missing.is_empty() {
        return missing;
    }
    let (roll, _) = host.supervisor.roll();
    let own = host.supervisor.identity().id;
    let peers = roll.hosts.iter().filter(|seen| seen.is_live && seen.identity.id != own);
    let asked = futures::future::join_all(peers.map(|seen| door.peers.list::<T>(&seen.identity, sort))).await;
    for one in asked.into_iter().flatten() {
        // While it changes hosts two may show it.
        if is_missing(all, name_of(&one)) {
            all.push(one);
        }
    }
    missing.retain(|name| is_missing(all, name));
    missing
}

/// Hands a request on that only the owner of a processor or route can answer.
pub(super) async fn handed_on(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let Some(concern) = concerned(&request) else { return next.run(request).await };
    let Ok(host) = door.host() else { return next.run(request).await };
    let place = || concern.place(&host);
    // What is unknown everywhere is known to be so here.
    if !matches!(place(), Ok(Place::At(_) | Place::Nowhere)) {
        return next.run(request).await;
    }
    if request.headers().contains_key(HANDED_ON) {
        let mut response = Problem::from(concern.elsewhere()).into_response();
        response.headers_mut().insert(NOT_HERE, HeaderValue::from_static("1"));
        return response;
    }
    let is_status = request.method() == Method::GET && request.uri().path().split('/').count() == 5;
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, SMALL_BODY).await {
        Ok(body) => body,
        Err(_) => {
            let detail = "the body is too large: a request about a processor may have 1 MiB";
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).into_response();
        }
    };
    let again = |next: Next| next.run(Request::from_parts(parts.clone(), Body::from(body.clone())));
    if is_status {
        // Should the owner not answer soon, what is stored is shown.
        return match place() {
            Ok(Place::At(peer)) => match time::timeout(MOMENT, door.peers.ask(&peer, &parts, body.clone())).await {
                Ok(Ok(response)) => response,
                _ => again(next).await,
            },
            _ => again(next).await,
        };
    }
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match place() {
            Ok(Place::At(peer)) => {
                let asking = door.peers.ask(&peer, &parts, body.clone());
                let asked = tokio::select! {
                    asked = asking => asked,
                    () = moved(&host, &concern, &peer) => {
                        Err(Silence::Broken("it was silent until its time was over".into()))
                    }
                };
                match asked {
                    Ok(response) => return response,
                    Err(Silence::Broken(reason)) if parts.method != Method::GET => {
                        return unknown(&concern, &peer, &reason).into_response();
                    }
                    Err(_) => {}
                }
            }
            Ok(Place::Nowhere) => {}
            Ok(Place::Here) | Err(_) => return again(next).await,
        }
        time::sleep(GLANCE).await;
    }
    again(next).await
}

/// Returns when something is no longer where it was.
async fn moved(host: &Host, concern: &Concern, peer: &Identity) {
    while concern.place(host).is_ok_and(|place| place == Place::At(peer.clone())) {
        time::sleep(GLANCE).await;
    }
}

/// A change was handed on, and what became of it is not known.
fn unknown(concern: &Concern, peer: &Identity, reason: &str) -> Problem {
    let (kind, name, look) = match concern {
        Concern::Processor(Subject { kind, name }) => {
            let look = format!("`lantern {kind} status {name}` and `lantern {kind} history {name}` show");
            (kind.as_str(), name, look)
        }
        Concern::Route(name) => ("route", name, format!("`lantern bus status {name}` shows")),
    };
    let host = &peer.name;
    let detail = format!("host `{host}` was to do it and did not answer ({reason}): {look} whether it was done");
    Problem::new(StatusCode::BAD_GATEWAY, "unanswered", detail).with(kind, name).with("host", host)
}

/// The processor or route whose owner has to answer a request.
fn concerned(request: &Request) -> Option<Concern> {
    let route = request.extensions().get::<MatchedPath>()?.as_str();
    let mut segments = request.uri().path().strip_prefix("/api/v1/")?.split('/');
    let (kind, of_processor) = match segments.next()? {
        "projections" => (Kind::Projection, route.strip_prefix("/api/v1/projections/{name}")?),
        "handlers" => (Kind::Handler, route.strip_prefix("/api/v1/handlers/{name}")?),
        "schedules" => (Kind::Handler, route.strip_prefix("/api/v1/schedules/{handler}")?),
        "routes" => {
            let is_of_owner = request.method() != Method::GET || route == "/api/v1/routes/{name}";
            return segments.next()?.parse().ok().filter(|_| is_of_owner).map(Concern::Route);
        }
        _ => return None,
    };
    let is_newest = || request.uri().query().is_some_and(|query| query.contains("min_position="));
    let is_of_owner = match request.method() {
        &Method::GET => matches!(of_processor, "" | "/wait" | "/changes") || is_newest(),
        _ => true,
    };
    let name = segments.next()?.parse().ok()?;
    is_of_owner.then_some(Concern::Processor(Subject { kind, name }))
}
