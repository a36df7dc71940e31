//! Makes the tables, or brings them up to date: in one transaction, by one host at a time.

use lantern_core::Incarnation;
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use super::{
    address::Address,
    connection::{self, OpenError},
    schema,
};

/// What each version adds to the one before, version 1 first.
const VERSIONS: &[&[&str]] = &[
    &[schema::LOG, schema::SNAPSHOTS, schema::JOURNAL, schema::HOSTS, schema::MODULES],
    &[schema::ABLE_HOSTS],
    &[schema::APPEND],
];

/// Says which versions are there.
const MIGRATION: &str = "create table if not exists migration (
    version integer primary key,
    applied_at timestamptz not null default now()
)";

/// Brings the schema to the newest version and answers the incarnation of its log.
pub(super) async fn run(connection: &mut PgConnection, address: &Address) -> Result<Incarnation, OpenError> {
    let unprepared = |error: sqlx::Error| OpenError::Unprepared {
        address: address.to_string(),
        schema: address.schema.clone(),
        reason: connection::describe(&error),
    };
    let mut transaction = connection.begin().await.map_err(unprepared)?;
    let found = prepare(&mut transaction, &address.schema).await.map_err(unprepared)?;
    let known = VERSIONS.len();
    let done = usize::try_from(found).unwrap_or(0);
    if done > known {
        let known = i32::try_from(known).unwrap_or(i32::MAX);
        return Err(OpenError::Newer { address: address.to_string(), schema: address.schema.clone(), found, known });
    }
    for (version, statements) in (1..).zip(VERSIONS).skip(done) {
        apply(&mut transaction, version, statements).await.map_err(unprepared)?;
    }
    let incarnation = sqlx::query_scalar("select incarnation from log").fetch_one(&mut *transaction).await;
    let incarnation = incarnation.map_err(unprepared)?;
    transaction.commit().await.map_err(unprepared)?;
    Ok(incarnation)
}

/// Waits until no other host prepares the schema, makes it when it is not there, and answers the version of its tables.
async fn prepare(connection: &mut PgConnection, schema: &str) -> sqlx::Result<i32> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('lantern migrations of ' || $1, 0))")
        .bind(schema)
        .execute(&mut *connection)
        .await?;
    // `if not exists` would ask for the right to create schemas even when there is nothing to create.
    let there: bool = sqlx::query_scalar("select exists (select from pg_namespace where nspname = $1)")
        .bind(schema)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        raw_sql(AssertSqlSafe(format!("create schema {schema}"))).execute(&mut *connection).await?;
    }
    raw_sql(MIGRATION).execute(&mut *connection).await?;
    let version: Option<i32> =
        sqlx::query_scalar("select max(version) from migration").fetch_one(&mut *connection).await?;
    Ok(version.unwrap_or(0))
}

async fn apply(connection: &mut PgConnection, version: i32, statements: &'static [&'static str]) -> sqlx::Result<()> {
    for statement in statements {
        raw_sql(*statement).execute(&mut *connection).await?;
    }
    sqlx::query("insert into migration (version) values ($1)").bind(version).execute(connection).await?;
    Ok(())
}
