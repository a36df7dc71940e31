//! Guests that fail: their state is thrown away, acknowledged events never, and nobody else notices.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
    mpsc,
};

use lantern_aggregates::{Capacity, CommandError, Crowd};
use lantern_core::Version;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    account::{Account, State, trap},
    host::{Host, bounded, command},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_a_decision_costs_the_instance_only() {
    let host = Host::start().await;
    let account =
        Account::new("one").at_command(|command| if command.data.as_bytes() == b"13" { Err(trap()) } else { Ok(()) });
    let living = account.living();
    host.deploy(&account).await;
    host.add_to("Account-1", 5).await;
    host.add_to("Account-2", 5).await;
    let Err(CommandError::Failed { failure, module, stream }) = host.send("Account-1", "Add", 13).await else {
        panic!("it must fail");
    };
    assert_eq!((failure, module, stream.as_str()), (trap(), account.digest(), "Account-1"));
    let counters = host.counters();
    assert_eq!((counters.loaded, counters.loaded_bytes, counters.commands.failed), (1, 100, 1));
    assert_eq!(living.load(Ordering::Relaxed), 1);
    assert_eq!(host.add_to("Account-1", 6).await.version, Version(2));
    assert_eq!(host.folded("Account-1").await.sum, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_with_news_is_decided_on_by_a_state_that_was_loaded_anew() {
    let host = Host::start().await;
    let (asked, traps) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (counted, left) = (asked.clone(), traps.clone());
    let account = Account::new("one").at_command(move |command| {
        if command.data.as_bytes() != b"13" {
            return Ok(());
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let traps = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if traps.is_ok() { Err(trap()) } else { Ok(()) }
    });
    host.deploy(&account).await;
    host.add_to("Account-1", 1).await;
    // It is not known whether the event before or the command was too much.
    traps.store(1, Ordering::Relaxed);
    assert_eq!(host.add_to("Account-1", 13).await.version, Version(2));
    assert_eq!(asked.swap(0, Ordering::Relaxed), 2);
    // Loaded anew, the state is folded on its own: now it is known.
    traps.store(u32::MAX, Ordering::Relaxed);
    assert!(matches!(host.send("Account-1", "Add", 13).await, Err(CommandError::Failed { .. })));
    assert_eq!(asked.swap(0, Ordering::Relaxed), 2);
    // So it is where nothing is kept.
    assert!(matches!(host.send("Account-1", "Add", 13).await, Err(CommandError::Failed { .. })));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(host.folded("Account-1").await, State { sum: 14, events: 2 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_after_an_acknowledged_append_fails_no_command() {
    let host = Host::start().await;
    let traps = Arc::new(AtomicU32::new(1));
    let left = traps.clone();
    let account = Account::new("one").at_event(move |event| {
        let is_bad = event.data.as_bytes() == b"13";
        let lost = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(u32::from(is_bad)));
        if is_bad && lost.is_ok() { Err(trap()) } else { Ok(()) }
    });
    host.deploy(&account).await;
    host.add_to("Account-1", 1).await;
    assert_eq!(host.add_to("Account-1", 13).await.version, Version(2));
    // Folding 13 traps once; the state is loaded anew and the command done.
    assert_eq!(host.add_to("Account-1", 1).await.version, Version(3));
    assert_eq!(traps.load(Ordering::Relaxed), 0);
    // Now it always traps: acknowledged still, but the next command cannot be decided.
    traps.store(u32::MAX, Ordering::Relaxed);
    host.add_to("Account-2", 13).await;
    for _ in 0..2 {
        assert!(matches!(host.send("Account-2", "Add", 1).await, Err(CommandError::Failed { .. })));
    }
    assert_eq!(host.events("Account-2").await.len(), 1);
    assert_eq!(host.folded("Account-1").await, State { sum: 15, events: 3 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_answer_holds_up_its_own_stream_only() {
    let host = Host::with(Capacity { commands_per_stream: 3, ..Default::default() }).await;
    let (release, released) = mpsc::channel::<()>();
    let (entered, has_entered) = mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let account = Account::new("one").at_command(move |command| {
        if command.data.as_bytes() == b"13" {
            entered.send(()).unwrap();
            // An error means that all are released.
            let _ = released.lock().unwrap().recv();
        }
        Ok(())
    });
    host.deploy(&account).await;
    let mut busy = JoinSet::new();
    // More than there are processors.
    for number in 0..20 {
        let (aggregates, stream) = (host.aggregates.clone(), format!("Account-busy{number}"));
        let command = command(Uuid::now_v7(), &stream, "Add", 13);
        busy.spawn(async move { aggregates.send(command, None).await });
    }
    let all_busy = move || (0..20).for_each(|_| has_entered.recv().unwrap());
    bounded(tokio::task::spawn_blocking(all_busy)).await.unwrap();
    for number in 0..100 {
        bounded(host.add_to(&format!("Account-{number}"), 1)).await;
    }
    // One works already, two may wait.
    for _ in 0..5 {
        let aggregates = host.aggregates.clone();
        let command = command(Uuid::now_v7(), "Account-busy0", "Add", 1);
        busy.spawn(async move { aggregates.send(command, None).await });
    }
    host.until(|counters| counters.commands.busy == 3).await;
    drop(release);
    let results = bounded(busy.join_all()).await;
    let crowded = CommandError::Busy(Crowd::Stream("Account-busy0".parse().unwrap()));
    assert_eq!(results.iter().filter(|result| result.as_ref() == Err(&crowded)).count(), 3);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 22);
    assert_eq!(host.folded("Account-busy0").await, State { sum: 15, events: 3 });
}
