//! The rules of PostgreSQL's tables under attack: what words do not tell, the role of the module does.

use std::{sync::Arc, time::Duration};

use lantern_core::{
    Batch, Generation, Lease, Migration, Position, ReadModel, ReadModels as _, SqlError, SqlValue, sql::Budget,
};
use sqlx::{AssertSqlSafe, PgPool, query_scalar, raw_sql};

use super::Schema;
use crate::{
    contract::samples::{batch, module},
    postgres::ReadModels,
};

const AMPLE: Budget = Budget { rows: 1_000, bytes: 1024 * 1024, time: Duration::from_secs(60) };

/// A generation with a table, its migration committed.
struct Attacked {
    models: ReadModels,
    model: Arc<dyn ReadModel>,
    lease: Lease,
    pool: PgPool,
    schema: Schema,
}

fn generation() -> Generation {
    Generation { processor: "orders".parse().unwrap(), number: 1 }
}

fn migrations() -> Vec<Migration> {
    let sql = "create table t (a int primary key, b text); insert into t values (1, 'one')";
    vec![Migration { name: "t".into(), sql: sql.into() }]
}

impl Attacked {
    async fn new() -> Self {
        let schema = Schema::new();
        let database = schema.open().await;
        let pool = database.pool().clone();
        let models = ReadModels::new(database);
        let model = models.create(&generation(), Position::START, module("first")).await.unwrap();
        let (lease, _) = model.take().await.unwrap();
        let tables = model.tables(&migrations()).await.unwrap();
        model.commit(lease, &Batch { tables: Some(tables), ..batch(0, 1) }).await.unwrap();
        Self { models, model, lease, pool, schema }
    }

    /// Runs one statement in a transaction that comes to nothing.
    async fn run(&self, statement: &str) -> Result<u64, SqlError> {
        let tables = self.model.tables(&migrations()).await.unwrap();
        let statement = statement.to_owned();
        tokio::task::spawn_blocking(move || tables.execute(&statement, &[], &AMPLE)).await.unwrap()
    }

