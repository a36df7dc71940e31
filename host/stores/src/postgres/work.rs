//! One transaction of a module's SQL tables on a connection: its migrations, its statements under the module's own role, and
//! the marks of its calls.
//!
//! A statement runs as a role that owns the module's tables and has no right elsewhere. The role is set before each
//! statement, so that one which got around it would find it set again. What the host does itself, it does as itself.
//!
//! ```text
//!  begin ─▶ migrations ─▶ mark ─▶ savepoint call ─▶ savepoint statement, role, time-out ─▶ statement ─▶ … ─▶ keep, undo
//! ```
//!
//! What needs no answer waits in `pending`, and goes to the server with what comes next.

use std::time::Duration;

use futures::{Stream, TryStreamExt as _};
use lantern_core::{
    Digest, Migration, ReadModelError, SqlError, SqlValue, TablesError,
    digest::ReadModelDigest,
    sql::{Budget, MAX_PARAMETERS, MAX_STATEMENT, Rows},
};
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor as _, PgConnection, PgPool, Postgres, Row as _,
    postgres::{PgQueryResult, PgRow},
    query, query_scalar, query_with, raw_sql,
};
use uuid::Uuid;

use super::{
    connection::describe,
    generation::{self, Schema},
    values,
    words::{self, Mode},
};

/// How long one migration may take: it may have to rewrite a large table.
const MIGRATION: Duration = Duration::from_secs(60);

/// The settings under which a statement gives the same answer everywhere.
const SETTINGS: &str = "set local timezone = 'UTC'; set local datestyle = 'ISO, MDY'; \
    set local intervalstyle = 'iso_8601'; set local extra_float_digits = 1; set local bytea_output = 'hex'; \
    set local lock_timeout = '30s'; set local idle_in_transaction_session_timeout = '30s'; \
    set local search_path = $tables";

/// What holds from the last statement of the module on: the host leaves no transaction idle.
const AS_HOST: &str =
    "reset role; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = '5s'";

/// What there is for the SQL tables of a module beside them: the role, its schema, and which migrations were run.
const BESIDE: &str = "
    create table $schema.lantern_migration (number integer primary key, name text not null, digest bytea not null);
    create role $role nologin;
    grant $role to current_user;
    create schema $tables;
    grant usage on schema $tables to $role;
    create view $tables.lantern_documents as select collection, key, value from $schema.lantern_documents;
    grant select on $tables.lantern_documents to $role;
";

/// A migration that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ran {
    name: String,
    digest: Digest,
}

/// What is known of the migrations that were run and committed; `None` until it is read.
pub(super) type Known = Option<Vec<Ran>>;

/// Where the work of the call in hand begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// There is no call.
    None,
    /// Before its first statement: nothing is to be taken back yet.
    Wanted,
    /// At a savepoint.
    Set,
}

/// One transaction.
pub(super) struct Work {
    transaction: sqlx::Transaction<'static, Postgres>,
    schema: Schema,
    identity: Uuid,
    mark: Mark,
    clashed: bool,
    /// Why the transaction is no more.
    lost: Option<SqlError>,
    /// What the server is told with the next message.
    pending: String,
    ran: Vec<Ran>,
}

impl Work {
    /// Begins a transaction and runs the migrations that were not run before.
    pub(super) async fn begin(
        pool: &PgPool,
        (schema, identity): (&Schema, Uuid),
        known: &Known,
        migrations: &[Migration],
    ) -> Result<Self, TablesError> {
        prepare(pool, schema, identity).await.map_err(|error| failed(&error))?;
        let mut transaction = pool.begin().await.map_err(|error| failed(&error))?;
        raw_sql(schema.statement(SETTINGS)).execute(&mut *transaction).await.map_err(|error| failed(&error))?;
        let ran = migrate(&mut transaction, (schema, identity), known, migrations).await?;
        let schema = schema.clone();
        let (mark, clashed, lost, pending) = (Mark::None, false, None, String::new());
        Ok(Self { transaction, schema, identity, mark, clashed, lost, pending, ran })
    }

