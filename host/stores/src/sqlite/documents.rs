//! Queries of a generation's documents: one by key, many in order, and the digest of the read model.

use lantern_core::{Digest, Document, Position, Value, digest::ReadModelDigest, documents::Scan};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter, types::ValueRef};

use crate::{scan::Keys, tables};

/// The number of a collection, if it has documents.
pub(super) fn collection(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("select id from lantern_collection where name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// The document at a key.
pub(super) fn get(connection: &Connection, collection: i64, key: &str) -> rusqlite::Result<Option<Value>> {
    let mut statement =
        connection.prepare_cached("select value from lantern_document where collection = ?1 and key = ?2")?;
    statement.query_row((collection, key), |row| value(row, 0)).optional()
}

/// Documents in ascending order of the bytes of their keys.
pub(super) fn scan(connection: &Connection, collection: i64, scan: &Scan) -> rusqlite::Result<Vec<Document>> {
    let Keys { first, beyond } = Keys::of(scan);
    let last = if beyond.is_some() { "and key < ?4" } else { "" };
    let query = format!(
        "select key, value from lantern_document where collection = ?1 and key >= ?2 {last} order by key limit ?3"
    );
    let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
    let bounds: [&dyn rusqlite::ToSql; 4] = [&collection, &first, &limit, &beyond];
    let mut statement = connection.prepare_cached(&query)?;
    let wanted = bounds.into_iter().take(if beyond.is_some() { 4 } else { 3 });
    let documents = statement
        .query_map(params_from_iter(wanted), |row| Ok(Document { key: row.get(0)?, value: value(row, 1)? }))?;
    documents.collect()
}

/// The digest of all documents and SQL tables, and the position they belong to.
pub(super) fn digest(connection: &Connection) -> rusqlite::Result<(Position, Digest)> {
    // One transaction, so that all of it is of one moment.
    let moment = connection.unchecked_transaction()?;
    let position: i64 = moment.query_row("select position from lantern_checkpoint", (), |row| row.get(0))?;
    let mut digest = ReadModelDigest::default();
    let mut collections = moment.prepare_cached("select id, name from lantern_collection order by name")?;
    let mut documents =
        moment.prepare_cached("select key, value from lantern_document where collection = ?1 order by key")?;
    let mut collections = collections.query(())?;
    while let Some(collection) = collections.next()? {
        let name = text(collection, 1)?;
        let mut documents = documents.query([collection.get::<_, i64>(0)?])?;
        while let Some(document) = documents.next()? {
            digest.add(name, text(document, 0)?, text(document, 1)?);
        }
    }
    tables::add(&moment, &mut digest)?;
    Ok((Position(position.cast_unsigned()), digest.finish()))
}

fn value(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    text(row, column).map(Value::from)
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    match row.get_ref(column)? {
        ValueRef::Text(text) => str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(column, error)),
        other => Err(rusqlite::Error::InvalidColumnType(column, "text".into(), other.data_type())),
    }
}
