//! The backend in PostgreSQL keeps the contract, beside other hosts and when connections break.

mod open;
mod read_model;
mod tables;

use std::{env, thread};

use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tokio::runtime;
use uuid::Uuid;

use super::Database;

/// The URL of the server that tests use.
fn server() -> String {
    env::var("LANTERN_TEST_POSTGRES_URL").expect(
        "LANTERN_TEST_POSTGRES_URL is not set: run the tests with `cargo xtask test`, or start the servers with \
         `cargo xtask services up` and set what it prints",
    )
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
