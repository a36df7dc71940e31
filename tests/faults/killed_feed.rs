//! `kill -9` of a host whose projection reads Kafka straight, and of the broker: every message is applied once.
//!
//! `LANTERN_KILL_ROUNDS` says how often the host is killed (3 unless told).

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use crate::support::{Host, HostOptions, buses::Bus, events::amount, guests, servers::Server, wait};

/// The projection and the route that feeds it.
const SEEN: &str = "seen";
const ROUTE: &str = "in";

/// How many streams there are.
const STREAMS: u64 = 7;

/// A group waits for a member that was killed until its session is over.
const PATIENCE: Duration = Duration::from_secs(120);

/// Publishes so many events more.
fn append(publisher: &Host, published: &mut u64, count: u64) {
    let next = *published..*published + count;
    let events: Vec<_> = next.map(|n| amount(n, &format!("Item-{}", n % STREAMS))).collect();
    publisher.append(&events);
    *published += count;
}

/// The same, and waits until the broker has them.
fn publish(publisher: &Host, published: &mut u64, count: u64) {
    append(publisher, published, count);
    wait::until_within(PATIENCE, "all to be published", || {
        let status = publisher.route("out");
        (status["lag"] == 0 && status["position"] == *published).then_some(())
    });
}

/// Waits until the projection has seen all, and compares it with what was published.
fn assert_seen_once(host: &Host, published: u64) {
    let status = wait::until_within(PATIENCE, "all to be projected", || {
        let status = host.status(SEEN);
        (status["handled"] == published && status["lag"] == 0).then_some(status)
    });
    assert_eq!((&status["position"], &status["route"]), (&json!(published), &json!(ROUTE)));
    let documents = host.documents(SEEN, "counts");
    let counts: BTreeMap<_, _> =
        documents.iter().map(|(stream, seen)| (stream.as_str(), seen["count"].as_u64())).collect();
    let stream = |number| (published + STREAMS - 1 - number) / STREAMS;
    let streams: Vec<_> = (0..STREAMS).map(|number| (format!("Item-{number}"), Some(stream(number)))).collect();
    let expected: BTreeMap<_, _> = streams.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts, expected);
    let mut positions: Vec<u64> = Vec::new();
    for seen in documents.values() {
        let of_stream: Vec<u64> = seen["positions"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
        assert!(of_stream.is_sorted(), "{of_stream:?}");
        positions.extend(of_stream);
    }
    positions.sort_unstable();
    assert!(positions.iter().copied().eq(1..=published), "each message has a position of its own");
}

#[test]
fn a_projection_fed_by_kafka_applies_every_message_once() {
    let rounds = std::env::var("LANTERN_KILL_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let mut broker = Server::start("kafka");
    let url = format!("{}?partitions=3&session=6000", Bus::Kafka.url_at(&broker));
    let publisher = Host::start_with(HostOptions::default().bus(&url).publishing("items"));
    let reading = HostOptions::default().bus(&url).consuming("items");
    let mut host = Host::start_with(reading.variable("LANTERN_CONSUME_IN_PROJECTION", SEEN));
    assert_eq!(host.route(ROUTE)["state"], "unknown");
    host.deploy(SEEN, guests::MENDED);
    let refused = host.command(SEEN, "rebuild").problem(409, "no-rebuild");
    assert!(refused["detail"].as_str().unwrap().contains("deploy it again"), "{refused}");

    let mut published = 0;
    for round in 0..rounds {
        let amid = published + fastrand::u64(..500);
        append(&publisher, &mut published, 500);
        wait::until_within(PATIENCE, "some to be projected", || (host.number(SEEN, "handled") >= amid).then_some(()));
        host.kill();
        publish(&publisher, &mut published, 200 + round);
        host.restart();
    }
    assert_seen_once(&host, published);
    assert_eq!(host.head(), 0, "nothing went into the log");
    let lag = || host.route(ROUTE)["partitions"].as_array().unwrap().len();
    assert_eq!(wait::until_within(PATIENCE, "the partitions", || (lag() == 3).then_some(3)), 3);

    broker.kill();
    wait::until_within(PATIENCE, "the outage to show", || (host.status(SEEN)["state"] == "error").then_some(()));
    broker.start_again();
    publish(&publisher, &mut published, 300);
    assert_seen_once(&host, published);
    let status = wait::until_within(PATIENCE, "the outage to be over", || {
        Some(host.status(SEEN)).filter(|status| status["state"] == "live" && status["last_error"].is_null())
    });
    assert_eq!(status["parked_events"], 0);
    let shown = host.cli(&["bus", "status", ROUTE]);
    assert!(shown.ok().contains("projection seen"), "{}", shown.ok());
}
