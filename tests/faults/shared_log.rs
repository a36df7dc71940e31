//! Several hosts on one log in PostgreSQL: hosts and the server are killed, and the log stays dense and complete.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Host, HostOptions, cli,
    client::Client,
    events::{amount, id, lines},
    servers::Server,
    wait,
};

const HOSTS: u64 = 8;
const EVENTS: u64 = 60;

pub(super) fn on(url: &str) -> HostOptions {
    HostOptions::default().argument("--store").argument("postgres").variable("LANTERN_STORAGE_URL", url)
}

pub(super) fn url(server: &Server) -> &str {
    server.variable("LANTERN_TEST_POSTGRES_URL")
}

/// Appends events one by one, each until it is acknowledged or the host is meant to be dead; where they were said to be.
fn append(client: &Client, first: u64, dead: &AtomicBool) -> BTreeMap<String, u64> {
    let mut places = BTreeMap::new();
    for number in first..first + EVENTS {
        let body = amount(number, &format!("Item-{}", number % 5)).to_string();
        let headers = [("content-type", "application/cloudevents+json")];
        while !dead.load(Ordering::Relaxed) {
            let Ok(answer) = client.send("POST", "/api/v1/events", &headers, body.as_bytes()) else { continue };
            if answer.status == 503 {
                continue;
            }
            places.insert(id(number), answer.ok()["events"][0]["position"].as_u64().unwrap());
            break;
        }
    }
    places
}

#[test]
fn eight_hosts_append_to_one_log_while_one_of_them_and_the_server_are_killed() {
    let mut server = Server::start("postgres");
    let mut hosts: Vec<Host> = (0..HOSTS).map(|_| Host::start_with(on(url(&server)))).collect();
    let (mut doomed, alive, dead) = (hosts.remove(0), AtomicBool::new(false), AtomicBool::new(false));
    let acknowledged: BTreeMap<String, u64> = thread::scope(|scope| {
        let clients = hosts.iter().map(|host| (host.client(), &alive)).chain([(doomed.client(), &dead)]);
        let writers: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, (client, dead))| scope.spawn(move || append(&client, number * EVENTS, dead)))
            .collect();
        wait::until("the log to grow", || (hosts[0].head() >= 40).then_some(()));
        doomed.kill();
        dead.store(true, Ordering::Relaxed);
        wait::until("the log to grow without the host", || (hosts[0].head() >= 120).then_some(()));
        server.kill();
        server.start_again();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(acknowledged.len() as u64 >= (HOSTS - 1) * EVENTS);

    let head = hosts.iter().map(Host::head).max().unwrap();
    for host in &hosts {
        wait::until("every host to see all of the log", || (host.head() >= head).then_some(()));
        let listed = host.get("/api/v1/events?limit=1000").ok();
        let listed: &Vec<Value> = listed["events"].as_array().unwrap();
        let mut versions = BTreeMap::<String, u64>::new();
        for (position, event) in (1..).zip(listed) {
            assert_eq!(event["position"], position, "positions are dense");
            let version = versions.entry(event["subject"].to_string()).or_default();
            *version += 1;
            assert_eq!(event["streamversion"], *version, "versions are dense, in the order of positions");
        }
        let found: BTreeMap<String, u64> = listed
            .iter()
            .map(|event| (event["id"].as_str().unwrap().to_owned(), event["position"].as_u64().unwrap()))
            .collect();
        assert_eq!(found.len(), listed.len(), "no event is there twice");
        for (id, position) in &acknowledged {
            assert_eq!(found.get(id), Some(position), "event {id} is where it was said to be");
        }
    }
}

/// What a host says that does not start with a database.
fn refused(url: &str) -> String {
    let folder = TempDir::new().unwrap();
    let data = folder.path().to_str().unwrap();
    let ran = cli::run(&["serve", "--listen", "127.0.0.1:0", "--data", data, "--store", "postgres", "--url", url]);
    ran.failed(1).to_owned()
}

#[test]
fn a_host_without_its_database_says_so_and_keeps_the_password_to_itself() {
    let server = Server::start("postgres");
    let (start, place) = url(&server).rsplit_once('@').unwrap();
    let (user, _) = start.rsplit_once(':').unwrap();
    let wrong = format!("{user}:open-sesame@{place}");
    let said = refused(&wrong);
    assert!(said.contains("the database cannot be opened") && said.contains("password"), "{said}");
    assert!(!said.contains("open-sesame"), "{said}");
    server.kill();
    let said = refused(&wrong);
    assert!(said.contains("refused") && !said.contains("open-sesame"), "{said}");
}

#[test]
fn a_log_in_postgres_is_there_after_a_restart() {
    let server = Server::start("postgres");
    let mut host = Host::start_with(on(url(&server)));
    host.append(&[amount(1, "Item-a"), amount(2, "Item-b")]);
    let exported = host.exported();
    assert_eq!(exported.lines().count(), 2);
    host.restart();
    assert_eq!(host.exported(), exported);
    // What was exported can be imported again, and is there already.
    host.cli_with_input(&["event", "import", "-"], lines(&[amount(1, "Item-a")]).as_bytes());
    assert_eq!(host.head(), 2);
}
