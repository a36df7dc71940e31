//! The PostgreSQL server of the benchmarks, that of `LANTERN_TEST_POSTGRES_URL`, and a schema of their own in it.

use std::env;

use anyhow::{Context, Result};
use lantern_stores::postgres::send_at_once;
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions, raw_sql};
use uuid::Uuid;

/// Where the server is.
const URL: &str = "LANTERN_TEST_POSTGRES_URL";

/// Whether the user may have the server write everything; the role is one of PostgreSQL 15.
const MAY_CHECKPOINT: &str = "
    select rolsuper or exists (
        select from pg_roles role where role.rolname = 'pg_checkpoint' and pg_has_role(current_user, role.oid, 'usage')
    ) from pg_roles where rolname = current_user";

/// Why nothing can be measured, if nothing can.
pub(crate) fn absence() -> Option<String> {
    env::var_os(URL).is_none().then(|| format!("{URL} is not set, see `cargo xtask services up`"))
}

/// A schema of its own for one measurement, and those of generations beside it.
pub(crate) struct Schema {
    name: String,
    /// Where Lantern finds it.
    pub(crate) url: String,
}

impl Schema {
    /// The name of a new one.
    pub(crate) async fn make() -> Result<Self> {
        let name = format!("bench_{}", &Uuid::new_v4().simple().to_string()[..20]);
        let server = server()?;
        let join = if server.contains('?') { '&' } else { '?' };
        let schema = Self { url: format!("{server}{join}schema={name}"), name };
        schema.settle().await?;
        Ok(schema)
    }

    /// Has the server write what it has to, if it lets us: what was done before is not to be cleaned up on the time of what
    /// comes.
    pub(crate) async fn settle(&self) -> Result<()> {
        let mut connection = connect().await?;
        if sqlx::query_scalar(MAY_CHECKPOINT).fetch_one(&mut connection).await? {
            raw_sql("checkpoint").execute(&mut connection).await?;
        }
        Ok(())
    }

    /// A connection that finds the tables, with the settings that Lantern's have.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        let mut connection = connect().await?;
        let settings = format!("set search_path = {}; set jit = off", self.name);
        raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Removes it, and the schemas of generations.
    pub(crate) async fn remove(self) -> Result<()> {
        let statement = format!(
            "do $$ declare name text; begin
                for name in select nspname from pg_namespace where starts_with(nspname, '{}') loop
                    execute format('drop schema %I cascade', name);
                end loop;
            end $$",
            self.name
        );
        raw_sql(AssertSqlSafe(statement)).execute(&mut connect().await?).await?;
        Ok(())
    }
}

fn server() -> Result<String> {
    env::var(URL).context("the URL of the server is no text")
}

async fn connect() -> Result<PgConnection> {
    let options: PgConnectOptions = server()?.parse()?;
    let connection = PgConnection::connect_with(&options).await?;
    send_at_once(&options);
    Ok(connection)
}