    /// The schema of the generation, and the role of its module.
    async fn names(&self) -> (String, String) {
        let schema = format!("{}$orders$1", self.schema.name);
        let identity = format!("select identity from \"{schema}\".lantern_checkpoint");
        let identity: uuid::Uuid = query_scalar(AssertSqlSafe(identity)).fetch_one(&self.pool).await.unwrap();
        (schema, format!("lantern_{}", identity.simple()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_rows_of_its_tables_only() {
    let attacked = Attacked::new().await;
    for statement in [
        "set role none",
        "reset role",
        "set session authorization default",
        "select set_config('role', 'none', true)",
        "select \"set_config\"('role', 'none', true)",
        "select pg_catalog.set_config('role', 'none', true)",
        "select U&\"s\\0065t_config\"('role', 'none', true)",
        "select query_to_xml('select 1', true, true, '')",
        "copy t to stdout",
        "copy t from program 'true'",
        "do $$ begin end $$",
        "call x()",
        "prepare p as select 1",
        "listen x",
        "notify x",
        "lock table t",
        "truncate t",
        "vacuum t",
        "grant all on t to public",
        "explain analyze delete from t",
        "select * from lantern_documents",
        "select * from pg_authid",
        "select pg_sleep(1)",
        "select pg_advisory_lock(1)",
        "select pg_terminate_backend(1)",
        "select now()",
        "select current_user",
        "select nextval('s')",
        "select lo_import('/etc/passwd')",
        "select a into x from t",
    ] {
        let answer = attacked.run(statement).await;
        assert!(matches!(&answer, Err(SqlError::Refused(_) | SqlError::Failed(_))), "{statement}: {answer:?}");
    }
    let (schema, _) = attacked.names().await;
    for statement in [
        format!("select * from \"{schema}\".checkpoint"),
        format!("select count(*) from \"{schema}\".\"lantern\u{0}_checkpoint\""),
        "create table x (a int)".into(),
    ] {
        let answer = attacked.run(&statement).await;
        assert!(matches!(&answer, Err(SqlError::Refused(_) | SqlError::Failed(_))), "{statement}: {answer:?}");
    }
    assert_eq!(attacked.run("update t set b = 'two'").await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_a_module_has_no_right_elsewhere() {
    let attacked = Attacked::new().await;
    let (schema, role) = attacked.names().await;
    let base = &attacked.schema.name;
    for statement in [
        format!("select * from \"{schema}\".lantern_checkpoint"),
        format!("update \"{schema}\".lantern_checkpoint set epoch = 0"),
        format!("delete from \"{schema}\".lantern_parked"),
        format!("create table \"{schema}\".x (a int)"),
        format!("create table \"{schema}$sql\".x (a int)"),
        format!("select * from \"{base}\".event"),
        format!("drop schema \"{schema}$sql\" cascade"),
        "create role x".into(),
    ] {
        let mut transaction = attacked.pool.begin().await.unwrap();
        let role = AssertSqlSafe(format!("set local role \"{role}\""));
        raw_sql(role).execute(&mut *transaction).await.unwrap();
        let error = raw_sql(AssertSqlSafe(statement.clone())).execute(&mut *transaction).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_fail_leave_the_transaction_as_it_was() {
    let attacked = Attacked::new().await;
    let tables = attacked.model.tables(&migrations()).await.unwrap();
    let worked = tables.clone();
    let work = move || {
        worked.mark().unwrap();
        let insert = "insert into t (a, b) values ($1, $2)";
        let two = [SqlValue::Integer(2), SqlValue::Null];
        worked.execute(insert, &two, &AMPLE).unwrap();
        let again = worked.execute(insert, &[SqlValue::Integer(2), SqlValue::Text("b".into())], &AMPLE);
        let brief = Budget { time: Duration::from_millis(20), ..AMPLE };
        let endless = "insert into t with recursive n (x) as (select 10 union all select x + 1 from n) select x from n";
        let ended = worked.execute(endless, &[], &brief);
        worked.execute(insert, &[SqlValue::Integer(3), SqlValue::Text("c".into())], &AMPLE).unwrap();
        worked.keep().unwrap();
        (again, ended)
    };
    let (again, ended) = tokio::task::spawn_blocking(work).await.unwrap();
    assert!(matches!(&again, Err(SqlError::Constraint(_))), "{again:?}");
    assert!(matches!(&ended, Err(SqlError::Exceeded(_))), "{ended:?}");
    assert!(tables.is_open(), "PostgreSQL gives up a statement, and no more");
    attacked.model.commit(attacked.lease, &Batch { tables: Some(tables), ..batch(1, 2) }).await.unwrap();
    let found = attacked.model.query("select a, coalesce(b, 'none') from t order by a", &[], &AMPLE).await.unwrap();
    let row = |a: i64, b: &str| vec![SqlValue::Integer(a), SqlValue::Text(b.into())];
    assert_eq!(found.rows, [row(1, "one"), row(2, "none"), row(3, "c")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_many_types_are_read() {
    let attacked = Attacked::new().await;
    let statement = "select 1::smallint, 2, 3::bigint, 0.5::real, 0.25::double precision, sum(a), 1.50::numeric, true, \
        'x'::varchar(3), '\\x00ff'::bytea, '{\"a\": 1}'::jsonb, null, b from t group by b";
    let found = attacked.model.query(statement, &[], &AMPLE).await.unwrap();
    let text = |text: &str| SqlValue::Text(text.into());
    let wanted = vec![
        SqlValue::Integer(1),
        SqlValue::Integer(2),
        SqlValue::Integer(3),
        SqlValue::Real(0.5),
        SqlValue::Real(0.25),
        SqlValue::Integer(1),
        text("1.50"),
        SqlValue::Boolean(true),
        text("x"),
        SqlValue::Blob(vec![0, 255].into()),
        text("{\"a\": 1}"),
        SqlValue::Null,
        text("one"),
    ];
    assert_eq!(found.rows, [wanted]);
    let unread = attacked.model.query("select '2026-01-01'::date", &[], &AMPLE).await.unwrap_err();
    assert!(unread.to_string().contains("cast it to text"), "{unread}");
    let written = "update t set b = 'x' where a = 1 returning a";
    assert!(matches!(attacked.model.query(written, &[], &AMPLE).await, Err(SqlError::Refused(_))));
    let hidden = "with x as (delete from t returning a) select * from x";
    assert!(attacked.model.query(hidden, &[], &AMPLE).await.is_err(), "the transaction of a query is read only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_takes_its_tables_and_its_role_along() {
    let attacked = Attacked::new().await;
    let (schema, role) = attacked.names().await;
    let count = async |statement: &'static str, name: String| -> i64 {
        query_scalar(statement).bind(name).fetch_one(&attacked.pool).await.unwrap()
    };
    let roles = async || count("select count(*) from pg_roles where rolname = $1", role.clone()).await;
    let schemas = async || count("select count(*) from pg_namespace where nspname = $1", format!("{schema}$sql")).await;
    assert_eq!((roles().await, schemas().await), (1, 1));
    attacked.models.remove(&generation()).await.unwrap();
    assert_eq!((roles().await, schemas().await), (0, 0));
}
