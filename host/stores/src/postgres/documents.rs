//! Queries of a generation's documents: one by key, many in order, and the digest of all.

use futures::TryStreamExt as _;
use lantern_core::{Digest, Document, Position, Value, digest::ReadModelDigest, documents::Scan};
use sqlx::{Connection, PgConnection, Row, postgres::PgRow, query, query_as, query_scalar};

use super::{
    generation::Schema,
    keys::{escape, unescape},
    work,
};
use crate::scan::Keys;

/// Whether there is no document at all.
pub(super) async fn are_none(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<bool> {
    query_scalar(schema.statement("select not exists (select from $schema.lantern_document)"))
        .fetch_one(connection)
        .await
}

/// The document at a key.
pub(super) async fn get(
    connection: &mut PgConnection,
    schema: &Schema,
    collection: &str,
    key: &str,
) -> sqlx::Result<Option<Value>> {
    const GET: &str = "
        select value from $schema.lantern_document
        where collection = (select id from $schema.lantern_collection where name = $1) and key = $2";
    let wanted = query(schema.statement(GET)).bind(escape(collection)).bind(escape(key));
    wanted.try_map(|row: PgRow| value(&row, 0)).fetch_optional(connection).await
}

/// Documents in ascending order of the bytes of their keys.
pub(super) async fn scan(
    connection: &mut PgConnection,
    schema: &Schema,
    collection: &str,
    scan: &Scan,
) -> sqlx::Result<Vec<Document>> {
    let Keys { first, beyond } = Keys::of(scan);
    let last = if beyond.is_some() { "and key < $4" } else { "" };
    let scanning = format!(
        "select key, value from $schema.lantern_document
         where collection = (select id from $schema.lantern_collection where name = $1) and key >= $2 {last}
         order by key limit $3"
    );
    let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
    let mut wanted = query(schema.statement(&scanning)).bind(escape(collection)).bind(escape(&first)).bind(limit);
    if let Some(beyond) = &beyond {
        wanted = wanted.bind(escape(beyond));
    }
    let document = |row: PgRow| Ok(Document { key: unescape(row.try_get(0)?).into(), value: value(&row, 1)? });
    wanted.try_map(document).fetch_all(connection).await
}

/// The digest of all documents and SQL tables, and the position they belong to.
pub(super) async fn digest(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<(Position, Digest)> {
    const COLLECTIONS: &str = "select id, name from $schema.lantern_collection order by name";
    const DOCUMENTS: &str = "select key, value from $schema.lantern_document where collection = $1 order by key";
    // One transaction and one snapshot, so that all of it is of one moment.
    let mut moment = connection.begin_with("begin isolation level repeatable read read only").await?;
    let position: i64 = query_scalar(schema.statement("select position from $schema.lantern_checkpoint"))
        .fetch_one(&mut *moment)
        .await?;
    let collections: Vec<(i32, String)> = query_as(schema.statement(COLLECTIONS)).fetch_all(&mut *moment).await?;
    let mut digest = ReadModelDigest::default();
    for (number, name) in collections {
        let name = unescape(&name);
        let mut documents = query(schema.statement(DOCUMENTS)).bind(number).fetch(&mut *moment);
        while let Some(row) = documents.try_next().await? {
            digest.add(&name, &unescape(row.try_get(0)?), row.try_get(1)?);
        }
    }
    work::digest(&mut moment, schema, &mut digest).await?;
    moment.rollback().await?;
    Ok((Position(position.cast_unsigned()), digest.finish()))
}

fn value(row: &PgRow, column: usize) -> sqlx::Result<Value> {
    row.try_get::<&str, _>(column).map(Value::from)
}
