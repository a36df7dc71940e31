//! `/api/v1/events` and `/api/v1/log`: appending, listing and finding events.

use std::borrow::Cow;

use axum::{
    Json,
    extract::DefaultBodyLimit,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use lantern_buses::cloud_events::CloudEvent;
use lantern_core::{Event, EventId, Expected, Position, bus, log::Direction, upcasting::Accepted};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::UtoipaMethodRouterExt, routes};

use super::{
    Routes, binary,
    door::Open,
    given::{Body, Path, Query},
    incoming::{self, AppendAnswer, Form, MAX_BODY, Target},
    problem::Problem,
    refusals::module_failed,
    shapes,
};
use crate::wire::Host;

/// The most events one answer lists.
pub(crate) const MAX_LISTED: usize = 1000;

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(append_events, list_events).layer(DefaultBodyLimit::max(MAX_BODY)))
        .routes(routes!(show_event))
        .routes(routes!(show_log))
}

/// What is believed about the stream.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Believed {
    /// `any` (default), `no-stream`, `stream-exists` or a version; only where all events are of one stream.
    pub(super) expected: Option<String>,
}

/// The head of the log.
#[derive(Debug, Serialize, ToSchema)]
struct LogAnswer {
    /// The position of the last event; 0 when the log is empty.
    head: u64,
}

impl Believed {
    pub(super) fn expected(&self) -> Result<Expected, Problem> {
        let Some(text) = &self.expected else { return Ok(Expected::Any) };
        text.parse().map_err(|error| Problem::invalid(format!("the query is wrong: expected: {error}")))
    }
}

/// Appends CloudEvents.
///
/// One event, a JSON array of events or JSON lines; all are appended in their order, or none. `subject` is the stream.
/// An event without `id` gets one, an event without `time` gets the time of its arrival. Sending an id again with the
/// same content answers with its place.
///
/// With headers that begin with `ce-` the request is one event in binary mode: each attribute is a header, percent-encoded,
/// and the body is its data, of whatever `content-type`.
#[utoipa::path(
    post,
    path = "/api/v1/events",
    tag = "events",
    params(
        Believed,
        ("Prefer" = Option<String>, Header, description = "`return=minimal` leaves out the places"),
        ("ce-type" = Option<String>, Header, description = "Binary mode: the event's type. Further attributes likewise"),
        ("ce-subject" = Option<String>, Header, description = "Binary mode: the event's stream, percent-encoded"),
    ),
    request_body(content(
        (shapes::CloudEvent = "application/cloudevents+json"),
        (Vec<shapes::CloudEvent> = "application/cloudevents-batch+json"),
        (String = "application/x-ndjson"),
        (Vec<u8> = "*/*"),
    )),
    responses((status = 200, description = "All events are in the log, on disk", body = AppendAnswer), Problem),
)]
async fn append_events(
    Open(host): Open,
    Query(believed): Query<Believed>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<AppendAnswer>, Problem> {
    let target = Target { stream: None, expected: believed.expected()? };
    let is_minimal = headers.get("prefer").is_some_and(|value| value == "return=minimal");
    let mut answer = incoming::append(&host, body, incoming::form(headers, Form::Json)?, target).await?;
    if is_minimal {
        answer.events.clear();
    }
    Ok(Json(answer))
}

/// Which events to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) after: Option<Position>,
    pub(super) before: Option<Position>,
    pub(super) direction: Direction,
    pub(super) filter: lantern_core::Filter,
    pub(super) limit: Option<usize>,
}

impl Wanted {
    /// Reads the query; `category`, `type` and `tenant` may be there more than once.
    pub(super) fn of(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        for (name, value) in pairs {
            let position = || number(&name, &value).map(|number| Some(Position(number)));
            match name.as_str() {
                "after" => wanted.after = position()?,
                "before" => wanted.before = position()?,
                "limit" => wanted.limit = Some(limit(number(&name, &value)?)?),
                "direction" => wanted.direction = direction(&value)?,
                "category" => drop(wanted.filter.categories.insert(value)),
                "type" => drop(wanted.filter.event_types.insert(value)),
                "tenant" => drop(wanted.filter.tenants.insert(value)),
                _ => {
                    let known = "after, before, direction, category, type, tenant and limit";
                    return Err(Problem::invalid(format!(
                        "the query is wrong: `{name}` is unknown; there are {known}"
                    )));
                }
            }
        }
        Ok(wanted)
    }
}

fn number(name: &str, value: &str) -> Result<u64, Problem> {
    let wrong = || Problem::invalid(format!("the query is wrong: `{name}` is `{value}`, a whole number is needed"));
    value.parse().map_err(|_| wrong())
}

/// A limit of a listing.
pub(super) fn limit(limit: u64) -> Result<usize, Problem> {
    let fits = usize::try_from(limit).ok().filter(|limit| (1..=MAX_LISTED).contains(limit));
    fits.ok_or_else(|| {
        Problem::invalid(format!("the query is wrong: `limit` is {limit}, 1 to {MAX_LISTED} are possible"))
    })
}

