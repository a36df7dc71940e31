//! A database that is open: its tables are there, and everything that is kept in it stands on this.

use std::sync::Arc;

use lantern_core::Incarnation;
use sqlx::{PgPool, postgres::PgConnectOptions};

use super::{
    address::Address,
    connection::{self, OpenError},
    migrations,
};

/// A schema of a PostgreSQL database that holds the data of Lantern. Several hosts may share one. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    open: Arc<Open>,
}

struct Open {
    pool: PgPool,
    options: PgConnectOptions,
    address: Address,
    incarnation: Incarnation,
}

impl Database {
    /// Opens the database at a URL, `postgres://user:password@host:port/database?schema=lantern`, and makes its tables or
    /// brings them up to date.
    ///
    /// # Errors
    ///
    /// The URL is none, the server cannot be used, or the tables are from a later version.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let address = Address::parse(url)?;
        let options = connection::settle(&address);
        let connected = connection::connect(&options).await;
        let mut connection = connected.map_err(|error| unreachable(&address, &error))?;
        let incarnation = migrations::run(&mut connection, &address).await?;
        // The connection has done its work: how it ends does not matter.
        drop(sqlx::Connection::close(connection).await);
        let pool = connection::pool(options.clone());
        Ok(Self { open: Arc::new(Open { pool, options, address, incarnation }) })
    }

    /// Which log it holds.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.open.incarnation
    }

    /// The connections that all share. Statements find the tables of the schema without its name.
    pub(super) fn pool(&self) -> &PgPool {
        &self.open.pool
    }

    /// How connections of one's own are opened.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.open.options
    }

    /// The schema. It can stand in a statement without quotes, and begin the name of another schema.
    pub(super) fn schema(&self) -> &str {
        &self.open.address.schema
    }

    /// The channel on which hosts tell each other how far the log is durable.
    pub(super) fn channel(&self) -> String {
        self.open.address.channel()
    }

    /// What it means when the server cannot be used.
    pub(super) fn unreachable(&self, error: &sqlx::Error) -> OpenError {
        unreachable(&self.open.address, error)
    }
}

fn unreachable(address: &Address, error: &sqlx::Error) -> OpenError {
    OpenError::Unreachable { address: address.to_string(), reason: connection::describe(error) }
}
