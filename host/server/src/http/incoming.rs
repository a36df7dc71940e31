//! Events on their way in: bodies read into events, and one append made of them.

use std::collections::HashSet;

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
};
use lantern_buses::cloud_events::{Absent, Invalid, read};
use lantern_core::{
    Append, Appended, EventId, Expected, NewEvent, Position, StreamName, Timestamp,
    log::{AppendError, MAX_APPEND},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    binary,
    door::closing,
    given::{media_type, unsupported},
    problem::Problem,
};
use crate::wire::Host;

/// The largest body of events, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024 * 1024;

/// A body of at least so many bytes is read on a thread where that may take its time.
const LARGE: usize = 64 * 1024;

/// How the events of a request are written.
#[derive(Debug)]
pub(super) enum Form {
    /// One object, or an array of them.
    Json,
    /// One object a line.
    Lines,
    /// As `Json`, or an object with the array `events`.
    Wrapped,
    /// One event: its attributes are these headers, its data is the body.
    Binary(HeaderMap),
}

/// Where events go and what is believed about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// The stream, when the path names it.
    pub(super) stream: Option<StreamName>,
    /// What the writer believes about the stream.
    pub(super) expected: Expected,
}

/// What became of an append.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AppendAnswer {
    /// Where each event stands, in the order given. Left out with `Prefer: return=minimal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<Place>,
    /// How many events are new in the log.
    pub(crate) appended: usize,
    /// How many were there already, with the same content.
    pub(crate) already_there: usize,
    /// The head of the log.
    #[schema(value_type = u64)]
    pub(crate) head: Position,
}

/// Where an event stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Place {
    /// The event.
    #[schema(value_type = String)]
    pub(crate) id: EventId,
    /// Its stream.
    #[schema(value_type = String)]
    pub(crate) stream: StreamName,
    /// Its place in the stream.
    pub(crate) version: u64,
    /// Its place in the log.
    pub(crate) position: u64,
}

/// The form that the headers of a request say; `json` is that of JSON.
pub(super) fn form(headers: HeaderMap, json: Form) -> Result<Form, Problem> {
    if binary::is_meant(&headers) {
        return Ok(Form::Binary(headers));
    }
    match media_type(&headers).as_deref() {
        None | Some("application/json" | "application/cloudevents+json" | "application/cloudevents-batch+json") => {
            Ok(json)
        }
        Some("application/x-ndjson" | "application/jsonl") => Ok(Form::Lines),
        Some(_) => Err(unsupported("application/cloudevents+json` or `application/x-ndjson")),
    }
}

/// Reads a body and appends its events, all or none.
pub(super) async fn append(host: &Host, body: Bytes, form: Form, target: Target) -> Result<AppendAnswer, Problem> {
    let now = host.clock.now();
    let stream = target.stream.clone();
    let events = if body.len() < LARGE {
        events(&body, &form, stream.as_ref(), now)
    } else {
        let reading = tokio::task::spawn_blocking(move || events(&body, &form, stream.as_ref(), now)).await;
        // Only the end of the runtime keeps it from being read.
        reading.map_err(|_| closing())?
    }?;
    let ids: Vec<_> = events.iter().map(|(stream, event)| (event.id, stream.clone())).collect();
    let appends = in_runs(events, target.expected)?;
    let before = *host.log.head().borrow();
    let places = host.log.append(appends).await.map_err(|error| indexed(error, &ids))?;
    let head = *host.log.head().borrow();
    let appended = places.iter().map(|place| place.position).filter(|position| *position > before);
    let appended = appended.collect::<HashSet<_>>().len();
    Ok(AppendAnswer { already_there: places.len() - appended, events: placed(ids, &places), appended, head })
}

fn placed(ids: Vec<(EventId, StreamName)>, places: &[Appended]) -> Vec<Place> {
    let place = |((id, stream), at): ((EventId, StreamName), &Appended)| Place {
        id,
        stream,
        version: at.version.0,
        position: at.position.0,
    };
    ids.into_iter().zip(places).map(place).collect()
}

/// The error, with the index of the event that is at fault.
fn indexed(error: AppendError, ids: &[(EventId, StreamName)]) -> Problem {
    let duplicate = if let AppendError::DuplicateEvent { id, .. } = &error { Some(*id) } else { None };
    // Of an id that is there twice in one body, the later event is the one at odds.
    let index = duplicate.and_then(|duplicate| ids.iter().rposition(|(id, _)| *id == duplicate));
    let problem = Problem::from(error);
    match index {
        Some(index) => problem.with("index", index),
        None => problem,
    }
}

/// One append of consecutive runs: the order given is the order in the log, across streams too.
fn in_runs(events: Vec<(StreamName, NewEvent)>, expected: Expected) -> Result<Vec<Append>, Problem> {
    let mut appends: Vec<Append> = Vec::new();
    for (stream, event) in events {
        match appends.last_mut() {
            Some(last) if last.stream == stream => last.events.push(event),
            _ => appends.push(Append { stream, expected, events: vec![event] }),
        }
    }
    if expected != Expected::Any && appends.len() > 1 {
        let detail = "`expected` speaks of one stream, but the events are of several: send one request a stream";
        return Err(Problem::invalid(detail));
    }
    Ok(appends)
}

fn events(
    body: &Bytes,
    form: &Form,
    stream: Option<&StreamName>,
    now: Timestamp,
) -> Result<Vec<(StreamName, NewEvent)>, Problem> {
    let absent = Absent { stream, category: None, time: now, id: Some(Uuid::now_v7) };
    if let Form::Binary(headers) = form {
        return binary::read(headers, body, &absent).map(|event| vec![event]);
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::invalid(format!("the body is no UTF-8 from byte {}", error.valid_up_to())))?;
    let texts = texts(text, form)?;
    if texts.len() > MAX_APPEND {
        return Err(AppendError::TooLarge(texts.len()).into());
    }
    let event = |(index, text): (usize, &str)| read(text, &absent).map_err(|invalid| at_index(&invalid, index));
    texts.into_iter().enumerate().map(event).collect()
}

/// The texts of the events in a body that has all of them in it.
fn texts<'a>(text: &'a str, form: &Form) -> Result<Vec<&'a str>, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }

    let whole = |error: serde_json::Error| Problem::invalid(format!("the body is no list of events: {error}"));
    let values: Vec<&RawValue> = match form {
        Form::Lines => return Ok(text.lines().filter(|line| !line.trim().is_empty()).collect()),
        _ if text.trim_start().starts_with('[') => serde_json::from_str(text).map_err(whole)?,
        Form::Wrapped if is_wrapped(text) => serde_json::from_str::<Wrapped<'_>>(text).map_err(whole)?.events,
        _ => return Ok(vec![text]),
    };
    Ok(values.into_iter().map(RawValue::get).collect())
}

/// Whether an object has events in it and is none itself.
fn is_wrapped(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow)]
        events: Option<&'a RawValue>,
        #[serde(borrow)]
        r#type: Option<&'a RawValue>,
    }

    serde_json::from_str::<Members<'_>>(text).is_ok_and(|it| it.events.is_some() && it.r#type.is_none())
}

fn at_index(invalid: &Invalid, index: usize) -> Problem {
    let detail = format!("event {index} of the body: {invalid}");
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-event", detail)
        .with("index", index)
        .with("reason", &invalid.reason);
    match &invalid.field {
        Some(field) => problem.with("field", field),
        None => problem,
    }
}
