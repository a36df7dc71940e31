//! Kafka keeps the contract; what it says about credentials, certificates and sizes; what is no event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lantern_core::{
    Bus, BusError, Fate, Payload,
    bus::{Arrival, Lag},
};
use rdkafka::{
    config::FromClientConfig,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _},
};
use uuid::Uuid;

use super::Kafka;
use crate::{
    address::{Address, Options},
    contract::{self, Site, consume, message, messages, numbers, patiently, sorted, take, take_all, to, variable},
};

struct OnKafka {
    bus: Arc<Kafka>,
    given: AtomicUsize,
}

fn bus(authority: &str, options: &str) -> Kafka {
    let address = Address::read(super::NAME, authority, super::PORT).unwrap();
    Kafka::open(&address, Options::read(super::NAME, Some(options)).unwrap()).unwrap()
}

fn brokers() -> String {
    variable("LANTERN_TEST_KAFKA_BROKERS")
}

impl OnKafka {
    fn new() -> Self {
        Self { bus: Arc::new(bus(&brokers(), "partitions=3&session=6000")), given: AtomicUsize::new(0) }
    }

    /// Sends a record as it is.
    async fn send(&self, topic: &str, headers: OwnedHeaders, body: Option<&[u8]>) {
        self.bus.topics.ensure(&topic.into(), &self.bus.producer).await.unwrap();
        let producer = FutureProducer::<_>::from_config(&self.bus.settings.producer()).unwrap();
        let mut record = FutureRecord::to(topic).key("key").headers(headers);
        record.payload = body;
        producer.send_result(record).map_err(|(error, _)| error).unwrap().await.unwrap().unwrap();
        producer.flush(contract::PATIENCE).unwrap();
    }
}

impl Site for OnKafka {
    fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    fn topic(&self) -> Arc<str> {
        format!("test-{}-{}", Uuid::new_v4(), self.given.fetch_add(1, Ordering::Relaxed)).into()
    }

    fn has_partitions(&self) -> bool {
        true
    }

