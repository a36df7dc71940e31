//! Snapshots: taken as the policy says, used where they can be, and never a reason for a command to fail.

use std::sync::atomic::Ordering;

use lantern_aggregates::{Capacity, Misses, Refusal};
use lantern_core::{Version, journal::SnapshotPolicy, module::FailureKind};

use crate::{
    account::{Account, State},
    host::{Host, every, name},
};

const STREAM: &str = "Account-1";

/// A host whose account has 25 events, every one of them by a command, and was loaded by none yet.
async fn at_25(account: &Account, policy: SnapshotPolicy) -> Host {
    let mut host = Host::start().await;
    host.deploy_with(account, policy).await.unwrap();
    for _ in 0..25 {
        host.add_to(STREAM, 2).await;
    }
    host.restart().await;
    host.log.read.store(0, Ordering::Relaxed);
    host
}

/// Sends a command, and says how many events were read for it and what was missed.
async fn load(host: &Host) -> (u64, Misses) {
    host.add_to(STREAM, 2).await;
    assert_eq!(host.shown(STREAM, None).await.unwrap(), host.folded(STREAM).await);
    // Showing reads all there are.
    let shown = host.folded(STREAM).await.events;
    (host.log.read.load(Ordering::Relaxed) - shown, host.counters().snapshots.misses)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_n_events_one_is_taken_and_the_next_load_begins_with_it() {
    let host = at_25(&Account::new("one"), every(10)).await;
    let snapshot = host.snapshots.of(STREAM).unwrap();
    assert_eq!((snapshot.version, &snapshot.state[..], snapshot.state_version), (Version(20), &b"40,20"[..], 1));
    // The last event in the snapshot is read to see whether it is there, and those after it.
    assert_eq!(load(&host).await, (6, Misses::default()));
    assert_eq!(host.counters().snapshots.hits, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multiple_that_is_passed_counts_as_well() {
    let mut host = Host::start().await;
    host.deploy_with(&Account::new("one"), every(10)).await.unwrap();
    for _ in 0..4 {
        host.send(STREAM, "Split", 7).await.unwrap();
    }
    host.restart().await;
    assert_eq!(host.snapshots.of(STREAM).unwrap().version, Version(21));
    host.restart().await;
    for _ in 0..3 {
        host.add_to(STREAM, 1).await;
    }
    host.restart().await;
    assert_eq!(host.snapshots.of(STREAM).unwrap().version, Version(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn never_means_that_none_is_taken_or_used() {
    let host = at_25(&Account::new("one"), SnapshotPolicy::Never).await;
    assert_eq!(host.snapshots.of(STREAM), None);
    assert_eq!(load(&host).await, (25, Misses::default()));
    let refusal = host.aggregates.snapshot(&STREAM.parse().unwrap()).await;
    assert_eq!(refusal, Err(Refusal::NoSnapshots(name())));
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_means_on_demand() {
    let host = at_25(&Account::new("one"), SnapshotPolicy::Manual).await;
    assert_eq!(host.snapshots.of(STREAM), None);
    let taken = host.aggregates.snapshot(&STREAM.parse().unwrap()).await.unwrap();
    assert_eq!((taken.version, taken.bytes), (Version(25), 5));
    host.log.read.store(0, Ordering::Relaxed);
    assert_eq!(load(&host).await, (1, Misses::default()));
    let refusal = host.aggregates.snapshot(&"Account-none".parse().unwrap()).await;
    assert!(matches!(refusal, Err(Refusal::NoEvents(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_counted_unless_there_is_nothing_to_miss() {
    let host = at_25(&Account::new("one"), SnapshotPolicy::Manual).await;
    host.add_to("Account-new", 1).await;
    assert_eq!(host.counters().snapshots.misses, Misses::default());
    assert_eq!(load(&host).await, (25, Misses { missing: 1, ..Misses::default() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_form_is_replaced() {
    let mut host = at_25(&Account::new("one"), every(10)).await;
    host.aggregates.swap(&name(), host.add(&Account::new("two").state_version(2))).await.unwrap();
    host.log.read.store(0, Ordering::Relaxed);
    assert_eq!(load(&host).await, (25, Misses { schema_mismatch: 1, ..Misses::default() }));
    host.restart().await;
    let snapshot = host.snapshots.of(STREAM).unwrap();
    assert_eq!((snapshot.version, snapshot.state_version), (Version(25), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_beyond_the_stream_is_not_used() {
    let mut host = at_25(&Account::new("one"), every(10)).await;
    host.replace_log().await;
    for _ in 0..3 {
        host.outside(STREAM, "Added", 1).await;
    }
    assert_eq!(load(&host).await, (3, Misses { stale: 1, ..Misses::default() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_fails_is_passed_over() {
    let mut host = at_25(&Account::new("one"), every(10)).await;
    host.snapshots.is_failing.store(true, Ordering::Relaxed);
    assert_eq!(load(&host).await, (25, Misses { store_error: 1, ..Misses::default() }));
    let counters = host.until(|counters| counters.snapshots.failed == 1).await;
    assert_eq!(counters.snapshots.written, 0);
    host.snapshots.is_failing.store(false, Ordering::Relaxed);
    host.restart().await;
    assert_eq!(load(&host).await.1, Misses::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_the_module_cannot_read_is_passed_over() {
    let host = at_25(&Account::new("one"), every(10)).await;
    host.snapshots.change(STREAM, |snapshot| snapshot.state = "rubbish".into());
    // The snapshot's last event and those after it, then all.
    assert_eq!(load(&host).await, (6 + 25, Misses { deserialization_error: 1, ..Misses::default() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_fails_with_a_snapshot_gets_the_events() {
    let host = at_25(&Account::new("one").refusing_snapshots(FailureKind::Trap), every(10)).await;
    assert_eq!(load(&host).await, (6 + 25, Misses { state_restore_failed: 1, ..Misses::default() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_stand_still_delay_no_command() {
    let mut host = Host::with(Capacity { snapshots: 1, ..Capacity::default() }).await;
    host.deploy_with(&Account::new("one"), every(1)).await.unwrap();
    let snapshots = host.snapshots.clone();
    let gate = snapshots.gate.lock().await;
    for _ in 0..10 {
        host.add_to(STREAM, 1).await;
    }
    // Ten commands are nine turns after an event: one snapshot is being written at most, one waits.
    let dropped = host.counters().snapshots.dropped;
    assert!((7..=8).contains(&dropped), "{dropped}");
    drop(gate);
    let counters = host.until(|counters| counters.snapshots.written + dropped == 9).await;
    assert_eq!(counters.commands.accepted, 10);
    host.restart().await;
    assert_eq!(load(&host).await.1, Misses::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_is_read_in_pages_and_a_snapshot_spares_it() {
    let mut host = Host::start().await;
    host.deploy_with(&Account::new("one"), every(100)).await.unwrap();
    for _ in 0..5 {
        host.send(STREAM, "Split", 1_000).await.unwrap();
    }
    host.outside(STREAM, "Added", 1).await;
    host.restart().await;
    host.log.read.store(0, Ordering::Relaxed);
    host.add_to(STREAM, 1).await;
    // The snapshot was taken with the last command, before its own events.
    assert_eq!(host.log.read.load(Ordering::Relaxed), 1_002);
    assert_eq!(host.shown(STREAM, None).await.unwrap(), State { sum: 5_002, events: 5_002 });
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_end_with_the_deployment() {
    let host = at_25(&Account::new("one"), every(10)).await;
    let gate = host.snapshots.gate.lock().await;
    for _ in 0..10 {
        host.add_to(STREAM, 2).await;
    }
    let aggregates = host.aggregates.clone();
    let removing = tokio::spawn(async move { aggregates.remove(&name()).await });
    // One waits to be written while the aggregate is removed.
    while host.aggregates.status(&name()).is_ok() {
        tokio::task::yield_now().await;
    }
    drop(gate);
    removing.await.unwrap().unwrap();
    assert_eq!(host.snapshots.of(STREAM), None);
    host.deploy_with(&Account::new("other"), every(10)).await.unwrap();
    host.log.read.store(0, Ordering::Relaxed);
    assert_eq!(load(&host).await, (35, Misses { missing: 1, ..Misses::default() }));
}
