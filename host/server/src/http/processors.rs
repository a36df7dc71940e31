//! What `/api/v1/projections` and `/api/v1/handlers` have in common, which is nearly everything: deploying processors
//! and changing what they run. Paths are relative; the kind comes with the router.

use std::collections::BTreeMap;

use axum::{Extension, Json, http::StatusCode};
use lantern_core::{Grants, Kind, Name, Position, journal::FailurePolicy, module::Limits};
use lantern_processors::{Deploy, Refusal, Start, Status, Swapped};
use serde::Deserialize;
use utoipa::{ToSchema, openapi::path::PathItem};
use utoipa_axum::routes;

use super::{
    Routes,
    changes::{HistoryAnswer, SwapBody},
    dead_letters, documents,
    door::Open,
    given::{self, Path},
    modules::find,
    problem::Problem,
    shapes, sql, waiting,
};

/// The routes of one kind of processor: those of all, and `own`, which only this kind has.
pub(super) fn routes(kind: Kind, own: Routes) -> Routes {
    let mut routes = Routes::new()
        .merge(own)
        .routes(routes!(deploy_processor))
        .routes(routes!(show_processor, remove_processor))
        .routes(routes!(pause_processor))
        .routes(routes!(resume_processor))
        .routes(routes!(swap_processor))
        .routes(routes!(roll_back_processor))
        .routes(routes!(show_processor_history))
        .merge(waiting::routes())
        .merge(documents::routes())
        .merge(sql::routes())
        .merge(dead_letters::routes())
        .layer(Extension(kind));
    for item in routes.get_openapi_mut().paths.paths.values_mut() {
        say(kind, item);
    }
    Routes::new().nest(&format!("/api/v1/{kind}s"), routes)
}

/// Puts the kind in the place of the word `processor` in what is said of a path.
fn say(kind: Kind, item: &mut PathItem) {
    let put = |text: &mut String| {
        if text.contains("processor") {
            *text = text.replace("a processor", kind.with_article()).replace("processor", kind.as_str());
        }
    };
    for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
        let texts = [&mut operation.summary, &mut operation.description, &mut operation.operation_id];
        texts.into_iter().flatten().for_each(put);
        operation.tags.iter_mut().flatten().for_each(put);
    }
}

/// A processor to deploy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeployBody {
    /// Its name: 1 to 64 letters, digits, `_` and `-`.
    #[schema(value_type = String)]
    name: Name,
    /// Its module: a digest or its first six or more digits.
    module: String,
    /// `beginning` (default for a projection), `end` (default for a handler: its effects begin with the next event),
    /// a position, which is the first one handled, or `after:N` for the events after position N.
    from: Option<String>,
    /// What the module reads through `wasi:config`.
    #[serde(default)]
    config: BTreeMap<String, String>,
    /// What the module may use.
    #[serde(default)]
    #[schema(value_type = shapes::Limits)]
    limits: Limits,
    /// How failures are dealt with.
    #[serde(default)]
    #[schema(value_type = shapes::FailurePolicy)]
    failure_policy: FailurePolicy,
    /// What the module may do beyond its own documents: nothing unless it says so. Only for handlers.
    #[serde(default)]
    #[schema(value_type = shapes::Grants)]
    grants: Grants,
}

impl DeployBody {
    fn start(&self, kind: Kind) -> Result<Start, Problem> {
        match &self.from {
            Some(text) => start(text),
            None if kind == Kind::Handler => Ok(Start::End),
            None => Ok(Start::Beginning),
        }
    }
}

fn start(text: &str) -> Result<Start, Problem> {
    let number = |text: &str| text.parse::<u64>().ok();
    match text {
        "beginning" => return Ok(Start::Beginning),
        "end" => return Ok(Start::End),
        _ => {}
    }
    let after = match text.strip_prefix("after:") {
        Some(position) => number(position),
        None => number(text).map(|position| position.saturating_sub(1)),
    };
    after.map(|position| Start::After(Position(position))).ok_or_else(|| {
        Problem::invalid(format!("`from` is `{text}`: write `beginning`, `end`, a position, or `after:N` with one"))
    })
}

