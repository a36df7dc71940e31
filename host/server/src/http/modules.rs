//! `/api/v1/modules`: pushing, listing, inspecting and removing modules.

use axum::{
    Json,
    extract::DefaultBodyLimit,
    http::{HeaderMap, StatusCode},
};
use lantern_core::{
    Digest, Kind, Library, Subject,
    module::{Kept, LibraryError},
};
use serde::Serialize;
use utoipa_axum::{router::UtoipaMethodRouterExt, routes};

use super::{
    Routes,
    door::Open,
    given::{Body, Path, media_type, unsupported},
    problem::Problem,
    shapes,
};
use crate::wire::Host;

/// The largest module, in bytes.
const MAX_MODULE: usize = 64 * 1024 * 1024;

/// The fewest digits that stand for a digest.
pub(crate) const MIN_DIGITS: usize = 6;

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(push_module, list_modules).layer(DefaultBodyLimit::max(MAX_MODULE)))
        .routes(routes!(inspect_module, remove_module))
}

/// Finds the digest that a text means: a whole one, or its first digits, at least six.
pub(super) async fn find(library: &dyn Library, text: &str) -> Result<Digest, Problem> {
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    if digits.len() < MIN_DIGITS || digits.len() > 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Problem::invalid(format!(
            "`{text}` is no digest: give 64 hexadecimal digits or the first {MIN_DIGITS} or more of them"
        )));
    }
    let kept = library.list().await?;
    let mut fitting = kept.iter().map(|kept| kept.digest).filter(|digest| digest.to_string().starts_with(&digits));
    match (fitting.next(), fitting.next()) {
        (Some(digest), None) => Ok(digest),
        (Some(_), Some(_)) => Err(LibraryError::Ambiguous(digits).into()),
        (None, _) => {
            let detail = format!("there is no module {digits}…: `lantern module list` shows what is there");
            Err(Problem::not_found(detail).with("digits", digits))
        }
    }
}

/// Pushes a module.
///
/// The body is the component. It is checked and compiled; its address is the SHA-256 of its bytes. Pushing the same
/// bytes again changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/modules",
    tag = "modules",
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses(
        (status = 201, description = "The module is kept", body = shapes::Kept),
        (status = 200, description = "The module was there already", body = shapes::Kept),
        Problem,
    ),
)]
async fn push_module(
    Open(host): Open,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<(StatusCode, Json<Kept>), Problem> {
    match media_type(&headers).as_deref() {
        None | Some("application/wasm" | "application/octet-stream") => {}
        Some(_) => return Err(unsupported("application/wasm")),
    }
    let before = host.library.list().await?;
    let kept = host.library.push(body).await?;
    let is_new = before.iter().all(|other| other.digest != kept.digest);
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(kept)))
}

/// The modules of a host.
#[derive(Serialize)]
struct ModuleList {
    modules: Vec<Kept>,
}

/// Lists modules, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/modules",
    tag = "modules",
    responses((status = 200, description = "The modules", body = shapes::ModuleList), Problem),
)]
async fn list_modules(Open(host): Open) -> Result<Json<ModuleList>, Problem> {
    Ok(Json(ModuleList { modules: host.library.list().await? }))
}

/// Shows a module.
#[utoipa::path(
    get,
    path = "/api/v1/modules/{digest}",
    tag = "modules",
    params(("digest" = String, Path, description = "A digest or its first six or more digits")),
    responses((status = 200, description = "The module", body = shapes::Kept), Problem),
)]
async fn inspect_module(Open(host): Open, Path(digest): Path<String>) -> Result<Json<Kept>, Problem> {
    let digest = find(&*host.library, &digest).await?;
    Ok(Json(host.library.inspect(digest).await?))
}

/// Removes a module that nothing runs or can be rolled back to.
#[utoipa::path(
    delete,
    path = "/api/v1/modules/{digest}",
    tag = "modules",
    params(("digest" = String, Path, description = "A digest or its first six or more digits")),
    responses((status = 204, description = "It is gone"), Problem),
)]
async fn remove_module(Open(host): Open, Path(digest): Path<String>) -> Result<StatusCode, Problem> {
    let digest = find(&*host.library, &digest).await?;
    let users: Vec<_> = in_use(&host).filter(|(_, module)| *module == digest).map(|(subject, _)| subject).collect();
    if !users.is_empty() {
        let named = |subject: &Subject| format!("{} `{}`", subject.kind, subject.name);
        let names = users.iter().map(named).collect::<Vec<_>>().join(", ");
        let detail = format!("module {} is needed by {names}: swap or remove them first", digest.short());
        return Err(Problem::new(StatusCode::CONFLICT, "in-use", detail).with("users", users));
    }
    host.library.remove(digest).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which modules are needed, and by what.
fn in_use(host: &Host) -> impl Iterator<Item = (Subject, Digest)> {
    let of = |kind| move |(name, module)| (Subject { kind, name }, module);
    let aggregates = host.aggregates.modules_in_use().into_iter().map(of(Kind::Aggregate));
    let upcasters = host.upcasters.modules_in_use().into_iter().map(of(Kind::Upcaster));
    host.supervisor.modules_in_use().into_iter().chain(aggregates).chain(upcasters)
}
