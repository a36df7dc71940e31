//! What operators do: deploy, swap after a dry run, roll back, remove; and what is left of it after a restart.

use std::collections::BTreeMap;

use lantern_core::{
    Happening, Kind, Subject,
    journal::UpcasterDeployment,
    module::{FailureKind, Limits},
    upcasting::Form,
};
use lantern_upcasters::{Refusal, Swapped};

use crate::host::{Closure, Host, json, name};

const STEP: &[&str] = &["Placed 1 -> Placed 2"];

#[tokio::test]
async fn a_swap_changes_what_readers_see_and_a_rollback_changes_it_back() {
    let host = Host::start().await;
    let placed = name("placed");
    let status = host.deploy("placed", Closure::noting("a", STEP)).await.unwrap();
    let a = status.module;
    assert_eq!((status.name, status.previous_module), (placed.clone(), None));
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 2 raw a");

    let b = host.add(Closure::noting("b", STEP));
    let swapped = host.upcasters.swap(&placed, b).await;
    assert_eq!(swapped, Ok(Swapped { position: host.head(), from: a, to: b, dry_run_events: 1 }));
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 2 raw b");
    let back = host.upcasters.rollback(&placed).await;
    assert_eq!(back, Ok(Swapped { position: host.head(), from: b, to: a, dry_run_events: 0 }));
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 2 raw a");
    let status = host.upcasters.status(&placed).unwrap();
    assert_eq!((status.module, status.previous_module), (a, Some(b)), "and forward again");
    assert_eq!(host.upcasters.modules_in_use(), [(placed.clone(), b), (placed, a)]);
}

#[tokio::test]
async fn a_removed_upcaster_does_nothing_any_more() {
    let host = Host::start().await;
    host.deploy("one", Closure::noting("a", STEP)).await.unwrap();
    host.deploy("two", Closure::noting("b", &["Placed 2 -> Placed 3"])).await.unwrap();
    host.upcasters.remove(&name("one")).await.unwrap();
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 1 raw");
    assert_eq!(host.shows("Placed", 2, &[]).await, "Placed 3 raw b");
    let names: Vec<_> = host.upcasters.list().into_iter().map(|status| status.name).collect();
    assert_eq!(names, [name("two")]);
    host.deploy("three", Closure::noting("c", STEP)).await.unwrap();
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 3 raw c b", "its steps are free for another one");
}

#[tokio::test]
async fn every_change_of_the_chain_is_told_after_it_took_effect() {
    let host = Host::start().await;
    let mut changes = host.upcasters.upcasting().changes();
    let told = |changes: &mut tokio::sync::watch::Receiver<u64>| {
        let changed = changes.has_changed().unwrap();
        changes.mark_unchanged();
        changed
    };
    assert!(!told(&mut changes));
    host.deploy("placed", Closure::noting("a", STEP)).await.unwrap();
    assert!(told(&mut changes));
    let b = host.add(Closure::noting("b", STEP));
    host.upcasters.swap(&name("placed"), b).await.unwrap();
    assert!(told(&mut changes));
    host.deploy("other", Closure::noting("c", STEP)).await.unwrap_err();
    assert!(!told(&mut changes), "a refusal changes nothing");
    host.upcasters.rollback(&name("placed")).await.unwrap();
    assert!(told(&mut changes));
    host.upcasters.remove(&name("placed")).await.unwrap();
    assert!(told(&mut changes));
    assert_eq!(*changes.borrow(), 4);
}

#[tokio::test]
async fn a_module_that_fails_what_the_one_before_can_do_is_refused() {
    let host = Host::start().await;
    let placed = name("placed");
    host.deploy("placed", Closure::noting("a", STEP)).await.unwrap();
    let bad = host.append("Placed", 1, json("\"bad\"")).await;
    // Events that are new already are passed over in the search for old ones.
    for _ in 0..1_500 {
        host.append("Placed", 2, json("\"new\"")).await;
    }
    let failing = host.add(Closure::failing("b", STEP, FailureKind::Trap));
    let refusal = host.upcasters.swap(&placed, failing).await.unwrap_err();
    let Refusal::DryRun { module, position, event_type, reason } = &refusal else { panic!("{refusal}") };
    assert_eq!((*module, *position, event_type.as_str()), (failing, bad.position, "Placed"));
    assert!(reason.contains("upcaster `placed`") && reason.contains("it is bad"), "{reason}");
    assert_eq!(host.seen(&bad, &[]), "Placed 2 bad a", "the module before goes on");
    let history = host.upcasters.history(&placed).await.unwrap();
    let told = Happening::SwapRefused { module: failing, reason: refusal.to_string() };
    assert_eq!(history.last().map(|entry| &entry.happening), Some(&told));
}

#[tokio::test]
async fn what_the_module_before_could_not_do_either_is_no_reason() {
    let host = Host::start().await;
    host.deploy("placed", Closure::failing("a", STEP, FailureKind::Permanent)).await.unwrap();
    host.append("Placed", 1, json("\"bad\"")).await;
    host.append("Placed", 1, json("\"good\"")).await;
    let b = host.add(Closure::failing("b", STEP, FailureKind::Trap));
    assert_eq!(host.upcasters.swap(&name("placed"), b).await.unwrap().dry_run_events, 2);
}