/// Deploys a processor.
#[utoipa::path(
    post,
    path = "/",
    tag = "processors",
    request_body = DeployBody,
    responses((status = 201, description = "It has begun", body = shapes::Status), Problem),
)]
async fn deploy_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    given::Json(body): given::Json<DeployBody>,
) -> Result<(StatusCode, Json<Status>), Problem> {
    if body.failure_policy.attempts == 0 {
        return Err(Problem::invalid("`failure_policy.attempts` is 0: at least 1 is needed"));
    }
    let deploy = Deploy {
        kind,
        start: body.start(kind)?,
        module: find(&*host.library, &body.module).await?,
        name: body.name,
        config: body.config,
        limits: body.limits,
        failure_policy: body.failure_policy,
        grants: body.grants,
    };
    Ok((StatusCode::CREATED, Json(host.supervisor.deploy(deploy).await?)))
}

/// Shows what a processor is doing.
#[utoipa::path(
    get,
    path = "/{name}",
    tag = "processors",
    params(("name" = String, Path)),
    responses((status = 200, description = "What it is doing", body = shapes::Status), Problem),
)]
async fn show_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
) -> Result<Json<Status>, Problem> {
    match host.supervisor.status(kind, &name) {
        // Its host does not answer, or it has none at the moment.
        Err(Refusal::Elsewhere { .. }) => Ok(Json(host.supervisor.recall(kind, &name).await?)),
        status => Ok(Json(status?)),
    }
}

/// Removes a processor with its read model.
#[utoipa::path(
    delete,
    path = "/{name}",
    tag = "processors",
    params(("name" = String, Path)),
    responses((status = 204, description = "It is gone; its history stays"), Problem),
)]
async fn remove_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
) -> Result<StatusCode, Problem> {
    host.supervisor.remove(kind, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pauses a processor at the next boundary of batches; it stays paused over a restart.
#[utoipa::path(
    post,
    path = "/{name}/pause",
    tag = "processors",
    params(("name" = String, Path)),
    responses((status = 200, description = "What it is doing", body = shapes::Status), Problem),
)]
async fn pause_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
) -> Result<Json<Status>, Problem> {
    Ok(Json(host.supervisor.pause(kind, &name).await?))
}

/// Lets a processor go on that is paused or in error.
#[utoipa::path(
    post,
    path = "/{name}/resume",
    tag = "processors",
    params(("name" = String, Path)),
    responses((status = 200, description = "What it is doing", body = shapes::Status), Problem),
)]
async fn resume_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
) -> Result<Json<Status>, Problem> {
    Ok(Json(host.supervisor.resume(kind, &name).await?))
}

/// Replaces the module between two events, keeping the read model.
///
/// The new module is tried on recent events and on every parked one first, without effect; one that fails is refused.
#[utoipa::path(
    post,
    path = "/{name}/swap",
    tag = "processors",
    params(("name" = String, Path)),
    request_body = SwapBody,
    responses((status = 200, description = "The change took effect", body = shapes::Swapped), Problem),
)]
async fn swap_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
    given::Json(body): given::Json<SwapBody>,
) -> Result<Json<Swapped>, Problem> {
    let module = find(&*host.library, &body.module).await?;
    Ok(Json(host.supervisor.swap(kind, &name, module).await?))
}

/// Goes back to the module before the last swap, or the generation before the last promotion.
#[utoipa::path(
    post,
    path = "/{name}/rollback",
    tag = "processors",
    params(("name" = String, Path)),
    responses((status = 200, description = "The change took effect", body = shapes::Swapped), Problem),
)]
async fn roll_back_processor(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
) -> Result<Json<Swapped>, Problem> {
    Ok(Json(host.supervisor.rollback(kind, &name).await?))
}

/// Tells what happened to a processor, oldest first; also to one that was removed.
#[utoipa::path(
    get,
    path = "/{name}/history",
    tag = "processors",
    params(("name" = String, Path)),
    responses((status = 200, description = "What happened", body = shapes::HistoryAnswer), Problem),
)]
async fn show_processor_history(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
) -> Result<Json<HistoryAnswer>, Problem> {
    Ok(Json(HistoryAnswer { entries: host.supervisor.history(kind, &name).await? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_word_or_a_position() {
        assert_eq!(start("beginning"), Ok(Start::Beginning));
        assert_eq!(start("end"), Ok(Start::End));
        assert_eq!(start("after:7"), Ok(Start::After(Position(7))));
        assert_eq!(start("7"), Ok(Start::After(Position(6))));
        assert_eq!(start("0"), Ok(Start::After(Position(0))));
        for text in ["", "after:", "after:-1", "-1", "now"] {
            assert_eq!(start(text).unwrap_err().slug, "invalid-request", "{text}");
        }
    }
}
