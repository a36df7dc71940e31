//! Connections that break and servers that end: nothing acknowledged is lost, nothing is doubled, and it goes on by itself.

use std::{sync::Arc, time::Duration};

use lantern_core::{
    Append, Appended, EventId, Expected, Filter, Log, NewEvent, Position,
    log::{AppendError, LogError},
};
use sqlx::{Connection, PgConnection, raw_sql};
use tokio::{sync::watch, task::JoinSet, time};

use super::{INSERT_RAW, Schema, cluster::Cluster, proxy::Proxy, reached, server};
use crate::{
    contract::samples::*,
    postgres::{self, Database},
};

/// The event that ends the watching of a log.
const LAST: EventId = EventId::from_u128(7);

/// Appends until it is acknowledged, with the same ids each time.
async fn insist(log: &postgres::Log, appends: Vec<Append>) -> Vec<Appended> {
    loop {
        match log.append(appends.clone()).await {
            Ok(places) => return places,
            Err(AppendError::Unavailable(reason)) => {
                assert!(!reason.contains("secret"), "{reason}");
                tokio::task::yield_now().await;
            }
            Err(refused) => panic!("{refused}"),
        }
    }
}

/// A proxy before the server, and the schema opened through it.
async fn behind_a_proxy(schema: &Schema) -> (Proxy, Database) {
    let url = schema.url();
    let (before, place) = url.split_once('@').unwrap();
    let (address, rest) = place.split_once('/').unwrap();
    let proxy = Proxy::start(address.to_owned()).await;
    // The proxy has to see what is said.
    let url = format!("{before}@{}/{rest}&sslmode=disable", proxy.address);
    let far = Database::open(&url).await.unwrap();
    (proxy, far)
}

/// Appends from several tasks, one event after the other each, while `trouble` goes on; answers what was acknowledged.
async fn append_during(hosts: &[Arc<postgres::Log>], trouble: impl Future<Output = ()>) -> Vec<Appended> {
    let (stop, stopped) = watch::channel(false);
    let mut writers = JoinSet::new();
    for (writer, log) in hosts.iter().cycle().take(8).cloned().enumerate() {
        let stopped = stopped.clone();
        writers.spawn(async move {
            let mut mine = Vec::new();
            while !*stopped.borrow() {
                let events = vec![event("Written"), event("Written")];
                mine.extend(insist(&log, vec![to(&format!("W-{writer}"), Expected::Any, events)]).await);
            }
            mine
        });
    }
    trouble.await;
    stop.send_replace(true);
    writers.join_all().await.concat()
}

/// Waits until every host has seen so many events more.
async fn further(hosts: &[Arc<postgres::Log>], events: u64) {
    for log in hosts {
        reached(log, head(&**log).0 + events).await;
    }
}

/// Asserts that the log is dense and has exactly what was acknowledged, where it was said to be.
async fn assert_kept(log: &postgres::Log, mut acknowledged: Vec<Appended>) {
    acknowledged.sort_unstable_by_key(|place| place.position);
    reached(log, acknowledged.len() as u64).await;
    let events = read_all(log, &Filter::all(), 1000).await;
    assert_dense(&events);
    let found: Vec<_> = events.iter().map(|event| (event.id, event.version, event.position)).collect();
    let told: Vec<_> = acknowledged.iter().map(|place| (place.id, place.version, place.position)).collect();
    assert_eq!(found, told);
}