pub(super) fn direction(text: &str) -> Result<Direction, Problem> {
    match text {
        "forward" => Ok(Direction::Forward),
        "backward" => Ok(Direction::Backward),
        _ => Err(Problem::invalid(format!(
            "the query is wrong: `direction` is `{text}`, `forward` and `backward` are possible"
        ))),
    }
}

/// Events of the log.
#[derive(Serialize)]
struct EventList<'a> {
    events: Vec<CloudEvent<'a>>,
    /// Where the next page begins.
    end: Position,
    /// The head of the log.
    head: Position,
}

/// Lists events.
///
/// Forward from `after`, or backward from `before`. The next page begins at `end`, which may lie behind the last event
/// listed. At the head, `end` stands still.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "events",
    params(
        ("after" = Option<u64>, Query, description = "Only later events; default 0"),
        ("before" = Option<u64>, Query, description = "Only earlier events, for `direction=backward`"),
        ("direction" = Option<String>, Query, description = "`forward` (default) or `backward`"),
        ("category" = Option<Vec<String>>, Query, description = "Only streams of these categories; may be repeated"),
        ("type" = Option<Vec<String>>, Query, description = "Only events of these types; may be repeated"),
        ("tenant" = Option<Vec<String>>, Query, description = "Only events of these tenants; may be repeated"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 1000; default 100"),
    ),
    responses((status = 200, description = "The events", body = shapes::EventList), Problem),
)]
async fn list_events(Open(host): Open, Query(pairs): Query<Vec<(String, String)>>) -> Result<Response, Problem> {
    let wanted = Wanted::of(pairs)?;
    let limit = wanted.limit.unwrap_or(100);
    let head = *host.log.head().borrow();
    let page = match wanted.direction {
        Direction::Forward => host.log.read(wanted.after.unwrap_or_default(), &wanted.filter, limit).await?,
        Direction::Backward => {
            let before = wanted.before.unwrap_or(head.next());
            host.log.read_backward(before, &wanted.filter, limit).await?
        }
    };
    // A backward read stops where it was told to, which the port does not know of.
    let after = wanted.after.filter(|_| wanted.direction == Direction::Backward).unwrap_or_default();
    let before = wanted.before.filter(|_| wanted.direction == Direction::Forward);
    let fits = |position: Position| position > after && before.is_none_or(|before| position < before);
    let events = page.events.iter().filter(|event| fits(event.position)).map(CloudEvent::listing).collect();
    Ok(Json(EventList { events, end: page.end, head: head.max(page.end) }).into_response())
}

/// In which form to show an event.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Shown {
    /// `true`: as it is stored. Else in its newest form, as modules see it that name no version.
    raw: Option<bool>,
    /// `structured` (default): attributes and data are the body. `binary`: attributes are headers, data is the body.
    #[param(value_type = Option<String>)]
    form: Option<bus::Form>,
}

/// Shows one event.
///
/// In binary mode its attributes are headers `ce-…`, percent-encoded, its data is the body, and `content-type` is that of
/// the data. An event that has no binary form is answered in structured mode all the same; `content-type` tells.
#[utoipa::path(
    get,
    path = "/api/v1/events/{id}",
    tag = "events",
    params(("id" = String, Path, description = "The event's UUID"), Shown),
    responses(
        (status = 200, description = "The event", content(
            (shapes::CloudEvent = "application/cloudevents+json"),
            (Vec<u8> = "*/*"),
        )),
        Problem,
    ),
)]
async fn show_event(
    Open(host): Open,
    Path(id): Path<EventId>,
    Query(shown): Query<Shown>,
) -> Result<Response, Problem> {
    let event = host.log.event(id).await?.ok_or_else(|| {
        let detail = format!("there is no event {id}: an id that is no UUID is found by the UUID its append answered");
        Problem::not_found(detail).with("id", id)
    })?;
    let event = if shown.raw == Some(true) { event } else { newest(&host, event).await? };
    let event = CloudEvent::listing(&event);
    Ok(match shown.form.unwrap_or(bus::Form::Structured) {
        bus::Form::Binary => binary::answer(event),
        bus::Form::Structured => binary::structured(event),
    })
}

/// An event in its newest form. Upcasters are guests, so this runs where guests run.
async fn newest(host: &Host, event: Event) -> Result<Event, Problem> {
    let upcasting = host.upcasters.upcasting();
    let upcast = move || upcasting.upcast(&event, &Accepted::new()).map(Cow::into_owned);
    host.threads.run(upcast).await?.map_err(|failure| {
        let mend = "`?raw=true`, on the command line `--raw`, shows it as it is stored";
        let detail = format!("the event has no newer form: {failure}; {mend}");
        module_failed(failure, detail)
    })
}

/// Says how long the log is.
#[utoipa::path(get, path = "/api/v1/log", tag = "events", responses((status = 200, description = "The head of the log", body = LogAnswer), Problem))]
async fn show_log(Open(host): Open) -> Result<Json<LogAnswer>, Problem> {
    Ok(Json(LogAnswer { head: host.log.head().borrow().0 }))
}
