//! `wait` and `changes` of a processor: what answers when something has happened.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, stream};
use lantern_core::{Kind, Name, Position, Subject};
use lantern_processors::Status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    door::{Door, Open, closing},
    given::{Path, Query},
    problem::Problem,
    shapes,
};
use crate::wire::Host;

/// How long a request waits that does not say.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The longest a request may wait, in seconds.
pub(crate) const MAX_WAIT: f64 = 3600.0;

/// How often a checkpoint is looked at for whoever follows it.
const GLANCE: Duration = Duration::from_millis(100);

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(wait_for_processor)).routes(routes!(follow_processor))
}

/// What to wait for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The position to be processed; default the head of the log at the time of the request.
    position: Option<u64>,
    /// How long to wait, in seconds, up to 3600; default 30.
    timeout: Option<f64>,
}

/// Reads a time-out in seconds.
pub(super) fn timeout(seconds: f64) -> Result<Duration, Problem> {
    if !(0.0..=MAX_WAIT).contains(&seconds) {
        let detail = format!("the query is wrong: `timeout` is {seconds}, 0 to {MAX_WAIT} seconds are possible");
        return Err(Problem::invalid(detail));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Waits until a processor has processed a position, until the time is over, or until the host ends.
pub(super) async fn until(
    host: &Host,
    door: &Door,
    subject: &Subject,
    position: Position,
    timeout: Duration,
) -> Result<Status, Problem> {
    let Subject { kind, name } = subject;
    tokio::select! {
        reached = tokio::time::timeout(timeout, host.supervisor.wait(*kind, name, position)) => match reached {
            Ok(reached) => Ok(reached?),
            Err(_) => Err(late(&host.supervisor.status(*kind, name)?, position, timeout)),
        },
        () = door.closed() => Err(closing()),
    }
}

fn late(status: &Status, position: Position, timeout: Duration) -> Problem {
    let Status { kind, name, position: at, state, .. } = status;
    let detail = format!(
        "{kind} `{name}` has not reached position {position} within {} s: it is {} at {at}",
        timeout.as_secs_f64(),
        state.as_str()
    );
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).with(&format!("{}_status", status.kind), status)
}

/// Waits until a processor has processed a position.
#[utoipa::path(
    get,
    path = "/{name}/wait",
    tag = "processors",
    params(("name" = String, Path), Wanted),
    responses((status = 200, description = "It is there", body = shapes::Status), Problem),
)]
async fn wait_for_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    State(door): State<Arc<Door>>,
    Path(name): Path<Name>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Status>, Problem> {
    let timeout = wanted.timeout.map_or(Ok(DEFAULT_WAIT), timeout)?;
    let position = wanted.position.map_or_else(|| *host.log.head().borrow(), Position);
    until(&host, &door, &Subject { kind, name }, position, timeout).await.map(Json)
}

/// Where a processor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
struct Moved {
    /// The last position processed.
    position: u64,
    /// How many events were handled.
    handled: u64,
    /// The number of the live generation.
    generation: u32,
}

/// Follows a processor.
///
/// Server-sent events: `checkpoint` at once and whenever the processor has moved on, with `position`, `handled` and
/// `generation`. Changes in quick succession are told as one. The stream ends with the processor or the host.
#[utoipa::path(
    get,
    path = "/{name}/changes",
    tag = "processors",
    params(("name" = String, Path)),
    responses((status = 200, description = "The moves, one after the other", body = Moved, content_type = "text/event-stream"), Problem),
)]
async fn follow_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    State(door): State<Arc<Door>>,
    Path(name): Path<Name>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    host.supervisor.status(kind, &name)?;
    let following = Following { host, door, kind, name, told: None };
    Ok(Sse::new(stream::unfold(following, next_change)).keep_alive(KeepAlive::default()))
}

struct Following {
    host: Arc<Host>,
    door: Arc<Door>,
    kind: Kind,
    name: Name,
    told: Option<Moved>,
}

async fn next_change(mut following: Following) -> Option<(Result<Event, Infallible>, Following)> {
    loop {
        let status = following.host.supervisor.status(following.kind, &following.name).ok()?;
        let Status { position, handled, generation, .. } = status;
        let moved = Moved { position: position.0, handled, generation };
        if following.told != Some(moved) {
            following.told = Some(moved);
            // Three numbers always have a JSON form.
            let event = Event::default().event("checkpoint").json_data(moved).ok()?;
            return Some((Ok(event), following));
        }
        tokio::select! {
            () = tokio::time::sleep(GLANCE) => {}
            () = following.door.closed() => return None,
        }
    }
}
