//! `/api/v1/aggregates`: deploying aggregates and changing what they run; and the state of one, under its stream.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lantern_aggregates::{Deploy, Shown, Status, Swapped, Taken};
use lantern_core::{Digest, Name, StreamName, Version, journal::SnapshotPolicy, module::Limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    changes::{HistoryAnswer, SwapBody},
    door::Open,
    given::{self, Path, Query},
    modules::find,
    problem::Problem,
    shapes,
};

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(deploy_aggregate, list_aggregates))
        .routes(routes!(show_aggregate, remove_aggregate))
        .routes(routes!(swap_aggregate))
        .routes(routes!(roll_back_aggregate))
        .routes(routes!(show_aggregate_history))
        .routes(routes!(show_state))
        .routes(routes!(take_snapshot))
}

/// An aggregate to deploy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AggregateDeployBody {
    /// Its name, which is the category of its streams, for example `Order`: letters, digits and `_`.
    #[schema(value_type = String)]
    name: Name,
    /// Its module: a digest or its first six or more digits.
    module: String,
    /// What the module reads through `wasi:config`.
    #[serde(default)]
    config: BTreeMap<String, String>,
    /// What the module may use.
    #[serde(default)]
    #[schema(value_type = shapes::Limits)]
    limits: Limits,
    /// When snapshots are taken: `every-100` (default) or with another number of events, `never` or `manual`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    snapshots: SnapshotPolicy,
}

/// Deploys an aggregate: from now on it decides the commands for the streams of its category.
#[utoipa::path(
    post,
    path = "/api/v1/aggregates",
    tag = "aggregates",
    request_body = AggregateDeployBody,
    responses((status = 201, description = "It takes commands", body = shapes::AggregateStatus), Problem),
)]
async fn deploy_aggregate(
    Open(host): Open,
    given::Json(body): given::Json<AggregateDeployBody>,
) -> Result<(StatusCode, Json<Status>), Problem> {
    let module = find(&*host.library, &body.module).await?;
    let AggregateDeployBody { name, config, limits, snapshots, .. } = body;
    let deploy = Deploy { name, module, config, limits, snapshots };
    Ok((StatusCode::CREATED, Json(host.aggregates.deploy(deploy).await?)))
}

/// All aggregates.
#[derive(Serialize)]
struct AggregateList {
    aggregates: Vec<Status>,
}

/// Lists aggregates by name.
#[utoipa::path(
    get,
    path = "/api/v1/aggregates",
    tag = "aggregates",
    responses((status = 200, description = "The aggregates", body = shapes::AggregateList), Problem),
)]
async fn list_aggregates(Open(host): Open) -> Json<AggregateList> {
    Json(AggregateList { aggregates: host.aggregates.list() })
}

/// Shows how an aggregate stands.
#[utoipa::path(
    get,
    path = "/api/v1/aggregates/{name}",
    tag = "aggregates",
    params(("name" = String, Path)),
    responses((status = 200, description = "How the aggregate stands", body = shapes::AggregateStatus), Problem),
)]
async fn show_aggregate(Open(host): Open, Path(name): Path<Name>) -> Result<Json<Status>, Problem> {
    Ok(Json(host.aggregates.status(&name)?))
}

/// Removes an aggregate with its snapshots. Its streams stay in the log.
#[utoipa::path(
    delete,
    path = "/api/v1/aggregates/{name}",
    tag = "aggregates",
    params(("name" = String, Path)),
    responses((status = 204, description = "It is gone; its streams and its history stay"), Problem),
)]
async fn remove_aggregate(Open(host): Open, Path(name): Path<Name>) -> Result<StatusCode, Problem> {
    host.aggregates.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces the module between two commands.
///
/// The new module folds recent streams first, without effect; one that fails is refused. State that was loaded by the
/// old module is dropped.
#[utoipa::path(
    post,
    path = "/api/v1/aggregates/{name}/swap",
    tag = "aggregates",
    params(("name" = String, Path)),
    request_body = SwapBody,
    responses((status = 200, description = "The change took effect", body = shapes::AggregateSwapped), Problem),
)]
async fn swap_aggregate(
    Open(host): Open,
    Path(name): Path<Name>,
    given::Json(body): given::Json<SwapBody>,
) -> Result<Json<Swapped>, Problem> {
    let module = find(&*host.library, &body.module).await?;
    Ok(Json(host.aggregates.swap(&name, module).await?))
}

/// Goes back to the module before the last swap.
#[utoipa::path(
    post,
    path = "/api/v1/aggregates/{name}/rollback",
    tag = "aggregates",
    params(("name" = String, Path)),
    responses((status = 200, description = "The change took effect", body = shapes::AggregateSwapped), Problem),
)]
async fn roll_back_aggregate(Open(host): Open, Path(name): Path<Name>) -> Result<Json<Swapped>, Problem> {
    Ok(Json(host.aggregates.rollback(&name).await?))
}

/// Tells what happened to an aggregate, oldest first; also to one that was removed.
#[utoipa::path(
    get,
    path = "/api/v1/aggregates/{name}/history",
    tag = "aggregates",
    params(("name" = String, Path)),
    responses((status = 200, description = "What happened", body = shapes::HistoryAnswer), Problem),
)]
async fn show_aggregate_history(Open(host): Open, Path(name): Path<Name>) -> Result<Json<HistoryAnswer>, Problem> {
    Ok(Json(HistoryAnswer { entries: host.aggregates.history(&name).await? }))
}

/// Which state to show.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The last event in the state; default the stream's last.
    version: Option<u64>,
}

/// The state of an aggregate.
#[derive(Serialize)]
struct StateAnswer<'a> {
    stream: &'a StreamName,
    version: Version,
    state_version: u32,
    module: Digest,
    /// Left out where the state is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a RawValue>,
    /// Left out where the state is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_base64: Option<String>,
}

/// Shows the state of an aggregate as it is, or was at a version: its events folded anew, without a snapshot.
#[utoipa::path(
    get,
    path = "/api/v1/streams/{stream}/state",
    tag = "aggregates",
    params(("stream" = String, Path, description = "`category-id`, percent-encoded"), Wanted),
    responses((status = 200, description = "The state", body = shapes::StateAnswer), Problem),
)]
async fn show_state(
    Open(host): Open,
    Path(stream): Path<StreamName>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let shown = host.aggregates.show(&stream, wanted.version.map(Version)).await?;
    let Shown { stream, version, state, state_version, module } = &shown;
    // The module says nothing about the form: what reads as JSON is JSON.
    let json = serde_json::from_slice::<&RawValue>(state).ok();
    let answer = StateAnswer {
        stream,
        version: *version,
        state_version: *state_version,
        module: *module,
        state: json,
        state_base64: json.is_none().then(|| STANDARD.encode(state)),
    };
    Ok(Json(answer).into_response())
}

/// Takes a snapshot of an aggregate now, whatever its policy but `never`.
#[utoipa::path(
    post,
    path = "/api/v1/streams/{stream}/snapshot",
    tag = "aggregates",
    params(("stream" = String, Path, description = "`category-id`, percent-encoded")),
    responses((status = 201, description = "The snapshot is kept", body = shapes::Taken), Problem),
)]
async fn take_snapshot(Open(host): Open, Path(stream): Path<StreamName>) -> Result<(StatusCode, Json<Taken>), Problem> {
    Ok((StatusCode::CREATED, Json(host.aggregates.snapshot(&stream).await?)))
}