    /// Runs one statement. Answers the rows it found and how many it changed.
    pub(super) async fn answer(
        &mut self,
        (statement, parameters): (&str, &[SqlValue]),
        budget: &Budget,
    ) -> Result<(Rows, u64), SqlError> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        check(statement, parameters, Mode::Rows)?;
        if self.mark == Mark::Wanted {
            self.pending.push_str("savepoint call;");
            self.mark = Mark::Set;
        }
        let before = format!("{}savepoint statement;{}", std::mem::take(&mut self.pending), under(budget.time));
        self.own(&before).await?;
        let answer = run(&mut self.transaction, (statement, parameters), budget).await;
        self.pending = match &answer {
            Ok(_) => "release savepoint statement;",
            Err(_) => "rollback to savepoint statement; release savepoint statement;",
        }
        .into();
        match &answer {
            Err(SqlError::Constraint(_)) => self.clashed = true,
            Err(error @ SqlError::Unavailable(_)) => self.lost = Some(error.clone()),
            _ => {}
        }
        answer
    }

    /// Begins the work of a call.
    pub(super) fn mark(&mut self) -> Result<(), SqlError> {
        (self.mark, self.clashed) = (Mark::Wanted, false);
        self.lost.clone().map_or(Ok(()), Err)
    }

    /// Ends the work of a call, which stays.
    pub(super) fn keep(&mut self) -> Result<(), SqlError> {
        self.end_call("release savepoint call;");
        self.lost.clone().map_or(Ok(()), Err)
    }

    /// Ends the work of a call and takes it back.
    pub(super) fn undo(&mut self) {
        self.end_call("rollback to savepoint call; release savepoint call;");
    }

    fn end_call(&mut self, how: &str) {
        if std::mem::replace(&mut self.mark, Mark::None) == Mark::Set {
            self.pending.push_str(how);
        }
    }

    /// Whether a statement of the last call broke a constraint.
    pub(super) fn clashed(&self) -> bool {
        self.clashed
    }

    /// Whether it can be committed.
    pub(super) fn is_open(&self) -> bool {
        self.lost.is_none()
    }

    /// The connection, for what the host itself does at the end of the transaction.
    pub(super) async fn as_host(&mut self) -> Result<&mut PgConnection, SqlError> {
        let before = format!("{}{AS_HOST}", std::mem::take(&mut self.pending));
        self.own(&before).await?;
        Ok(&mut self.transaction)
    }

    /// Commits. Answers all migrations that were run.
    pub(super) async fn commit(self) -> sqlx::Result<Vec<Ran>> {
        self.transaction.commit().await?;
        Ok(self.ran)
    }

    /// Statements of the host's own. When they fail the transaction is good for nothing.
    async fn own(&mut self, statements: &str) -> Result<(), SqlError> {
        let statements = self.schema.statement_of(self.identity, statements);
        let done = raw_sql(statements).execute(&mut *self.transaction).await;
        done.map(|_| ()).map_err(|error| {
            let lost = SqlError::Unavailable(describe(&error));
            self.lost = Some(lost.clone());
            lost
        })
    }
}

/// Answers a query of an operator.
pub(super) async fn query_as_module(
    pool: &PgPool,
    (schema, identity): (&Schema, Uuid),
    (statement, parameters): (&str, &[SqlValue]),
    budget: &Budget,
) -> Result<Rows, SqlError> {
    check(statement, parameters, Mode::Reader)?;
    let unavailable = |error: sqlx::Error| SqlError::Unavailable(describe(&error));
    prepare(pool, schema, identity).await.map_err(unavailable)?;
    let mut moment = pool.begin_with("begin isolation level repeatable read read only").await.map_err(unavailable)?;
    let before = format!("{SETTINGS};{}", under(budget.time));
    raw_sql(schema.statement_of(identity, &before)).execute(&mut *moment).await.map_err(unavailable)?;
    let answer = run(&mut moment, (statement, parameters), budget).await;
    // The transaction has changed nothing, however it ends.
    drop(moment.rollback().await);
    answer.map(|(rows, _)| rows)
}

/// Adds all tables of the module to the digest of its read model. A row counts as the text PostgreSQL makes of it.
pub(super) async fn digest(
    connection: &mut PgConnection,
    schema: &Schema,
    digest: &mut ReadModelDigest,
) -> sqlx::Result<()> {
    const TABLES: &str = "
        select relname::text from pg_class
        where relnamespace = to_regnamespace('$tables') and relkind = 'r' order by relname::text collate \"C\"";
    raw_sql(schema.statement(SETTINGS)).execute(&mut *connection).await?;
    let tables: Vec<String> = query_scalar(schema.statement(TABLES)).fetch_all(&mut *connection).await?;
    for table in tables {
        digest.table(&table, &[]);
        let quoted = table.replace('"', "\"\"");
        let rows = format!("select t::text from $tables.\"{quoted}\" t order by t::text collate \"C\"");
        let mut rows = query_scalar::<_, String>(schema.statement(&rows)).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            digest.row(&[SqlValue::Text(row.into())]);
        }
    }
    Ok(())
}

