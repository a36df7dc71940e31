//! Several hosts on one database: what is deployed is spread over them and known on all; hosts are killed, frozen and
//! started again, and every read model is as if one host had made it alone.
//!
//! `LANTERN_HOSTS_EVENTS` says how many events the long test appends (8,000 unless told, 100,000 for the full size), and
//! `LANTERN_KILL_SEED` repeats a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Answer, Host, HostOptions,
    buses::{Bus, topic},
    client::Client,
    events::{amount, amounts, lines},
    guests,
    servers::Server,
    wait,
};

/// How soon a processor has to run elsewhere when its host has died.
const PROMISED: Duration = Duration::from_secs(10);

/// The projections of the long test.
const PROJECTIONS: u64 = 12;

/// Writers append at the same time, each to streams of its own.
const WRITERS: u64 = 4;

/// How many events a writer sends at once.
const BATCH: u64 = 50;

fn options(server: &Server, name: &str, lease: u64) -> HostOptions {
    HostOptions::default()
        .argument("--store")
        .argument("postgres")
        .variable("LANTERN_STORAGE_URL", server.variable("LANTERN_TEST_POSTGRES_URL"))
        .variable("LANTERN_HOSTS_NAME", name)
        .variable("LANTERN_HOSTS_LEASE_SECONDS", &lease.to_string())
}

fn start(server: &Server, name: &str, lease: u64) -> Host {
    Host::start_with(options(server, name, lease))
}