#[tokio::test]
async fn a_writer_that_dies_in_its_transaction_leaves_nothing() {
    let schema = Schema::new();
    let database = schema.open().await;
    let log = postgres::Log::open(&database).await.unwrap();
    append_some(&log, "A-1", 1).await;
    let mut dying = PgConnection::connect_with(database.options()).await.unwrap();
    let process: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut dying).await.unwrap();
    raw_sql("begin; select from log for update").execute(&mut dying).await.unwrap();
    raw_sql(INSERT_RAW).execute(&mut dying).await.unwrap();
    let waiting = append_some(&log, "A-1", 1);
    let killing = async {
        let waits = "select count(*) from pg_locks where not granted and $1 = any(pg_blocking_pids(pid))";
        let mut blocked = 0_i64;
        while blocked == 0 {
            blocked = sqlx::query_scalar(waits).bind(process).fetch_one(database.pool()).await.unwrap();
        }
        let terminate = sqlx::query("select pg_terminate_backend($1)").bind(process);
        terminate.execute(database.pool()).await.unwrap();
    };
    let (places, ()) = tokio::join!(waiting, killing);
    assert_eq!(places[0].position, Position(2), "the place of the dead one is free");
    assert_eq!(read_all(&log, &Filter::all(), 10).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_are_terminated_come_back() {
    let schema = Schema::new();
    let mut hosts = Vec::new();
    for _ in 0..2 {
        hosts.push(Arc::new(postgres::Log::open(&schema.open().await).await.unwrap()));
    }
    let mut operator = PgConnection::connect(&server()).await.unwrap();
    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = $1";
    let name = schema.open().await.channel();
    let trouble = async {
        let mut terminated = 0;
        while terminated < 60 {
            let count: i64 = sqlx::query_scalar(terminate).bind(&name).fetch_one(&mut operator).await.unwrap();
            terminated += count;
            further(&hosts, 10).await;
        }
    };
    let acknowledged = append_during(&hosts, trouble).await;
    for log in &hosts {
        assert_kept(log, acknowledged.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listening_connection_that_is_cut_silently_is_replaced() {
    let schema = Schema::new();
    let (proxy, far) = behind_a_proxy(&schema).await;
    let reader = postgres::Log::open(&far).await.unwrap();
    let writer = postgres::Log::open(&schema.open().await).await.unwrap();
    append_some(&writer, "A-1", 1).await;
    reached(&reader, 1).await;
    assert_eq!(proxy.listeners(), 1);
    proxy.silence_listeners();
    append_some(&writer, "A-1", 1).await;
    reached(&reader, 2).await;
    assert_eq!(proxy.listeners(), 2, "another connection listens");
    append_some(&writer, "A-1", 1).await;
    reached(&reader, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_server_appends_fail_and_go_on_when_it_is_back() {
    let schema = Schema::new();
    let (proxy, far) = behind_a_proxy(&schema).await;
    let log = postgres::Log::open(&far).await.unwrap();
    append_some(&log, "A-1", 1).await;
    proxy.close();
    let sent = event("Sent");
    let refused = try_append(&log, "A-1", Expected::Any, sent.clone()).await.unwrap_err();
    assert!(matches!(&refused, AppendError::Unavailable(_)), "{refused}");
    proxy.open();
    let places = insist(&log, vec![to("A-1", Expected::Any, vec![sent])]).await;
    assert_eq!(places[0].position, Position(2));
    // A connection that nobody has used since is found to be gone by who uses it first.
    let read = async || log.read(Position::START, &Filter::all(), 10).await;
    let page = match read().await {
        Err(LogError::Unavailable(_)) => read().await,
        page => page,
    };
    assert_eq!(page.unwrap().events.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_killed_loses_nothing_acknowledged_and_nothing_shown() {
    const ROUNDS: usize = 3;
    let mut cluster = Cluster::start().await;
    let url = cluster.url();
    let mut hosts = Vec::new();
    for _ in 0..2 {
        hosts.push(Arc::new(postgres::Log::open(&Database::open(&url).await.unwrap()).await.unwrap()));
    }
    let watching = hosts[1].clone();
    let shown = tokio::spawn(async move {
        let (mut head, mut shown) = (watching.head(), Vec::new());
        loop {
            let at = Position(shown.len() as u64);
            match watching.read(at, &Filter::all(), 1000).await {
                Ok(page) if page.events.is_empty() => head.changed().await.unwrap(),
                Ok(page) => shown.extend(page.events.into_iter().map(|event| event.id)),
                Err(_) => time::sleep(Duration::from_millis(5)).await,
            }
            if shown.last().is_some_and(|last| *last == LAST) {
                return shown;
            }
        }
    });
    let trouble = async {
        for _ in 0..ROUNDS {
            further(&hosts, 300).await;
            cluster.kill();
            cluster.resume().await;
        }
    };
    let mut acknowledged = append_during(&hosts, trouble).await;
    let last = NewEvent { id: LAST, ..event("Last") };
    acknowledged.extend(insist(&hosts[0], vec![to("Last-1", Expected::Any, vec![last])]).await);
    for log in &hosts {
        assert_kept(log, acknowledged.clone()).await;
    }
    let kept: Vec<_> = read_all(&*hosts[0], &Filter::all(), 1000).await.iter().map(|event| event.id).collect();
    assert_eq!(shown.await.unwrap(), kept, "what a reader was shown stayed");
}