/// What stands before a statement of the module's: its role and its time.
fn under(time: Duration) -> String {
    // None at all would mean without end.
    let milliseconds = time.as_millis().clamp(1, 86_400_000);
    format!("set local role $role; set local statement_timeout = {milliseconds};")
}

fn check(statement: &str, parameters: &[SqlValue], mode: Mode) -> Result<(), SqlError> {
    if statement.len() > MAX_STATEMENT {
        return Err(SqlError::Refused(format!(
            "it has {} bytes: at most {MAX_STATEMENT} are allowed",
            statement.len()
        )));
    }
    if statement.contains('\0') {
        return Err(SqlError::Refused("it has a zero byte".into()));
    }
    if parameters.len() > MAX_PARAMETERS {
        let count = parameters.len();
        return Err(SqlError::Refused(format!("it has {count} parameters: at most {MAX_PARAMETERS} are allowed")));
    }
    let wanted = words::inspect(statement, mode).map_err(SqlError::Refused)?;
    if wanted != parameters.len() {
        return Err(SqlError::Failed(format!("it has {wanted} parameters, {} were handed over", parameters.len())));
    }
    Ok(())
}

/// Runs a statement that was checked, as the role that is set.
async fn run(
    connection: &mut PgConnection,
    (statement, parameters): (&str, &[SqlValue]),
    budget: &Budget,
) -> Result<(Rows, u64), SqlError> {
    if parameters.iter().any(|value| value.size() > budget.bytes) {
        return Err(SqlError::Exceeded(format!(
            "one of its values has more than {} bytes (`sql_bytes`)",
            budget.bytes
        )));
    }
    // A prepared statement is kept under its text, and is of the types it was prepared for.
    let text = AssertSqlSafe(format!("{statement}\n-- {}", values::types(parameters)));
    collect(connection.fetch_many(query_with(text, values::arguments(parameters)?)), budget).await
}

async fn collect(
    mut answers: impl Stream<Item = sqlx::Result<Either<PgQueryResult, PgRow>>> + Unpin,
    budget: &Budget,
) -> Result<(Rows, u64), SqlError> {
    let (mut found, mut changed, mut bytes) = (Rows::default(), 0, 0_usize);
    while let Some(answer) = answers.try_next().await.map_err(|error| told(&error))? {
        let row = match answer {
            Either::Left(done) => {
                changed += done.rows_affected();
                continue;
            }
            Either::Right(row) => row,
        };
        if found.rows.len() == budget.rows {
            return Err(SqlError::Exceeded(format!("it found more than {} rows (`sql_rows`)", budget.rows)));
        }
        if found.rows.is_empty() {
            found.columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
        }
        let values = values::row(&row)?;
        bytes = values.iter().fold(bytes, |bytes, value| bytes.saturating_add(value.size()));
        if bytes > budget.bytes {
            return Err(SqlError::Exceeded(format!("its rows have more than {} bytes (`sql_bytes`)", budget.bytes)));
        }
        found.rows.push(values);
    }
    Ok((found, changed))
}

/// What an error of the server means for whoever wrote the statement.
fn told(error: &sqlx::Error) -> SqlError {
    let text = describe(error);
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    match code.as_ref() {
        "57014" => SqlError::Exceeded("it took longer than the call may spend on its statements (`sql_ms`)".into()),
        "42501" => SqlError::Refused(text),
        // Locks that are waited for too long, and what a crash of the server or another session leads to.
        "55P03" => SqlError::Unavailable(text),
        _ => match code.get(..2) {
            Some("23") => SqlError::Constraint(text),
            Some("0A" | "21" | "22" | "2B" | "34" | "3F" | "42" | "44" | "54" | "55" | "P0") => SqlError::Failed(text),
            _ => SqlError::Unavailable(text),
        },
    }
}