/// The hosts that live, as a host knows them: their names with what they run.
fn live(host: &Host) -> Vec<(String, BTreeSet<String>)> {
    let listed = host.cli_json(&["host", "list"]);
    let live = listed.as_array().unwrap().iter().filter(|host| host["is_live"] == true);
    let runs = |host: &Value| -> BTreeSet<String> {
        host["processors"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let mut live: Vec<_> = live.map(|host| (host["name"].as_str().unwrap().to_owned(), runs(host))).collect();
    live.sort();
    live
}

/// Waits until these hosts live, and each of them runs so many processors.
#[track_caller]
fn spread(host: &Host, wanted: &[(&str, usize)]) {
    let mut last = Vec::new();
    wait::until(&format!("the processors to be spread: {wanted:?}"), || {
        last = live(host);
        let found: Vec<_> = last.iter().map(|(name, runs)| (name.as_str(), runs.len())).collect();
        (found == wanted).then_some(())
    });
}

/// Asks until the host does not answer that it is just moving or starting.
#[track_caller]
fn settled(what: &str, ask: impl Fn() -> Answer) -> Answer {
    wait::until(what, || Some(ask()).filter(|answer| !matches!(answer.status, 502 | 503)))
}

#[test]
fn what_is_done_on_one_host_is_known_on_all() {
    let server = Server::start("postgres");
    let (a, b) = (start(&server, "a", 5), start(&server, "b", 5));
    // Pushed on one host, deployed on the other.
    let module = a.push(guests::COUNTER);
    let listed = b.cli_json(&["module", "list"]);
    assert_eq!(listed[0]["digest"], module.as_str());
    for name in ["totals", "sums"] {
        let body = json!({ "name": name, "module": module, "from": "beginning" });
        b.post("/api/v1/projections", &body).ok();
    }
    spread(&a, &[("a", 1), ("b", 1)]);
    let appended = a.append(&amounts(0, 100, 5));
    let position = appended["events"].as_array().unwrap().last().unwrap()["position"].as_u64().unwrap();
    for host in [&a, &b] {
        let names: Vec<Value> = host.cli_json(&["projection", "list"]).as_array().unwrap().clone();
        let hosts: BTreeSet<_> = names.iter().map(|status| status["host"].as_str().unwrap()).collect();
        assert_eq!((names.len(), hosts), (2, BTreeSet::from(["a", "b"])));
        for name in ["totals", "sums"] {
            // Whoever runs it, what was appended is seen.
            let path = format!("/api/v1/projections/{name}/documents/counts/Item-0?min_position={position}");
            let document = settled("the newest document", || host.get(&path)).ok();
            assert_eq!(document["value"]["count"], 20);
            assert!(document["position"].as_u64() >= Some(position));
            host.wait(name);
            assert_eq!(host.number(name, "handled"), 100);
        }
    }
    assert_eq!(a.digest("totals"), b.digest("totals"));

    // Each of them obeys on either host.
    for (host, other) in [(&a, &b), (&b, &a)] {
        for name in ["totals", "sums"] {
            host.command(name, "pause").ok();
            other.wait_until(name, "to be paused", |status| status["state"] == "paused");
            other.command(name, "resume").ok();
            host.wait_until(name, "to be live", |status| status["state"] == "live");
        }
    }
    let generation = a.rebuild("totals")["generation"].clone();
    assert_eq!((b.number("totals", "generation"), generation), (2, json!(2)));
    assert_eq!(a.digest("totals"), b.digest("totals"));
    assert_eq!(b.delete("/api/v1/projections/sums").status, 204);
    wait::until("the removal to be known", || (a.get("/api/v1/projections/sums").status == 404).then_some(()));
}

#[test]
fn the_processors_of_a_dead_host_run_elsewhere_within_ten_seconds() {
    let server = Server::start("postgres");
    let (mut a, b) = (start(&server, "a", 5), start(&server, "b", 5));
    for n in 0..6 {
        a.deploy(&format!("totals-{n}"), guests::COUNTER);
    }
    spread(&b, &[("a", 3), ("b", 3)]);
    b.append(&amounts(0, 100, 5));
    a.kill();
    let died = Instant::now();
    b.append(&amounts(100, 100, 5));
    let runs_all = || b.metric("subscription_lag", &[]).is_some() && b.metric("lantern_leases", &[]) == Some(6.0);
    wait::until("the other host to have them all", || runs_all().then_some(()));
    for n in 0..6 {
        settled("the projection to catch up", || b.get(&format!("/api/v1/projections/totals-{n}/wait"))).ok();
    }
    let took = died.elapsed();
    println!("moved and caught up {} ms after the death", took.as_millis());
    assert!(took < PROMISED, "it took {took:?}");
    for n in 0..6 {
        assert_eq!(b.number(&format!("totals-{n}"), "handled"), 200);
    }
    a.restart();
    spread(&a, &[("a", 3), ("b", 3)]);
}

/// Which host runs each route, as a host knows it.
fn owners(host: &Host) -> BTreeMap<String, String> {
    let listed = host.get("/api/v1/routes").ok();
    let owner = |route: &Value| Some((route["name"].as_str()?.to_owned(), route["host"].as_str()?.to_owned()));
    listed["routes"].as_array().unwrap().iter().filter_map(owner).collect()
}

/// Asks for a route until whoever runs it has answered.
#[track_caller]
fn route(host: &Host, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait::until(&format!("route `{name}` to be {what}"), || {
        let answer = host.get(&format!("/api/v1/routes/{name}"));
        Some(answer).filter(|answer| answer.status == 200).map(|answer| answer.json()).filter(&is)
    })
}

#[test]
fn routes_are_spread_and_those_of_a_dead_host_run_elsewhere_within_ten_seconds() {
    let server = Server::start("postgres");
    // What one route publishes the other one takes in: the log has it already, so that nothing grows.
    let circuit = topic();
    let with_routes = |name| {
        let options = options(&server, name, 5).bus(&Bus::Redis.url());
        Host::start_with(options.publishing(&circuit).consuming(&circuit))
    };
    let (a, b, c) = (with_routes("a"), with_routes("b"), start(&server, "c", 5));
    let spread = |owners: &BTreeMap<String, String>| {
        let hosts: BTreeSet<_> = owners.values().map(String::as_str).collect();
        owners.len() == 2 && hosts == BTreeSet::from(["a", "b"])
    };
    let owners = wait::until("the routes to be spread over the hosts that have them", || {
        Some(owners(&a)).filter(|owners| spread(owners))
    });
    a.append(&amounts(0, 100, 5));
    for host in [&a, &b, &c] {
        // Whoever runs it, and whether or not the host has it itself.
        for (name, owner) in &owners {
            let status = route(host, name, "live", |status| status["state"] == "live" && status["lag"] == 0);
            assert_eq!(status["host"], owner.as_str());
        }
    }
    route(&a, "in", "done", |status| status["messages"] == 100);

    // A route that is paused stays so when it moves; the other host takes both.
    let mut hosts = BTreeMap::from([("a", a), ("b", b)]);
    let victim = owners["out"].as_str();
    let survivor = if victim == "a" { "b" } else { "a" };
    hosts[survivor].cli(&["bus", "pause", "out"]).ok();
    hosts.get_mut(victim).unwrap().kill();
    let died = Instant::now();
    hosts[survivor].append(&amounts(100, 100, 5));
    let moved = route(&hosts[survivor], "out", "moved", |status| status["host"] == survivor);
    let took = died.elapsed();
    println!("moved {} ms after the death", took.as_millis());
    assert!(took < PROMISED, "it took {took:?}");
    route(&c, "out", "paused", |status| status["state"] == "paused");
    assert_eq!(moved["position"], 100);
    c.cli(&["bus", "resume", "out"]).ok();
    route(&c, "out", "done", |status| status["lag"] == 0 && status["state"] == "live");
    route(&c, "in", "done", |status| status["messages"].as_u64() >= Some(100) && status["lag"] == 0);
    assert_eq!(c.head(), 200, "what came back was there already");

    hosts.get_mut(victim).unwrap().restart();
    wait::until("the routes to be spread again", || Some(self::owners(&c)).filter(|owners| spread(owners)));
}

#[test]
fn a_host_that_was_frozen_past_its_lease_writes_nothing_when_it_wakes() {
    let server = Server::start("postgres");
    let (a, b) = (start(&server, "a", 2), start(&server, "b", 2));
    for n in 0..4 {
        a.deploy(&format!("totals-{n}"), guests::COUNTER);
    }
    spread(&b, &[("a", 2), ("b", 2)]);
    let mut events = 0;
    for round in 0..3 {
        // Frozen while it works.
        b.append(&amounts(events, 200, 5));
        a.signal("STOP");
        events += 200;
        b.append(&amounts(events, 200, 5));
        events += 200;
        spread(&b, &[("b", 4)]);
        for n in 0..4 {
            let path = format!("/api/v1/projections/totals-{n}/wait");
            settled("the projection to catch up", || b.get(&path)).ok();
        }
        let before: Vec<String> = (0..4).map(|n| b.digest(&format!("totals-{n}"))).collect();
        a.signal("CONT");
        // It comes back and takes its share again, so whatever it was about to write has been written or refused.
        spread(&b, &[("a", 2), ("b", 2)]);
        for (n, before) in before.iter().enumerate() {
            let name = format!("totals-{n}");
            settled("the projection to catch up", || b.get(&format!("/api/v1/projections/{name}/wait"))).ok();
            assert_eq!(b.digest(&name), *before, "round {round}: nothing was appended meanwhile");
            assert_eq!(a.number(&name, "handled"), events, "round {round}: every event was handled once");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Appends a writer's events through whatever host answers, each batch until it is acknowledged.
fn write(writer: u64, events: u64, clients: &[std::sync::RwLock<Client>], appended: &AtomicU64) {
    let (first, mut at) = (writer << 32, 0);
    let mut turn = writer as usize;
    while at < events {
        let upto = (at + BATCH).min(events);
        let batch: Vec<Value> =
            (at..upto).map(|n| amount(first + n, &format!("Item-{writer}.{}.{}", n / 1_000, n % 7))).collect();
        let client = clients[turn % clients.len()].read().unwrap().clone();
        let headers = [("content-type", "application/x-ndjson")];
        match client.send("POST", "/api/v1/events", &headers, lines(&batch).as_bytes()) {
            Ok(answer) if answer.status == 200 || answer.status == 201 => {
                appended.fetch_add(upto - at, Ordering::Relaxed);
                at = upto;
            }
            // It is dead, frozen or starting: another one may answer. The ids stay the same.
            _ => turn += 1,
        }
    }
}

#[test]
fn hosts_that_are_killed_frozen_and_restarted_make_what_one_host_makes() {
    let events = number("LANTERN_HOSTS_EVENTS").unwrap_or(8_000) / WRITERS;
    let seed = number("LANTERN_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LANTERN_KILL_SEED={seed} LANTERN_HOSTS_EVENTS={}", events * WRITERS);
    let mut random = fastrand::Rng::with_seed(seed);
    let server = Server::start("postgres");
    let mut hosts: Vec<Host> = ["a", "b", "c"].iter().map(|name| start(&server, name, 2)).collect();
    let packages = [guests::COUNTER, guests::CLOCKWORK, guests::MENDED];
    let names: Vec<(String, &str)> =
        (0..PROJECTIONS).map(|n| (format!("p-{n}"), packages[n as usize % packages.len()])).collect();
    for (name, package) in &names {
        hosts[0].deploy(name, package);
    }
    spread(&hosts[0], &[("a", 4), ("b", 4), ("c", 4)]);

    let clients: Vec<_> = hosts.iter().map(|host| std::sync::RwLock::new(host.client())).collect();
    let (appended, mut troubles) = (AtomicU64::new(0), 0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (clients, appended) = (&clients, &appended);
                scope.spawn(move || write(writer, events, clients, appended))
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) || troubles < 6 {
            let victim = random.usize(..hosts.len());
            if random.bool() {
                hosts[victim].kill();
                thread::sleep(Duration::from_millis(random.u64(0..4_000)));
                hosts[victim].restart();
                *clients[victim].write().unwrap() = hosts[victim].client();
            } else {
                hosts[victim].signal("STOP");
                thread::sleep(Duration::from_millis(random.u64(0..6_000)));
                hosts[victim].signal("CONT");
            }
            troubles += 1;
            thread::sleep(Duration::from_millis(random.u64(0..2_000)));
        }
    });
    println!("{} events and {troubles} troubles", appended.load(Ordering::Relaxed));
    assert_eq!(appended.load(Ordering::Relaxed), events * WRITERS);

    // Nothing needs a command to go on.
    for (name, _) in &names {
        settled("the projection to catch up", || hosts[1].get(&format!("/api/v1/projections/{name}/wait?timeout=60")))
            .ok();
    }
    let alone = Host::start();
    alone.cli_with_input(&["event", "import", "-"], hosts[2].exported().as_bytes()).ok();
    for (name, package) in &names {
        alone.deploy(name, package);
        alone.wait(name);
        let status = hosts[0].status(name);
        assert_eq!(status["parked_events"], 0, "{status}");
        assert_eq!(status["handled"], alone.number(name, "handled"), "`{name}` handled every event once");
        assert_eq!(hosts[0].digest(name), alone.digest(name), "`{name}` differs from a run on one host: {status}");
    }
}
