//! `kill -9` of the host that publishes, the host that consumes, the broker between them and the databases of both, in
//! random order.
//!
//! `LANTERN_KILL_ROUNDS` says how often (5 unless told, 50 for the full size), `LANTERN_KILL_SEED` repeats a run.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::support::{
    Host, HostOptions,
    buses::{Bus, topic},
    events::amounts,
    guests,
    servers::Server,
    wait,
};

/// Long enough for servers that start again, each of them more than once.
const PATIENCE: Duration = Duration::from_secs(180);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// A host with its log and read models in a database of its own, on a bus.
fn options(database: &Server, bus: &str) -> HostOptions {
    HostOptions::default()
        .argument("--store")
        .argument("postgres")
        .variable("LANTERN_STORAGE_URL", database.variable("LANTERN_TEST_POSTGRES_URL"))
        .bus(bus)
}

/// Appends to a host that may have lost its database just now.
fn append(host: &Host, events: &[Value]) {
    let (headers, body) = ([("content-type", "application/cloudevents-batch+json")], Value::from(events).to_string());
    let taken = wait::until("the events to be taken", || {
        Some(host.send("POST", "/api/v1/events", &headers, body.as_bytes())).filter(|answer| answer.status != 503)
    });
    taken.ok();
}

/// Kills a host and starts it again at once.
fn kill_and_start(host: &mut Host) {
    host.kill();
    host.restart();
}

fn everything_arrives_once(bus: Bus) {
    let rounds = number("LANTERN_KILL_ROUNDS").unwrap_or(5);
    let seed = number("LANTERN_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LANTERN_KILL_SEED={seed} LANTERN_KILL_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut broker = Server::start(bus.server());
    let (mut left, mut right) = (Server::start("postgres"), Server::start("postgres"));
    let (url, topic) = (bus.url_at(&broker), topic());
    let mut from = Host::start_with(options(&left, &url).publishing(&topic));
    let mut to = Host::start_with(options(&right, &url).consuming(&topic));
    to.deploy("totals", guests::COUNTER);
    let mut appended = 0;
    let mut more = |from: &Host, count: u64| {
        append(from, &amounts(appended + 1, count, 7));
        appended += count;
        appended
    };
    // Whoever dies in which round is drawn, but nobody is spared for long.
    let mut order: Vec<u8> = Vec::new();
    for _ in 0..rounds {
        if order.is_empty() {
            order.extend(0..5);
            random.shuffle(&mut order);
        }
        more(&from, random.u64(50..400));
        thread::sleep(Duration::from_millis(random.u64(0..300)));
        match order.pop() {
            Some(0) => kill_and_start(&mut from),
            Some(1) => kill_and_start(&mut to),
            Some(2) => {
                broker.kill();
                more(&from, 20);
                broker.start_again();
            }
            Some(3) => {
                left.kill();
                left.start_again();
            }
            _ => {
                right.kill();
                more(&from, 20);
                right.start_again();
            }
        }
    }
    let appended = more(&from, 1);
    // Nobody tells them to go on.
    wait::until_within(PATIENCE, &format!("all {appended} events to arrive"), || {
        let answer = to.get("/api/v1/log");
        (answer.status == 200 && answer.json()["head"].as_u64() >= Some(appended)).then_some(())
    });
    for (host, route) in [(&from, "out"), (&to, "in")] {
        host.wait_for_route(route, "done", |status| status["lag"] == 0 && status["dead_letters"] == 0);
    }
    assert_eq!(to.head(), appended, "something is in the log twice");
    assert_eq!(to.streams(), from.streams());
    to.wait("totals");
    from.deploy("totals", guests::COUNTER);
    from.wait("totals");
    assert_eq!(to.digest("totals"), from.digest("totals"), "the read model is no clean fold");
}

#[test]
fn everything_arrives_once_through_redis_whoever_dies() {
    everything_arrives_once(Bus::Redis);
}

#[test]
fn everything_arrives_once_through_rabbitmq_whoever_dies() {
    everything_arrives_once(Bus::RabbitMq);
}

#[test]
fn everything_arrives_once_through_kafka_whoever_dies() {
    everything_arrives_once(Bus::Kafka);
}
