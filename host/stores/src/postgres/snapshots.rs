//! The snapshots of aggregates in PostgreSQL, shared by all hosts of a database. A lost one is harmless, so that writing
//! one does not wait for the disk.

use async_trait::async_trait;
use lantern_core::{Digest, Snapshot, StreamName, Timestamp, Version, snapshot::SnapshotError};
use sqlx::{Row, postgres::PgRow};

use super::{connection, database::Database, keys::escape};

const GET: &str = "select version, state, state_version, module, taken_at from snapshot where stream = $1";

const PUT: &str = "
    with unhurried as (select set_config('synchronous_commit', 'off', true))
    insert into snapshot (stream, category, version, state_version, module, taken_at, state)
    select $1, $2, $3, $4, $5, $6, $7 from unhurried
    on conflict (stream) do update set
        version = excluded.version,
        state_version = excluded.state_version,
        module = excluded.module,
        taken_at = excluded.taken_at,
        state = excluded.state
    where excluded.version >= snapshot.version";

/// The snapshots of all hosts of a database.
pub struct Snapshots {
    database: Database,
}

impl Snapshots {
    /// Opens the snapshots of a database.
    #[must_use]
    pub fn open(database: &Database) -> Self {
        Self { database: database.clone() }
    }
}

#[async_trait]
impl lantern_core::Snapshots for Snapshots {
    async fn get(&self, stream: &StreamName) -> Result<Option<Snapshot>, SnapshotError> {
        let row = sqlx::query(GET).bind(escape(stream.as_str())).fetch_optional(self.database.pool());
        row.await
            .map_err(|error| failed(&error))?
            .map(|row| snapshot(stream, &row).map_err(|error| failed(&error)))
            .transpose()
    }

    async fn put(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let put = sqlx::query(PUT)
            .bind(escape(snapshot.stream.as_str()))
            .bind(snapshot.stream.category())
            .bind(snapshot.version.0.cast_signed())
            .bind(i64::from(snapshot.state_version))
            .bind(snapshot.module.0.as_slice())
            .bind(snapshot.taken_at.0)
            .bind(&*snapshot.state);
        put.execute(self.database.pool()).await.map(drop).map_err(|error| failed(&error))
    }

    async fn delete(&self, stream: &StreamName) -> Result<bool, SnapshotError> {
        let delete = sqlx::query("delete from snapshot where stream = $1").bind(escape(stream.as_str()));
        Ok(delete.execute(self.database.pool()).await.map_err(|error| failed(&error))?.rows_affected() > 0)
    }

    async fn delete_category(&self, category: &str) -> Result<u64, SnapshotError> {
        let delete = sqlx::query("delete from snapshot where category = $1").bind(escape(category));
        Ok(delete.execute(self.database.pool()).await.map_err(|error| failed(&error))?.rows_affected())
    }
}

fn snapshot(stream: &StreamName, row: &PgRow) -> sqlx::Result<Snapshot> {
    let state_version = u32::try_from(row.try_get::<i64, _>(2)?);
    Ok(Snapshot {
        stream: stream.clone(),
        version: Version(row.try_get::<i64, _>(0)?.cast_unsigned()),
        state: row.try_get::<Vec<u8>, _>(1)?.into(),
        state_version: state_version.map_err(|error| sqlx::Error::Decode(error.into()))?,
        module: Digest(row.try_get(3)?),
        taken_at: Timestamp(row.try_get(4)?),
    })
}

fn failed(error: &sqlx::Error) -> SnapshotError {
    SnapshotError(connection::describe(error))
}
