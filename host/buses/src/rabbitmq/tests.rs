//! RabbitMQ keeps the contract with both kinds of queue, and survives what happens to a connection.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use lantern_core::{Bus, BusError, Fate, Message, Subscription, bus::Form};
use lapin::{
    BasicProperties, Channel,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use uuid::Uuid;

use super::{RabbitMq, binding};
use crate::{
    address::{Address, Options},
    contract::{
        self, Site, consume, delivered, full, message, messages, numbers, patiently, some, take, take_all, to, variable,
    },
    proxy::Proxy,
    reading::Reading,
};

struct OnRabbit {
    bus: Arc<RabbitMq>,
    given: AtomicUsize,
}

fn bus(url: &str, options: &str) -> RabbitMq {
    let (scheme, rest) = url.split_once("://").expect("a URL of RabbitMQ");
    let (tls, port) = if scheme == "amqps" { (true, super::PORTS.1) } else { (false, super::PORTS.0) };
    let address = Address::read(super::NAME, rest, port).unwrap();
    RabbitMq::open(&address, tls, Options::read(super::NAME, Some(options)).unwrap()).unwrap()
}

fn url() -> String {
    variable("LANTERN_TEST_RABBITMQ_URL")
}

impl OnRabbit {
    fn with(options: &str) -> Self {
        Self { bus: Arc::new(bus(&url(), options)), given: AtomicUsize::new(0) }
    }

    async fn channel(&self) -> Channel {
        self.bus.connections.connect("test").await.unwrap().create_channel().await.unwrap()
    }
}

impl Site for OnRabbit {
    fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    fn topic(&self) -> Arc<str> {
        format!("test-{}-{}", Uuid::new_v4(), self.given.fetch_add(1, Ordering::Relaxed)).into()
    }

    fn has_partitions(&self) -> bool {
        false
    }

    fn keeps(&self) -> bool {
        false
    }

    async fn put(&self, topic: &str, kind: &str, body: &[u8]) {
        let channel = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let headers = FieldTable::from(BTreeMap::from([("kind".into(), AMQPValue::LongString(kind.into()))]));
        let properties = BasicProperties::default().with_headers(headers);
        let options = BasicPublishOptions::default();
        let publishing = channel.basic_publish(topic.into(), "any.key".into(), options, body, properties);
        assert!(publishing.await.unwrap().await.unwrap().is_ack());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classic_queues_keep_the_contract() {
    contract::bus(&OnRabbit::with("")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quorum_queues_keep_the_contract() {
    contract::bus(&OnRabbit::with("queue=quorum")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_consumer_is_served_at_a_time() {
    let site = OnRabbit::with("");
    let topic = site.topic();
    let subscription = site.subscription(&topic, "one");
    let mut first = consume(&*site.bus(), &subscription).await;
    let mut second = consume(&*site.bus(), &subscription).await;
    for number in 0..10 {
        site.bus().publish(&to(&topic), &[message("Order-0", number)]).await.unwrap();
        tokio::select! {
            deliveries = some(&mut *first, 1) => assert_eq!(delivered(&deliveries), [number]),
            deliveries = some(&mut *second, 1) => panic!("the second has {:?}", delivered(&deliveries)),
        }
    }
    first.close().await.unwrap();
    assert_eq!(delivered(&take(&mut *second, 10).await), (0..10).collect::<Vec<_>>());
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_fails_and_passes() {
    let url = url();
    let target = Address::read(super::NAME, url.trim_start_matches("amqp://"), super::PORTS.0).unwrap().servers();
    let proxy = Proxy::start(&target).await;
    let through = bus(&url.replace(&target, &proxy.address()), "");
    contract::outage(&OnRabbit { bus: Arc::new(through), given: AtomicUsize::new(0) }, &proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_chooses_by_category_and_type() {
    let site = OnRabbit::with("");
    let topic = site.topic();
    let pattern = Some("Order.*".into());
    let subscription = Subscription { pattern, ..site.subscription(&topic, "chosen") };
    let mut consumer = consume(&*site.bus(), &subscription).await;
    site.bus()
        .publish(&to(&topic), &[message("Order-1", 0), message("Bill-1", 1), message("Order-2", 2)])
        .await
        .unwrap();
    assert_eq!(numbers(&take_all(&mut *consumer, 2).await), [0, 2]);
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rejected_lies_with_the_dead_letters() {
    let site = OnRabbit::with("");
    let topic = site.topic();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "group")).await;
    site.bus().publish(&to(&topic), &messages(1, 3)).await.unwrap();
    let taken = take(&mut *consumer, 3).await;
    consumer.reject(taken[1].receipt).await.unwrap();
    let channel = site.channel().await;
    let queue: ShortString = format!("{topic}.group.dlq").into();
    let letter = patiently("the dead letter", async {
        loop {
            if let Some(letter) = channel.basic_get(queue.clone(), BasicGetOptions::default()).await.unwrap() {
                return letter.delivery;
            }
        }
    })
    .await;
    let reading = Reading::of(&site.subscription(&topic, "group"), super::NAME).unwrap();
    assert_eq!(&binding::read(letter, &reading).unwrap(), taken[1].content.as_ref().unwrap());
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_is_made_anew() {
    let site = OnRabbit::with("");
    let topic = site.topic();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "deleted")).await;
    let queue: ShortString = format!("{topic}.deleted").into();
    site.channel().await.queue_delete(queue, QueueDeleteOptions::default()).await.unwrap();
    let error = patiently("an error", consumer.next(1)).await.unwrap_err();
    assert_eq!(error.fate(), Fate::Retry, "{error}");
    let (bus, sent) = (site.bus(), messages(1, 1));
    // It is there again at some moment; from then on, what is published arrives.
    let publishing = async {
        loop {
            bus.publish(&to(&topic), &sent).await.unwrap();
        }
    };
    tokio::select! {
        taken = take_all(&mut *consumer, 1) => assert_eq!(taken, sent),
        () = publishing => {}
    }
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_a_queue_is_an_error_when_asked_for() {
    let site = OnRabbit::with("mandatory=true");
    let topic = site.topic();
    let error = site.bus().publish(&to(&topic), &messages(1, 1)).await.unwrap_err();
    assert!(error.to_string().contains("no queue takes") && error.fate() == Fate::Retry, "{error}");
    OnRabbit::with("").bus().publish(&to(&topic), &messages(1, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overtakes_a_message_that_no_queue_takes() {
    let site = OnRabbit::with("mandatory=true");
    let topic = site.topic();
    let sent = messages(3, 40);
    let bus = site.bus();
    let publishing = async { while bus.publish(&to(&topic), &sent).await.is_err() {} };
    let consuming = async {
        // The queue is made while messages are on their way.
        let mut consumer = consume(&*bus, &site.subscription(&topic, "late")).await;
        let taken = take_all(&mut *consumer, 40).await;
        consumer.close().await.unwrap();
        taken
    };
    let (taken, ()) = tokio::join!(consuming, publishing);
    assert_eq!(taken[0], sent[0]);
    contract::assert_in_order(&taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_another_kind_is_refused() {
    let (classic, quorum) = (OnRabbit::with(""), OnRabbit::with("queue=quorum"));
    let topic = classic.topic();
    classic.begin(&topic, &["kind"]).await;
    let Err(error) = quorum.bus().consume(&quorum.subscription(&topic, "kind")).await else { panic!("it was taken") };
    assert!(matches!(error, BusError::Unsupported { .. }) && error.to_string().contains("delete it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_prefix_is_written_and_read() {
    for prefix in ["cloudEvents_", "cloudEvents:", "ce-"] {
        let site = OnRabbit::with(&format!("prefix={prefix}"));
        let (properties, _) = binding::write(&full(), Form::Binary, site.bus.settings.prefix);
        let header = format!("{prefix}traceparent");
        assert!(properties.headers().as_ref().unwrap().contains_key(&header), "{properties:?}");
        let topic = site.topic();
        let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "prefix")).await;
        let sent = [full()];
        site.bus().publish(&to(&topic), &sent).await.unwrap();
        assert_eq!(take_all(&mut *consumer, 1).await, sent);
        consumer.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_amqp_has_no_room_for_arrive() {
    let site = OnRabbit::with("");
    let topic = site.topic();
    let mut consumer = consume(&*site.bus(), &site.subscription(&topic, "long")).await;
    let mut long: Message = message(&format!("{}-1", "Category".repeat(50)), 0);
    long.event.event_type = lantern_core::EventType::new("ä".repeat(128)).unwrap();
    long.event.metadata.extra = Some(Arc::new(BTreeMap::from([("x".repeat(250), "value".to_owned())])));
    site.bus().publish(&to(&topic), std::slice::from_ref(&long)).await.unwrap();
    assert_eq!(take_all(&mut *consumer, 1).await, [long]);
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_told_from_a_wrong_password() {
    let away = bus("amqp://127.0.0.1:1", "").check().await.unwrap_err();
    assert!(matches!(away, BusError::Unreachable { .. }) && away.fate() == Fate::Retry, "{away}");
    assert!(away.to_string().contains("RabbitMQ at 127.0.0.1:1"), "{away}");
    let url = url();
    let server = url.rsplit_once('@').map_or(url.trim_start_matches("amqp://"), |(_, server)| server);
    let wrong = bus(&format!("amqp://nobody:wrong-password@{server}"), "").check().await.unwrap_err();
    assert!(matches!(wrong, BusError::Credentials { .. }), "{wrong}");
    assert!(!wrong.to_string().contains("wrong-password"), "{wrong}");
    let credentials = url.trim_start_matches("amqp://").rsplit_once('@').map_or("", |(credentials, _)| credentials);
    let host = server.split('/').next().unwrap();
    let nowhere = bus(&format!("amqp://{credentials}@{host}/no-such-host"), "").check().await.unwrap_err();
    assert!(matches!(nowhere, BusError::Forbidden { .. }), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_trusted_by_its_certificate() {
    let url = variable("LANTERN_TEST_RABBITMQ_TLS_URL");
    bus(&url, &format!("ca={}", variable("LANTERN_TEST_CA"))).check().await.unwrap();
    let error = bus(&url, "").check().await.unwrap_err();
    assert!(matches!(error, BusError::Tls { .. }), "{error}");
}
