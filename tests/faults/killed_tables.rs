//! `kill -9` at random moments while a projection writes SQL tables: they equal a fold of the log after each restart.
//!
//! `LANTERN_KILL_SEED` repeats a run.

use std::{thread, time::Duration};

use crate::support::{Host, client::Client, events::lines, guests, ledger::postings};

const ROUNDS: u64 = 10;

/// Appends postings for as long as the host answers. A batch without answer is sent again in the next round.
fn append_until_the_host_is_gone(client: &Client, next: &mut u64, random: &mut fastrand::Rng) {
    loop {
        let batch = postings(*next, 40);
        let headers = [("content-type", "application/x-ndjson")];
        let Ok(answer) = client.send("POST", "/api/v1/events", &headers, lines(&batch).as_bytes()) else { return };
        answer.ok();
        *next += 40;
        if random.u8(0..10) == 0 {
            thread::yield_now();
        }
    }
}

#[test]
fn tables_survive_kill_9_with_every_posting_once() {
    let seed = std::env::var("LANTERN_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("LANTERN_KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let mut host = Host::start();
    host.deploy("ledger", guests::BOOKKEEPER);
    let mut next = 0;
    for _ in 0..ROUNDS {
        let (client, moment) = (host.client(), Duration::from_millis(random.u64(20..300)));
        thread::scope(|scope| {
            let (next, mut random) = (&mut next, random.fork());
            scope.spawn(move || append_until_the_host_is_gone(&client, next, &mut random));
            thread::sleep(moment);
            host.kill();
        });
        host.restart();
        host.wait("ledger");
        host.check_ledger("ledger", &[]);
    }
    assert!(next > 0, "nothing was appended");
    let digest = host.digest("ledger");
    host.rebuild("ledger");
    assert_eq!(host.digest("ledger"), digest, "a clean fold is the same");
}
