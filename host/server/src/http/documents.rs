//! `documents` of a processor: reading what it wrote, and proving it by a digest.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use lantern_core::{
    Digest, Kind, Name, Position, ReadModel, Subject, Value,
    documents::{MAX_SCAN, Scan},
};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    door::{Door, Open},
    given::{Path, Query},
    problem::Problem,
    shapes,
    waiting::{self, DEFAULT_WAIT},
};
use crate::wire::Host;

/// The routes of this noun.
pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_processor_collections))
        .routes(routes!(list_processor_documents))
        .routes(routes!(show_processor_document))
        .routes(routes!(show_processor_digest))
}

/// The collections of a processor.
#[derive(Serialize, ToSchema)]
struct CollectionList {
    collections: Vec<String>,
}

/// Lists the collections that the module declares.
#[utoipa::path(
    get,
    path = "/{name}/collections",
    tag = "documents",
    params(("name" = String, Path)),
    responses((status = 200, description = "The collections", body = CollectionList), Problem),
)]
async fn list_processor_collections(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
) -> Result<Json<CollectionList>, Problem> {
    Ok(Json(CollectionList { collections: host.supervisor.description(kind, &name).await?.collections }))
}

/// How new a read model must be.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Freshness {
    /// Waits until this position is processed: what an append or a command answered is seen.
    min_position: Option<u64>,
    /// How long to wait for it, in seconds, up to 3600; default 30.
    timeout: Option<f64>,
}

/// Which documents to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only keys that begin with this.
    prefix: Option<String>,
    /// Only keys after this one.
    after: Option<String>,
    /// At most so many, 1 to 1000; default 100.
    limit: Option<u64>,
    /// Waits until this position is processed: what an append or a command answered is seen.
    min_position: Option<u64>,
    /// How long to wait for it, in seconds, up to 3600; default 30.
    timeout: Option<f64>,
}

/// Documents of a collection.
#[derive(Serialize)]
struct DocumentList {
    documents: Vec<Shown>,
    /// The checkpoint; the documents are at least as new.
    position: Position,
}

/// A document.
#[derive(Serialize)]
struct Shown {
    key: String,
    #[serde(serialize_with = "as_json")]
    value: Value,
}

/// A document and the checkpoint.
#[derive(Serialize)]
struct DocumentAnswer {
    #[serde(flatten)]
    document: Shown,
    position: Position,
}

/// The digest of a read model.
#[derive(Serialize)]
struct DigestAnswer {
    digest: Digest,
    position: Position,
}

/// The text of a document is JSON already.
fn as_json<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(value).map_err(S::Error::custom)?.serialize(serializer)
}

/// Lists documents in the order of their keys.
#[utoipa::path(
    get,
    path = "/{name}/documents/{collection}",
    tag = "documents",
    params(("name" = String, Path), ("collection" = String, Path), Wanted),
    responses((status = 200, description = "The documents", body = shapes::DocumentList), Problem),
)]
async fn list_processor_documents(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    State(door): State<Arc<Door>>,
    Path((name, collection)): Path<(Name, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let limit = match wanted.limit {
        Some(limit) => super::events::limit(limit)?.min(MAX_SCAN),
        None => 100,
    };
    let freshness = Freshness { min_position: wanted.min_position, timeout: wanted.timeout };
    let read_model = fresh(&host, &door, &Subject { kind, name }, &collection, freshness).await?;
    let position = read_model.checkpoint().await?.position;
    let scan = Scan { prefix: wanted.prefix.unwrap_or_default(), after: wanted.after, limit };
    let documents = read_model.scan(&collection, &scan).await?;
    let documents = documents.into_iter().map(|document| Shown { key: document.key, value: document.value }).collect();
    Ok(Json(DocumentList { documents, position }).into_response())
}

/// Shows a document.
#[utoipa::path(
    get,
    path = "/{name}/documents/{collection}/{key}",
    tag = "documents",
    params(
        ("name" = String, Path),
        ("collection" = String, Path),
        ("key" = String, Path, description = "The key, percent-encoded, `/` as `%2F`"),
        Freshness,
    ),
    responses((status = 200, description = "The document", body = shapes::DocumentAnswer), Problem),
)]
async fn show_processor_document(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    State(door): State<Arc<Door>>,
    Path((name, collection, key)): Path<(Name, String, String)>,
    Query(freshness): Query<Freshness>,
) -> Result<Response, Problem> {
    let subject = Subject { kind, name };
    let read_model = fresh(&host, &door, &subject, &collection, freshness).await?;
    let position = read_model.checkpoint().await?.position;
    let Some(value) = read_model.get(&collection, &key).await? else {
        let name = subject.name;
        let detail = format!("collection `{collection}` of {kind} `{name}` has no document `{key}`");
        return Err(Problem::not_found(detail).with("collection", collection).with("key", key));
    };
    Ok(Json(DocumentAnswer { document: Shown { key, value }, position }).into_response())
}

/// Shows the digest of the read model.
///
/// It is the SHA-256 over all documents in the order of their collections and keys, and all rows of the SQL tables in the
/// order of their values: two read models with the same digest are the same.
#[utoipa::path(
    get,
    path = "/{name}/digest",
    tag = "documents",
    params(("name" = String, Path)),
    responses((status = 200, description = "The digest and the position it belongs to", body = shapes::DigestAnswer), Problem),
)]
async fn show_processor_digest(
    Open(host): Open,
    Extension(kind): Extension<Kind>,
    Path(name): Path<Name>,
) -> Result<Response, Problem> {
    let (position, digest) = host.supervisor.read_model(kind, &name, None).await?.digest().await?;
    Ok(Json(DigestAnswer { digest, position }).into_response())
}

/// The live read model, once it is as new as asked.
async fn fresh(
    host: &Host,
    door: &Door,
    subject: &Subject,
    collection: &str,
    freshness: Freshness,
) -> Result<Arc<dyn ReadModel>, Problem> {
    let Subject { kind, name } = subject;
    // A collection that is not there need not be waited for.
    host.supervisor.read_model(*kind, name, Some(collection)).await?;
    if let Some(position) = freshness.min_position {
        let timeout = freshness.timeout.map_or(Ok(DEFAULT_WAIT), waiting::timeout)?;
        waiting::until(host, door, subject, Position(position), timeout).await?;
    }
    Ok(host.supervisor.read_model(*kind, name, Some(collection)).await?)
}
