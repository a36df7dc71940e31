//! `kill -9` at random moments while events are appended and projected, again and again.
//!
//! `LANTERN_KILL_ROUNDS` says how often (20 unless told), `LANTERN_KILL_SEED` repeats a run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    Host, cli,
    client::Client,
    events::{amount, id, lines},
    guests,
};

/// Writers append at the same time, each to streams of its own.
const WRITERS: u64 = 3;
/// Ids of different writers are this far apart.
const IDS: u64 = 1 << 32;

const PROJECTIONS: [(&str, &str); 3] =
    [("totals", guests::COUNTER), ("clock", guests::CLOCKWORK), ("seen", guests::MENDED)];

/// One writer: what it has been told is in the log, and where.
struct Writer {
    first_id: u64,
    /// How many events were acknowledged; the next append begins there, also when it was sent before.
    acknowledged: u64,
    places: HashMap<String, u64>,
    random: fastrand::Rng,
}

impl Writer {
    fn new(number: u64, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed + number);
        Self { first_id: number * IDS, acknowledged: 0, places: HashMap::new(), random }
    }

    fn next_batch(&mut self) -> Vec<Value> {
        let first = self.first_id + self.acknowledged;
        // A stream has an end, since `mended` keeps a list of all it has seen of one.
        let stream = |n: u64| format!("Item-{}.{}.{}", self.first_id / IDS, n / 1000, n % 7);
        (first..first + self.random.u64(1..100)).map(|n| amount(n, &stream(n))).collect()
    }

    /// Appends until the host does not answer any more.
    fn append_until_the_host_is_gone(&mut self, client: &Client, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            let batch = self.next_batch();
            let headers = [("content-type", "application/x-ndjson")];
            let Ok(answer) = client.send("POST", "/api/v1/events", &headers, lines(&batch).as_bytes()) else { return };
            for place in answer.ok()["events"].as_array().unwrap() {
                let (id, position) = (place["id"].as_str().unwrap().to_owned(), place["position"].as_u64().unwrap());
                self.places.insert(id, position);
            }
            self.acknowledged += batch.len() as u64;
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_handled_twice() {
    let rounds = number("LANTERN_KILL_ROUNDS").unwrap_or(20);
    let seed = number("LANTERN_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LANTERN_KILL_SEED={seed} LANTERN_KILL_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);

    let mut host = Host::start();
    for (name, guest) in PROJECTIONS {
        host.deploy(name, guest);
    }
    let mut writers: Vec<_> = (0..WRITERS).map(|number| Writer::new(number, seed)).collect();
    for _ in 0..rounds {
        one_round(&mut host, &mut writers, &mut random);
        if random.u8(..) < 64 {
            kill_while_starting(&host, &mut random);
        }
        host.restart();
    }

    // The host has gone on by itself after every restart: no command was needed to get here.
    for (name, _) in PROJECTIONS {
        host.wait(name);
    }
    check_log(&host, &writers);
    check_against_a_clean_run(&host);
}

/// Writers append and projections work until the host is killed.
fn one_round(host: &mut Host, writers: &mut [Writer], random: &mut fastrand::Rng) {
    let (ended, client) = (AtomicBool::new(false), host.client());
    let moment = Duration::from_millis(random.u64(1..400));
    // Some rounds are killed in the middle of a rebuild.
    let rebuild = random.u8(..) < 50;
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for writer in writers {
            let (ended, client, failures) = (&ended, client.clone(), &failures);
            scope.spawn(move || {
                let work = std::panic::AssertUnwindSafe(|| writer.append_until_the_host_is_gone(&client, ended));
                if let Err(failure) = std::panic::catch_unwind(work) {
                    failures.lock().unwrap().push(failure);
                }
            });
        }
        if rebuild {
            // The answer may be lost with the host.
            let _ = client.send("POST", "/api/v1/projections/totals/rebuild", &[], b"{}");
        }
        thread::sleep(moment);
        host.kill();
        ended.store(true, Ordering::Relaxed);
    });
    if let Some(failure) = failures.into_inner().unwrap().pop() {
        std::panic::resume_unwind(failure);
    }
}

/// A crash while the host opens its files.
fn kill_while_starting(host: &Host, random: &mut fastrand::Rng) {
    let mut command = cli::lantern();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(host.data());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    thread::sleep(Duration::from_millis(random.u64(0..100)));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Every acknowledged event is where it was said to be, positions are 1..n, and every writer's events are in its order.
fn check_log(host: &Host, writers: &[Writer]) {
    let mut positions = HashMap::new();
    let mut after = 0;
    loop {
        let page = host.get(&format!("/api/v1/events?after={after}&limit=1000")).ok();
        let end = page["end"].as_u64().unwrap();
        for event in page["events"].as_array().unwrap() {
            after += 1;
            assert_eq!(event["position"], after, "the log has a hole");
            let twice = positions.insert(event["id"].as_str().unwrap().to_owned(), after);
            assert_eq!(twice, None, "an event is in the log twice");
        }
        assert_eq!(after, end, "a page without filter ends at its last event");
        if after == host.head() {
            break;
        }
    }
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    println!("{acknowledged} events were acknowledged, {after} are in the log");
    assert!(acknowledged > 0, "no append came through");
    for writer in writers {
        for (id, position) in &writer.places {
            assert_eq!(positions.get(id), Some(position), "acknowledged event {id}");
        }
        let in_order: Vec<_> = (0..writer.acknowledged).map(|n| positions[&id(writer.first_id + n)]).collect();
        assert!(in_order.is_sorted(), "a writer's events are not in its order");
    }
}

fn check_against_a_clean_run(host: &Host) {
    let clean = Host::start();
    clean.cli_with_input(&["event", "import", "-"], host.exported().as_bytes()).ok();
    for (name, guest) in PROJECTIONS {
        clean.deploy(name, guest);
        clean.wait(name);
        let (status, digest) = (host.status(name), host.digest(name));
        assert_eq!(status["parked_events"], 0, "{status}");
        assert_eq!(digest, clean.digest(name), "`{name}` differs from a clean run: {status}");
    }
    // What the digest says in one number can be counted, too.
    let sum = |documents: BTreeMap<String, Value>| -> u64 {
        documents.values().map(|count| count["count"].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(host.documents("totals", "counts")), host.head());
}