#[tokio::test]
async fn a_swap_that_breaks_the_step_after_it_is_refused() {
    let host = Host::start().await;
    host.deploy("one", Closure::noting("a", STEP)).await.unwrap();
    host.deploy("two", Closure::failing("b", &["Placed 2 -> Placed 3"], FailureKind::Permanent)).await.unwrap();
    host.append("Placed", 1, json("\"raw\"")).await;
    let spoiling =
        Closure::new("c", STEP, |form| Ok(Form { schema_version: 2, data: json("\"bad\""), ..form.clone() }));
    let refusal = host.upcasters.swap(&name("one"), host.add(spoiling)).await.unwrap_err();
    assert!(refusal.to_string().contains("upcaster `two`"), "{refusal}");
}

#[tokio::test]
async fn a_dry_run_tries_the_last_fifty_events_the_module_takes() {
    let host = Host::start().await;
    host.deploy("placed", Closure::noting("a", STEP)).await.unwrap();
    host.append("Placed", 1, json("\"bad\"")).await;
    for _ in 0..50 {
        host.append("Placed", 1, json("\"good\"")).await;
        host.append("Paid", 1, json("\"bad\"")).await;
    }
    let b = host.add(Closure::failing("b", STEP, FailureKind::Trap));
    assert_eq!(host.upcasters.swap(&name("placed"), b).await.unwrap().dry_run_events, 50);
}

#[tokio::test]
async fn a_host_that_starts_again_goes_on_with_what_it_had() {
    let mut host = Host::start().await;
    host.deploy("one", Closure::noting("a", STEP)).await.unwrap();
    host.deploy("two", Closure::noting("b", &["Placed 2 -> Placed 3"])).await.unwrap();
    host.deploy("gone", Closure::noting("c", &["Placed 3 -> Placed 4"])).await.unwrap();
    host.upcasters.swap(&name("one"), host.add(Closure::noting("a2", STEP))).await.unwrap();
    host.upcasters.remove(&name("gone")).await.unwrap();
    let before = host.upcasters.list();

    host.restart().await;
    assert_eq!(host.upcasters.list(), before);
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 3 raw a2 b");
    host.upcasters.rollback(&name("one")).await.unwrap();
    host.restart().await;
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 3 raw a b");
}

#[tokio::test]
async fn the_journal_tells_every_step() {
    let host = Host::start().await;
    let placed = name("placed");
    let a = host.deploy("placed", Closure::noting("a", STEP)).await.unwrap().module;
    let position = host.append("Placed", 1, json("\"raw\"")).await.position;
    let b = host.add(Closure::noting("b", STEP));
    host.upcasters.swap(&placed, b).await.unwrap();
    host.upcasters.rollback(&placed).await.unwrap();
    host.upcasters.remove(&placed).await.unwrap();
    let config = BTreeMap::from([("key".into(), "value".into())]);
    let wanted = [
        Happening::UpcasterDeployed(UpcasterDeployment { module: a, config, limits: Limits::default() }),
        Happening::Swapped { position, from: a, to: b },
        Happening::RolledBack { position, from: b, to: a, reason: "by an operator".into() },
        Happening::Removed,
    ];
    let history = host.upcasters.history(&placed).await.unwrap();
    let subject = Subject { kind: Kind::Upcaster, name: placed };
    assert!(history.iter().all(|entry| entry.subject == subject));
    assert!(history.into_iter().map(|entry| entry.happening).eq(wanted), "also of one that was removed");
}

#[tokio::test]
async fn rivals_for_a_form_do_not_both_win() {
    let host = Host::start().await;
    let deploy = |rival: &'static str| host.deploy(rival, Closure::noting(rival, STEP));
    let (a, b, c) = tokio::join!(deploy("a"), deploy("b"), deploy("c"));
    let won = [a, b, c].into_iter().filter(Result::is_ok).count();
    assert_eq!((won, host.upcasters.list().len(), host.journal.entries().await.unwrap().len()), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_on_one_host_changes_on_the_others() {
    let host = Host::start().await;
    let other = host.other().await;
    let event = host.append("Placed", 1, json("\"raw\"")).await;
    let placed = name("placed");
    host.deploy("placed", Closure::noting("a", STEP)).await.unwrap();
    other.until_seen(&event, "Placed 2 raw a").await;
    let mut changes = host.upcasters.upcasting().changes();
    let b = other.add(Closure::noting("b", STEP));
    other.upcasters.swap(&placed, b).await.unwrap();
    host.until_seen(&event, "Placed 2 raw b").await;
    assert!(changes.has_changed().unwrap(), "readers widen their filters anew");
    changes.mark_unchanged();
    assert_eq!(host.upcasters.list(), other.upcasters.list());
    host.upcasters.rollback(&placed).await.unwrap();
    other.until_seen(&event, "Placed 2 raw a").await;
    other.upcasters.remove(&placed).await.unwrap();
    host.until_seen(&event, "Placed 1 raw").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rivals_on_two_hosts_do_not_both_win() {
    let host = Host::start().await;
    let other = host.other().await;
    for round in 0..10 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        // A form of its own for each round.
        let step: &'static str = format!("Placed{round} 1 -> Placed{round} 2").leak();
        let steps: &'static [&'static str] = vec![step].leak();
        let first = host.deploy(&a, Closure::noting(&a, steps));
        let second = other.deploy(&b, Closure::noting(&b, steps));
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_ok() != second.is_ok(), "round {round}: {first:?} {second:?}");
        let lost = first.err().or(second.err()).unwrap();
        assert!(matches!(lost, Refusal::Collision { .. }), "round {round}: {lost}");
    }
    assert_eq!(host.journal.entries().await.unwrap().len(), 10);
}
