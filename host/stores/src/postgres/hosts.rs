//! The registry of hosts in PostgreSQL. Time is the server's, and each call is one statement: a host that is frozen in
//! the middle of one holds up nobody.

use async_trait::async_trait;
use lantern_core::{
    Identity, Name, Timestamp,
    hosts::{Beat, HostsError, Leased, Roll, Seen},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{connection, database::Database};

/// The registry of hosts in a database.
pub struct Hosts {
    database: Database,
}

impl Hosts {
    /// Opens the registry of a database.
    #[must_use]
    pub fn open(database: &Database) -> Self {
        Self { database: database.clone() }
    }

    async fn ask(
        &self,
        question: sqlx::query::QueryScalar<'_, sqlx::Postgres, String, sqlx::postgres::PgArguments>,
    ) -> Result<Roll, HostsError> {
        let answer = question.fetch_one(self.database.pool()).await.map_err(|error| failed(&error))?;
        let told: Told = serde_json::from_str(&answer).map_err(|error| HostsError(error.to_string()))?;
        Ok(told.roll())
    }
}

/// What the functions of the schema answer.
#[derive(Deserialize)]
struct Told {
    hosts: Vec<ToldHost>,
    leases: Vec<ToldLease>,
}

#[derive(Deserialize)]
struct ToldHost {
    id: Uuid,
    name: String,
    address: String,
    /// Nanoseconds since 1970.
    started_at: i64,
    /// Microseconds since 1970.
    seen_at: i64,
    is_live: bool,
    able: Vec<String>,
}

#[derive(Deserialize)]
struct ToldLease {
    unit: String,
    host: Uuid,
    epoch: u64,
    is_over: bool,
}

impl Told {
    fn roll(self) -> Roll {
        // Only names are written; what is none was not written by Lantern.
        let name = |text: &String| Name::stored(text).ok();
        let seen = |ToldHost { id, name: own, address, started_at, seen_at, is_live, able }| Seen {
            identity: Identity { id, name: own, address, started_at: Timestamp(started_at) },
            seen_at: Timestamp(seen_at.saturating_mul(1_000)),
            is_live,
            able: able.iter().filter_map(name).collect(),
        };
        let leased =
            |ToldLease { unit, host, epoch, is_over }| Some(Leased { unit: name(&unit)?, host, epoch, is_over });
        Roll {
            hosts: self.hosts.into_iter().map(seen).collect(),
            leases: self.leases.into_iter().filter_map(leased).collect(),
        }
    }
}

#[async_trait]
impl lantern_core::Hosts for Hosts {
    async fn beat(&self, beat: &Beat<'_>) -> Result<Roll, HostsError> {
        let Beat { host, lease, able, release, take } = beat;
        let names = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<String>>();
        let question = sqlx::query_scalar("select beat($1, $2, $3, $4, make_interval(secs => $5), $6, $7, $8)")
            .bind(host.id)
            .bind(&host.name)
            .bind(&host.address)
            .bind(host.started_at.0)
            .bind(lease.as_secs_f64())
            .bind(names(able))
            .bind(names(release))
            .bind(names(take));
        self.ask(question).await
    }

    async fn roll(&self) -> Result<Roll, HostsError> {
        self.ask(sqlx::query_scalar("select roll(clock_timestamp())")).await
    }

    async fn leave(&self, host: Uuid) -> Result<(), HostsError> {
        let leave = sqlx::query("select leave($1)").bind(host);
        leave.execute(self.database.pool()).await.map_err(|error| failed(&error))?;
        Ok(())
    }
}

fn failed(error: &sqlx::Error) -> HostsError {
    HostsError(connection::describe(error))
}