/// Makes what there has to be beside the tables, if it is not there: at once, so that nobody waits for a transaction of
/// tables to end.
async fn prepare(pool: &PgPool, schema: &Schema, identity: Uuid) -> sqlx::Result<()> {
    const THERE: &str = "select to_regclass('$schema.lantern_migration') is not null";
    if query_scalar(schema.statement(THERE)).fetch_one(pool).await? {
        return Ok(());
    }
    let mut transaction = pool.begin().await?;
    generation::lock(&mut transaction, schema).await?;
    // Another host may have been faster.
    if !query_scalar(schema.statement(THERE)).fetch_one(&mut *transaction).await? {
        raw_sql(schema.statement_of(identity, BESIDE)).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Runs the migrations that were not run before. Answers all that were run.
async fn migrate(
    connection: &mut PgConnection,
    (schema, identity): (&Schema, Uuid),
    known: &Known,
    migrations: &[Migration],
) -> Result<Vec<Ran>, TablesError> {
    let mut ran = match known {
        Some(ran) => ran.clone(),
        None => read(connection, schema).await.map_err(|error| failed(&error))?,
    };
    for (index, (migration, ran)) in migrations.iter().zip(&ran).enumerate() {
        if migration.digest() != ran.digest {
            let (name, ran) = (migration.name.clone(), ran.name.clone());
            return Err(TablesError::Differs { number: index + 1, name, ran });
        }
    }
    // A module that is gone back to may know fewer of them.
    for (index, migration) in migrations.iter().enumerate().skip(ran.len()) {
        let number = index + 1;
        make(connection, (schema, identity), migration).await.map_err(|error| refused(number, migration, error))?;
        ran.push(record(connection, schema, number, migration).await.map_err(|error| failed(&error))?);
    }
    Ok(ran)
}

async fn make(
    connection: &mut PgConnection,
    (schema, identity): (&Schema, Uuid),
    migration: &Migration,
) -> Result<(), SqlError> {
    words::inspect(&migration.sql, Mode::Schema).map_err(SqlError::Refused)?;
    // Only a migration makes tables.
    let before = format!("grant create on schema $tables to $role;{}", under(MIGRATION));
    let after = "reset role; set local statement_timeout = 0; revoke create on schema $tables from $role";
    let unavailable = |error: sqlx::Error| SqlError::Unavailable(describe(&error));
    raw_sql(schema.statement_of(identity, &before)).execute(&mut *connection).await.map_err(unavailable)?;
    raw_sql(AssertSqlSafe(migration.sql.clone())).execute(&mut *connection).await.map_err(|error| told(&error))?;
    raw_sql(schema.statement_of(identity, after)).execute(&mut *connection).await.map_err(unavailable)?;
    Ok(())
}

fn refused(number: usize, migration: &Migration, error: SqlError) -> TablesError {
    match error {
        SqlError::Unavailable(reason) => ReadModelError::Unavailable(reason).into(),
        error => TablesError::Migration { number, name: migration.name.clone(), reason: error.to_string() },
    }
}

/// The migrations that were run.
async fn read(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<Vec<Ran>> {
    let ran = |row: PgRow| {
        let digest: [u8; 32] = row.try_get::<&[u8], _>(1)?.try_into().unwrap_or_default();
        Ok(Ran { name: row.try_get(0)?, digest: Digest(digest) })
    };
    let statement = schema.statement("select name, digest from $schema.lantern_migration order by number");
    query(statement).try_map(ran).fetch_all(connection).await
}

async fn record(
    connection: &mut PgConnection,
    schema: &Schema,
    number: usize,
    migration: &Migration,
) -> sqlx::Result<Ran> {
    let ran = Ran { name: migration.name.clone(), digest: migration.digest() };
    query(schema.statement("insert into $schema.lantern_migration (number, name, digest) values ($1, $2, $3)"))
        .bind(i32::try_from(number).unwrap_or(i32::MAX))
        .bind(&ran.name)
        .bind(ran.digest.0.as_slice())
        .execute(connection)
        .await?;
    Ok(ran)
}

fn failed(error: &sqlx::Error) -> TablesError {
    let reason = describe(error);
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    let mend = if code == "42501" {
        "; SQL tables need a role of their own: let Lantern's user make roles with `alter role … createrole`"
    } else {
        ""
    };
    ReadModelError::Unavailable(format!("the tables cannot be used: {reason}{mend}")).into()
}
