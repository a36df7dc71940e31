//! `/api/v1/schedules`: what handlers have scheduled.

use axum::{Json, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lantern_core::{EventId, EventType, Name, Payload, Scheduled, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa_axum::routes;

use super::{
    Routes,
    door::Open,
    given::{Path, Query},
    problem::Problem,
    shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list_schedules)).routes(routes!(cancel_schedule))
}

/// Whose schedules to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only those of this handler.
    #[param(value_type = Option<String>)]
    handler: Option<Name>,
}

/// What is scheduled.
#[derive(Serialize)]
struct ScheduleList {
    schedules: Vec<Shown>,
}

/// An event that is to be emitted.
#[derive(Serialize)]
struct Shown {
    handler: Name,
    key: String,
    due: Timestamp,
    stream: StreamName,
    #[serde(rename = "type")]
    event_type: EventType,
    id: EventId,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl Shown {
    fn of(handler: Name, scheduled: Scheduled) -> Self {
        let Scheduled { key, due, stream, event } = scheduled;
        let (data, data_base64) = match &event.data {
            // The text was checked when it was scheduled.
            Payload::Json(text) => (RawValue::from_string(text.as_ref().into()).ok(), None),
            Payload::Bytes { data, .. } => (None, Some(STANDARD.encode(data))),
        };
        let (key, event_type, id) = (key.as_ref().into(), event.event_type, event.id);
        Self { handler, key, due, stream, event_type, id, data, data_base64 }
    }
}

/// Lists what handlers have scheduled, by handler and time.
#[utoipa::path(
    get,
    path = "/api/v1/schedules",
    tag = "schedules",
    params(Wanted),
    responses((status = 200, description = "What is scheduled", body = shapes::ScheduleList), Problem),
)]
async fn list_schedules(Open(host): Open, Query(wanted): Query<Wanted>) -> Result<Json<ScheduleList>, Problem> {
    let schedules = host.supervisor.schedules(wanted.handler.as_ref()).await?;
    let schedules = schedules.into_iter().map(|(handler, scheduled)| Shown::of(handler, scheduled)).collect();
    Ok(Json(ScheduleList { schedules }))
}

/// Takes back what a handler has scheduled under a key. Once this is answered it is not emitted.
#[utoipa::path(
    delete,
    path = "/api/v1/schedules/{handler}/{key}",
    tag = "schedules",
    params(
        ("handler" = String, Path),
        ("key" = String, Path, description = "The key, percent-encoded, `/` as `%2F`"),
    ),
    responses((status = 204, description = "It will not be emitted"), Problem),
)]
async fn cancel_schedule(Open(host): Open, Path((handler, key)): Path<(Name, String)>) -> Result<StatusCode, Problem> {
    host.supervisor.cancel_schedule(&handler, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
