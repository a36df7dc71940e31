//! Redis keeps the contract, and survives what happens to a connection and to a reader.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lantern_core::{Bus, BusError, Fate, Subscription, bus::Keeper};
use redis_client::cmd;

use super::{Redis, connection::Connections};
use crate::{
    address::{Address, Options},
    contract::{self, Site, consume, delivered, message, messages, some, take, take_all, to, variable},
    proxy::Proxy,
};

struct OnRedis {
    bus: Arc<Redis>,
    given: AtomicUsize,
}

/// The bus of a URL, with leases and claims that end soon.
fn bus(url: &str, more: &str) -> Redis {
    let rest = url.strip_prefix("redis://").expect("a URL of Redis");
    let options = format!("lease=600&claim=300{more}");
    let address = Address::read(super::NAME, rest, super::PORT).unwrap();
    Redis::open(&address, false, Options::read(super::NAME, Some(&options)).unwrap()).unwrap()
}

impl OnRedis {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        Self { bus: Arc::new(bus(&variable("LANTERN_TEST_REDIS_URL"), more)), given: AtomicUsize::new(0) }
    }

    fn connections(&self) -> &Connections {
        &self.bus.connections
    }
}

impl Site for OnRedis {
    fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    fn topic(&self) -> Arc<str> {
        format!("test-{}-{}", uuid::Uuid::new_v4(), self.given.fetch_add(1, Ordering::Relaxed)).into()
    }

    fn has_partitions(&self) -> bool {
        false
    }

    async fn put(&self, topic: &str, kind: &str, body: &[u8]) {
        let mut add = cmd("XADD");
        add.arg(topic).arg("*").arg("kind").arg(kind).arg("data").arg(body);
        self.connections().run::<String>(&add).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_keeps_the_contract() {
    contract::bus(&OnRedis::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_reads_at_a_time() {
    let site = OnRedis::new();
    let topic = site.topic();
    let subscription = site.subscription(&topic, "one");
    let mut first = consume(&*site.bus(), &subscription).await;
    site.bus().publish(&to(&topic), &messages(1, 5)).await.unwrap();
    assert_eq!(delivered(&take(&mut *first, 5).await), [0, 1, 2, 3, 4]);
    let mut second = consume(&*site.bus(), &subscription).await;
    // The second waits as long as the first reads, however long that is.
    for number in 5..15 {
        site.bus().publish(&to(&topic), &[message("Order-0", number)]).await.unwrap();
        tokio::select! {
            deliveries = some(&mut *first, 1) => assert_eq!(delivered(&deliveries), [number]),
            deliveries = some(&mut *second, 1) => panic!("the second has {:?}", delivered(&deliveries)),
        }
    }
    assert!(second.lag().await.unwrap().is_empty(), "it has no partition");
    first.close().await.unwrap();
    assert_eq!(delivered(&take(&mut *second, 15).await), (0..15).collect::<Vec<_>>());
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_client_left_lying_is_claimed() {
    let site = OnRedis::new();
    let topic = site.topic();
    site.bus().publish(&to(&topic), &messages(1, 4)).await.unwrap();
    let mut create = cmd("XGROUP");
    site.connections().run::<()>(create.arg("CREATE").arg(&*topic).arg("claimed").arg("0")).await.unwrap();
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg("claimed").arg("other").arg("COUNT").arg(2).arg("STREAMS").arg(&*topic).arg(">");
    site.connections().run::<redis_client::Value>(&read).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "claimed")).await;
    let taken = take_all(&mut *consumer, 4).await;
    assert_eq!(contract::sorted(contract::numbers(&taken)), [0, 1, 2, 3]);
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_trimmed_to_its_length() {
    let site = OnRedis::with("&maxlen=100");
    let topic = site.topic();
    for _ in 0..10 {
        site.bus().publish(&to(&topic), &messages(1, 100)).await.unwrap();
    }
    let length: usize = site.connections().run(cmd("XLEN").arg(&*topic)).await.unwrap();
    // The server trims whole nodes of a hundred entries.
    assert!((100..=300).contains(&length), "{length}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_fails_and_passes() {
    let url = variable("LANTERN_TEST_REDIS_URL");
    let rest = url.strip_prefix("redis://").unwrap();
    let target = Address::read(super::NAME, rest, super::PORT).unwrap().servers();
    let proxy = Proxy::start(&target).await;
    let through = bus(&url.replace(&target, &proxy.address()), "");
    let site = OnRedis { bus: Arc::new(through), given: AtomicUsize::new(0) };
    contract::outage(&site, &proxy).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_told_from_a_wrong_password() {
    let away = bus("redis://127.0.0.1:1", "").check().await.unwrap_err();
    assert!(matches!(away, BusError::Unreachable { .. }) && away.fate() == Fate::Retry, "{away}");
    assert!(away.to_string().contains("Redis at 127.0.0.1:1"), "{away}");
    let url = variable("LANTERN_TEST_REDIS_URL");
    let server = url.rsplit_once('@').map_or(url.trim_start_matches("redis://"), |(_, server)| server);
    let wrong = bus(&format!("redis://nobody:wrong-password@{server}"), "").check().await.unwrap_err();
    assert!(matches!(wrong, BusError::Credentials { .. }), "{wrong}");
    assert!(!wrong.to_string().contains("wrong-password"), "{wrong}");
}

#[tokio::test]
async fn what_redis_does_not_have_is_refused() {
    let site = OnRedis::new();
    let right = site.subscription(&site.topic(), "wrong");
    for wrong in [
        Subscription { keeper: Keeper::Caller, ..right.clone() },
        Subscription { pattern: Some("Order.*".into()), ..right },
    ] {
        let Err(error) = site.bus().consume(&wrong).await else { panic!("{wrong:?} was taken") };
        assert_eq!(error.fate(), Fate::Stop, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_lost_its_lease_begins_anew() {
    let site = OnRedis::new();
    let topic = site.topic();
    site.bus().publish(&to(&topic), &messages(1, 3)).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "lost")).await;
    let before = take(&mut *consumer, 3).await;
    let key = format!("{topic}:lost:reader");
    site.connections().run::<()>(cmd("SET").arg(&key).arg("other").arg("PX").arg(200)).await.unwrap();
    // The other says nothing more; its lease ends, and what was not settled comes again.
    let again = take(&mut *consumer, 3).await;
    assert_eq!(delivered(&again), [0, 1, 2]);
    assert!(again.iter().all(|delivery| delivery.redelivered));
    assert!(again[0].receipt.session > before[0].receipt.session);
    consumer.settle(&[again[2].receipt]).await.unwrap();
    consumer.close().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), site.bus().check()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_is_trusted_by_its_certificate() {
    let url = variable("LANTERN_TEST_REDIS_TLS_URL");
    let address = Address::read(super::NAME, url.trim_start_matches("rediss://"), super::PORT).unwrap();
    let bus = |options: &str| Redis::open(&address, true, Options::read(super::NAME, Some(options)).unwrap()).unwrap();
    bus(&format!("ca={}", variable("LANTERN_TEST_CA"))).check().await.unwrap();
    let error = bus("").check().await.unwrap_err();
    assert!(matches!(error, BusError::Tls { .. }), "{error}");
}