    async fn put(&self, topic: &str, kind: &str, body: &[u8]) {
        let headers = OwnedHeaders::new().insert(Header { key: "kind", value: Some(kind) });
        self.send(topic, headers, Some(body)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_keeps_the_contract() {
    contract::bus(&OnKafka::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partitions_keep_the_contract() {
    contract::partitions(&OnKafka::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_caller_stays_in_its_group() {
    let site = OnKafka::new();
    let topic = site.topic();
    site.bus().publish(&to(&topic), &messages(5, 4_000)).await.unwrap();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "slow")).await;
    let mut taken = take_all(&mut *consumer, 10).await;
    // Longer than the session and than the thread waits for the caller: the partitions are paused meanwhile.
    tokio::time::sleep(Duration::from_secs(9)).await;
    let count = taken.len();
    let rest = take_all(&mut *consumer, 4_000 - count).await;
    taken.extend(rest);
    contract::assert_in_order(&taken);
    assert_eq!(sorted(numbers(&taken)), (0..4_000).collect::<Vec<_>>());
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_moments_before_is_read_while_its_lag_is_asked_for() {
    let site = OnKafka::new();
    let topic = site.topic();
    let sent = messages(12, 600);
    let publishing = async {
        for part in sent.chunks(50) {
            site.bus().publish(&to(&topic), part).await.unwrap();
        }
    };
    let consuming = async {
        let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "new")).await;
        let (mut taken, mut lag) = (Vec::new(), Vec::new());
        while taken.len() < sent.len() || lag.iter().any(|lag: &Lag| lag.messages > 0) {
            if let Ok(arrival) = tokio::time::timeout(Duration::from_millis(300), consumer.next(20)).await
                && let Arrival::Messages(deliveries) = arrival.unwrap()
            {
                let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt).collect();
                consumer.settle(&receipts).await.unwrap();
                taken.extend(deliveries.into_iter().map(|delivery| delivery.content.unwrap()));
            }
            lag = consumer.lag().await.unwrap();
        }
        consumer.close().await.unwrap();
        taken
    };
    let (taken, ()) = tokio::join!(patiently("all messages", consuming), publishing);
    contract::assert_in_order(&taken);
    assert_eq!(sorted(numbers(&taken)), (0..600).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_any_kind_are_undecodable_and_not_in_the_way() {
    let site = OnKafka::new();
    let topic = site.topic();
    site.send(&topic, OwnedHeaders::new(), None).await;
    site.send(&topic, OwnedHeaders::new().insert(Header { key: "ce_id", value: None::<&str> }), Some(b"{}")).await;
    site.send(&topic, OwnedHeaders::new().insert(Header { key: "ce_id", value: Some(b"\xff") }), Some(b"{}")).await;
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "kinds")).await;
    let taken = take(&mut *consumer, 3).await;
    let reasons: Vec<_> = taken.into_iter().map(|delivery| delivery.content.unwrap_err().reason).collect();
    assert!(reasons[0].contains("no body at all"), "{reasons:?}");
    assert!(reasons[1].contains("`type` is missing"), "{reasons:?}");
    assert!(reasons[2].contains("`id` is no UTF-8"), "{reasons:?}");
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_is_named() {
    let site = OnKafka::new();
    let topic = site.topic();
    let mut large = message("Order-1", 0);
    large.event.data = Payload::Bytes { content_type: "text/plain".into(), data: vec![b'x'; 2_000_000].into() };
    let error = site.bus().publish(&to(&topic), &[message("Order-1", 1), large.clone()]).await.unwrap_err();
    let BusError::TooLarge { event, bytes, .. } = &error else { panic!("{error}") };
    assert_eq!((*event, *bytes, error.fate()), (large.event.id, 2_000_000, Fate::Park));
    // The producer lets more through than the broker takes.
    let lax = bus(&brokers(), "max-bytes=5000000&compression=none");
    let error = lax.publish(&to(&topic), &[large]).await.unwrap_err();
    assert!(matches!(error, BusError::TooLarge { .. }), "{error}");
    site.bus().publish(&to(&topic), &[message("Order-1", 2)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_are_away_are_told_from_wrong_credentials() {
    let away = bus("127.0.0.1:1", "");
    let error = patiently("an error", away.check()).await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }) && error.fate() == Fate::Retry, "{error}");
    assert!(error.to_string().contains("Kafka at 127.0.0.1:1"), "{error}");
    let error = patiently("an error", away.publish(&to(&"t".into()), &[message("A-1", 0)])).await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }), "{error}");
    let sasl = variable("LANTERN_TEST_KAFKA_SASL_BROKERS");
    for mechanism in ["plain", "scram-sha-256", "scram-sha-512"] {
        let wrong = bus(&format!("nobody:wrong-password@{sasl}"), &format!("sasl={mechanism}"));
        for error in [
            patiently("an error", wrong.check()).await.unwrap_err(),
            patiently("an error", wrong.publish(&to(&"t".into()), &[message("A-1", 0)])).await.unwrap_err(),
        ] {
            assert!(matches!(error, BusError::Credentials { .. }), "{mechanism}: {error}");
            assert!(!error.to_string().contains("wrong-password"), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_log_in_by_each_mechanism() {
    let sasl = variable("LANTERN_TEST_KAFKA_SASL_BROKERS");
    let (user, password) = (variable("LANTERN_TEST_KAFKA_USER"), variable("LANTERN_TEST_KAFKA_PASSWORD"));
    for mechanism in ["plain", "scram-sha-256", "scram-sha-512"] {
        let bus = bus(&format!("{user}:{password}@{sasl}"), &format!("sasl={mechanism}"));
        bus.check().await.unwrap_or_else(|error| panic!("{mechanism}: {error}"));
        assert!(!format!("{bus:?}").contains(&password));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_are_trusted_by_their_certificate() {
    let brokers = variable("LANTERN_TEST_KAFKA_TLS_BROKERS");
    let (user, password) = (variable("LANTERN_TEST_KAFKA_USER"), variable("LANTERN_TEST_KAFKA_PASSWORD"));
    let authority = format!("{user}:{password}@{brokers}");
    bus(&authority, &format!("tls=true&ca={}", variable("LANTERN_TEST_CA"))).check().await.unwrap();
    let error = patiently("an error", bus(&authority, "tls=true").check()).await.unwrap_err();
    assert!(matches!(error, BusError::Tls { .. }), "{error}");
}
