//! Opening a database: by many at once, from another version, with wrong credentials, without a server.

use sqlx::raw_sql;
use tokio::{net::TcpListener, task::JoinSet};

use super::{Schema, server};
use crate::postgres::{Database, OpenError};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hosts_that_start_at_once_make_one_schema() {
    let schema = Schema::new();
    let mut hosts = JoinSet::new();
    for _ in 0..8 {
        let url = schema.url();
        hosts.spawn(async move { Database::open(&url).await.unwrap().incarnation() });
    }
    let mut incarnations = hosts.join_all().await;
    incarnations.dedup();
    assert_eq!(incarnations.len(), 1, "all have the same log");
}

#[tokio::test]
async fn a_later_version_is_refused() {
    let schema = Schema::new();
    let database = schema.open().await;
    raw_sql("insert into migration (version) values (99)").execute(database.pool()).await.unwrap();
    let refused = Database::open(&schema.url()).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Newer { found: 99, .. }), "{refused}");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_named_without_secrets() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nobody = format!("postgres://ann:hidden-word@127.0.0.1:{port}/shop");
    let refused = Database::open(&nobody).await.err().unwrap().to_string();
    assert!(refused.contains(&format!("127.0.0.1:{port}/shop")) && refused.contains("refused"), "{refused}");
    assert!(!refused.contains("hidden-word"), "{refused}");

    let place = server();
    let place = place.split_once('@').map_or("127.0.0.1", |(_, place)| place);
    let stranger = format!("postgres://nobody-we-know:hidden-word@{place}");
    let refused = Database::open(&stranger).await.err().unwrap().to_string();
    assert!(refused.contains("cannot be used") && refused.contains("nobody-we-know"), "{refused}");
    assert!(!refused.contains("hidden-word"), "{refused}");
}
