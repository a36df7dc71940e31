//! The backend in PostgreSQL keeps the contract, beside other hosts and when connections break.

mod cluster;
mod damage;
mod faults;
mod hosts;
mod open;
mod proxy;
mod read_model;
mod registry;
mod tables;

use std::{env, sync::Arc, thread, time::Duration};

use lantern_core::{Log as _, SystemClock};
use proptest::{prelude::ProptestConfig, proptest};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tokio::{runtime, time};
use uuid::Uuid;

use crate::{
    contract, model,
    postgres::{Database, Journal, Log, Snapshots},
};

/// The URL of the server that tests use.
fn server() -> String {
    env::var("LANTERN_TEST_POSTGRES_URL").expect(
        "LANTERN_TEST_POSTGRES_URL is not set: run the tests with `cargo xtask test`, or start the servers with \
         `cargo xtask services up` and set what it prints",
    )
}

/// Appends an event to stream `A-1` as a program without Lantern may: it notifies nobody.
const INSERT_RAW: &str = "
    insert into event (position, version, time, id, schema_version, stream, type, data)
    select coalesce(max(position), 0) + 1, coalesce(max(version) filter (where stream = 'A-1'), 0) + 1, 0,
        gen_random_uuid(), 1, 'A-1', 'Raw', '{}'
    from event";

/// Waits until a host knows that the log is durable up to a position, and answers how far it is.
async fn reached(log: &Log, position: u64) -> u64 {
    let mut head = log.head();
    let reached = head.wait_for(|head| head.0 >= position);
    let reached = time::timeout(Duration::from_secs(60), reached).await;
    reached.expect("the host learns nothing").unwrap().0
}

/// Schemas for a test that needs several.
#[derive(Default)]
struct Schemas(std::sync::Mutex<Vec<Schema>>);

impl Schemas {
    /// Opens a new one.
    async fn open(&self) -> Database {
        let schema = Schema::new();
        let database = schema.open().await;
        self.0.lock().unwrap().push(schema);
        database
    }
}

/// A schema of its own for one test, dropped with everything in it.
struct Schema {
    name: String,
}

impl Schema {
    fn new() -> Self {
        Self { name: format!("t{}", &Uuid::new_v4().simple().to_string()[..24]) }
    }

    /// The URL of the schema.
    fn url(&self) -> String {
        let server = server();
        let join = if server.contains('?') { '&' } else { '?' };
        format!("{server}{join}schema={}", self.name)
    }

    /// Opens the schema, as another host would.
    async fn open(&self) -> Database {
        Database::open(&self.url()).await.unwrap()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let statement = format!(
            "do $$ declare name text; begin
                for name in select nspname from pg_namespace where starts_with(nspname, '{0}') loop
                    execute format('drop schema %I cascade', name);
                end loop;
            end $$",
            self.name
        );
        // A test that fails cleans up as well; a runtime cannot be entered from within another one on the same thread.
        let dropping = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server()).await.unwrap();
                raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
            });
        });
        if dropping.join().is_err() && !thread::panicking() {
            panic!("schema {} could not be dropped", self.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_keeps_the_contract() {
    let schemas = Schemas::default();
    contract::log(async || Log::open(&schemas.open().await).await.unwrap()).await;
}

#[tokio::test]
async fn the_journal_keeps_the_contract() {
    let schemas = Schemas::default();
    contract::journal(async || Journal::open(&schemas.open().await, Arc::new(SystemClock))).await;
}

#[tokio::test]
async fn the_snapshots_keep_the_contract() {
    let schemas = Schemas::default();
    contract::snapshots(async || Snapshots::open(&schemas.open().await)).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_its_model(script in model::scripts()) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let schema = Schema::new();
        runtime.block_on(async {
            let log = Log::open(&schema.open().await).await.unwrap();
            model::agree(&log, script).await;
        });
    }
}
