//! What stays loaded: bounded by count and by bytes, the least recently used go first, those in use never.

use std::sync::{atomic::Ordering, mpsc};

use lantern_aggregates::{Capacity, CommandError, Crowd};

use crate::{
    account::Account,
    host::{Host, bounded, command},
};

/// Whether an account is loaded: a command to one that is reads no events.
async fn is_loaded(host: &Host, number: u64) -> bool {
    let before = host.log.read.load(Ordering::Relaxed);
    host.send(&format!("Account-{number}"), "Rest", 0).await.unwrap();
    host.log.read.load(Ordering::Relaxed) == before
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_recently_used_are_dropped_by_count() {
    let host = Host::with(Capacity { loaded: 2, ..Capacity::default() }).await;
    let account = Account::new("one");
    let living = account.living();
    host.deploy(&account).await;
    for number in 0..4 {
        host.add_to(&format!("Account-{number}"), 1).await;
        host.add_to("Account-1", 1).await;
    }
    assert_eq!(host.counters().loaded, 2);
    assert!(is_loaded(&host, 3).await && is_loaded(&host, 1).await);
    assert!(!is_loaded(&host, 2).await);
    bounded(async {
        while living.load(Ordering::Relaxed) != 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_recently_used_are_dropped_by_bytes() {
    let host = Host::with(Capacity { bytes: 250, ..Capacity::default() }).await;
    host.deploy(&Account::new("one").of_size(100)).await;
    for number in 0..4 {
        host.add_to(&format!("Account-{number}"), 1).await;
    }
    let counters = host.counters();
    assert_eq!((counters.loaded, counters.loaded_bytes), (2, 200));
    assert!(is_loaded(&host, 3).await && is_loaded(&host, 2).await);
    assert!(!is_loaded(&host, 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_in_use_stays() {
    let host = Host::with(Capacity { loaded: 1, commands: 2, ..Capacity::default() }).await;
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (entered, mut has_entered) = tokio::sync::mpsc::unbounded_channel();
    let account = Account::new("one").at_command(move |command| {
        if command.data.as_bytes() == b"13" {
            entered.send(()).unwrap();
            // An error means that it is released.
            let _ = released.lock().unwrap().recv();
        }
        Ok(())
    });
    let living = account.living();
    host.deploy(&account).await;
    let aggregates = host.aggregates.clone();
    let busy = command(uuid::Uuid::now_v7(), "Account-busy", "Add", 13);
    let busy = tokio::spawn(async move { aggregates.send(busy, None).await });
    has_entered.recv().await.unwrap();
    for number in 0..4 {
        host.add_to(&format!("Account-{number}"), 1).await;
    }
    assert!(living.load(Ordering::Relaxed) >= 1);
    drop(release);
    bounded(busy).await.unwrap().unwrap();
    let before = host.log.read.load(Ordering::Relaxed);
    host.add_to("Account-busy", 1).await;
    assert_eq!(host.log.read.load(Ordering::Relaxed), before, "it is loaded still");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_bounded_for_the_host() {
    let host = Host::with(Capacity { commands: 1, ..Capacity::default() }).await;
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (entered, mut has_entered) = tokio::sync::mpsc::unbounded_channel();
    let account = Account::new("one").at_command(move |_| {
        entered.send(()).unwrap();
        // An error means that all are released.
        let _ = released.lock().unwrap().recv();
        Ok(())
    });
    host.deploy(&account).await;
    let aggregates = host.aggregates.clone();
    let first = command(uuid::Uuid::now_v7(), "Account-1", "Add", 1);
    let first = tokio::spawn(async move { aggregates.send(first, None).await });
    has_entered.recv().await.unwrap();
    assert_eq!(host.send("Account-2", "Add", 1).await, Err(CommandError::Busy(Crowd::Host)));
    drop(release);
    bounded(first).await.unwrap().unwrap();
    host.add_to("Account-2", 1).await;
    assert_eq!(host.counters().commands.busy, 1);
}
