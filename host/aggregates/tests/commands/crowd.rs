//! Many clients at once: no update is lost, nobody waits for ever.

use std::collections::BTreeMap;

use lantern_core::Version;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    account::{Account, State},
    host::{Host, bounded, command, every, name},
};

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_on_ten_streams_lose_nothing() {
    let host = Host::start().await;
    host.deploy_with(&Account::new("one"), every(50)).await.unwrap();
    // A second host on the same log makes real conflicts.
    let other = host.other().await;
    let mut clients = JoinSet::new();
    for client in 0..64_u64 {
        let aggregates = if client % 8 == 0 { other.clone() } else { host.aggregates.clone() };
        clients.spawn(async move {
            let mut appended: BTreeMap<String, Vec<(Version, i64)>> = BTreeMap::new();
            for round in 0..50 {
                let stream = format!("Account-{}", (client + round) % 10);
                let (command_type, amount) = if round % 3 == 2 { ("Take", 3) } else { ("Add", 2) };
                let command = command(Uuid::now_v7(), &stream, command_type, amount);
                let Ok(answer) = aggregates.send(command, None).await else { continue };
                let change = if command_type == "Add" { 2 } else { -3 };
                appended.entry(stream).or_default().push((answer.version, change));
            }
            appended
        });
    }
    let mut acknowledged: BTreeMap<String, Vec<(Version, i64)>> = BTreeMap::new();
    for appended in bounded(clients.join_all()).await {
        for (stream, mut events) in appended {
            acknowledged.entry(stream).or_default().append(&mut events);
        }
    }
    for (stream, mut events) in acknowledged {
        events.sort_unstable();
        let versions: Vec<u64> = events.iter().map(|(version, _)| version.0).collect();
        assert_eq!(versions, Vec::from_iter(1..=events.len() as u64), "{stream}: each command has its own event");
        let sum = events.iter().map(|(_, change)| change).sum::<i64>();
        let expected = State { sum: u64::try_from(sum).unwrap(), events: events.len() as u64 };
        assert_eq!(host.folded(&stream).await, expected, "{stream}");
        assert_eq!(host.shown(&stream, None).await.unwrap(), expected, "{stream}");
    }
    let counters = host.counters();
    let others = other.status(&name()).unwrap().counters;
    let sent = |counters: lantern_aggregates::Counters| {
        let commands = counters.commands;
        assert_eq!((commands.failed, commands.busy, commands.repeated), (0, 0, 0));
        commands.accepted + commands.rejected + commands.conflict
    };
    assert_eq!(sent(counters) + sent(others), 64 * 50);
    assert_eq!((counters.loaded, counters.loaded_bytes), (10, 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_given_up_leaves_its_stream_usable() {
    let host = Host::start().await;
    host.deploy(&Account::new("one")).await;
    for round in 0..200_u64 {
        let sent = host.aggregates.send_fresh(command(Uuid::now_v7(), "Account-1", "Add", 1), None);
        // Polled a few times, then dropped, as when a client goes away.
        let mut sent = Box::pin(sent);
        for _ in 0..=round % 4 {
            tokio::select! {
                biased;
                _ = &mut sent => break,
                () = tokio::task::yield_now() => {}
            }
        }
    }
    let answer = bounded(host.add_to("Account-1", 1)).await;
    assert_eq!(answer.version.0, host.events("Account-1").await.len() as u64);
    let counters = host.until(|counters| counters.loaded == 1).await;
    assert_eq!(counters.loaded_bytes, 100);
}
