//! The modules in PostgreSQL: pushed on one host, they are there on all that share the database.

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    Digest,
    module::{Kept, LibraryError},
};

use super::{connection, database::Database};

/// The modules in a database.
pub struct Shelf {
    database: Database,
}

impl Shelf {
    /// Opens the modules of a database.
    #[must_use]
    pub fn open(database: &Database) -> Self {
        Self { database: database.clone() }
    }
}

#[async_trait]
impl lantern_core::Shelf for Shelf {
    async fn put(&self, kept: &Kept, bytes: &Bytes) -> Result<(), LibraryError> {
        let record = serde_json::to_string(kept).map_err(|error| LibraryError::Unavailable(error.to_string()))?;
        // Two hosts may push the same module at once: the first record stays, the bytes are the same.
        let insert = "insert into module (digest, record, bytes) values ($1, $2, $3)
            on conflict (digest) do update set bytes = excluded.bytes";
        let insert = sqlx::query(insert).bind(kept.digest.to_string()).bind(record).bind(&bytes[..]);
        insert.execute(self.database.pool()).await.map(drop).map_err(|error| failed(&error))
    }

    async fn records(&self) -> Result<Vec<Kept>, LibraryError> {
        let records = sqlx::query_scalar("select record from module");
        let records: Vec<String> = records.fetch_all(self.database.pool()).await.map_err(|error| failed(&error))?;
        records.iter().map(|record| read(record)).collect()
    }

    async fn record(&self, digest: Digest) -> Result<Option<Kept>, LibraryError> {
        let record = sqlx::query_scalar("select record from module where digest = $1").bind(digest.to_string());
        let record: Option<String> =
            record.fetch_optional(self.database.pool()).await.map_err(|error| failed(&error))?;
        record.map(|record| read(&record)).transpose()
    }

    async fn bytes(&self, digest: Digest) -> Result<Option<Bytes>, LibraryError> {
        let bytes = sqlx::query_scalar("select bytes from module where digest = $1").bind(digest.to_string());
        let bytes: Option<Vec<u8>> =
            bytes.fetch_optional(self.database.pool()).await.map_err(|error| failed(&error))?;
        Ok(bytes.map(Bytes::from))
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        let delete = sqlx::query("delete from module where digest = $1").bind(digest.to_string());
        delete.execute(self.database.pool()).await.map(drop).map_err(|error| failed(&error))
    }
}

fn read(record: &str) -> Result<Kept, LibraryError> {
    let damaged = |error| format!("the record of a module cannot be read: {error}; restore the database from a backup");
    serde_json::from_str(record).map_err(|error| LibraryError::Unavailable(damaged(error)))
}

fn failed(error: &sqlx::Error) -> LibraryError {
    LibraryError::Unavailable(connection::describe(error))
}
