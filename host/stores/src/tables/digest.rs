//! The tables' part of the digest of a read model: all rows of all tables of a module's, in an order that depends on their
//! values alone.

use lantern_core::digest::ReadModelDigest;
use rusqlite::Connection;

use super::run::value;

/// The tables that are not the host's or the database's.
const TABLES: &str = r"
    select name from sqlite_schema
    where type = 'table' and name not like 'lantern\_%' escape '\' and name not like 'sqlite\_%' escape '\'
    order by name";

/// Adds all tables.
pub(crate) fn add(connection: &Connection, digest: &mut ReadModelDigest) -> rusqlite::Result<()> {
    let mut tables = connection.prepare_cached(TABLES)?;
    let tables = tables.query_map((), |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    for table in tables {
        let quoted = table.replace('"', "\"\"");
        let probe = connection.prepare(&format!("select * from \"{quoted}\""))?;
        let columns: Vec<String> = probe.column_names().into_iter().map(String::from).collect();
        digest.table(&table, &columns);
        let order = (1..=columns.len()).map(|column| format!("{column} collate binary")).collect::<Vec<_>>().join(", ");
        let mut rows = connection.prepare(&format!("select * from \"{quoted}\" order by {order}"))?;
        let mut rows = rows.query(())?;
        while let Some(row) = rows.next()? {
            let values = (0..columns.len()).map(|column| {
                let unreadable = |error: lantern_core::SqlError| rusqlite::Error::ToSqlConversionFailure(error.into());
                value(row.get_ref(column)?).map_err(unreadable)
            });
            digest.row(&values.collect::<rusqlite::Result<Vec<_>>>()?);
        }
    }
    Ok(())
}
