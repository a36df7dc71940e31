//! Swapping modules: after a dry run, under load, with the way back.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lantern_aggregates::{Aggregates, CommandError, Deploy, Refusal};
use lantern_core::{Digest, Happening, Version, journal::SnapshotPolicy, module::Limits};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    account::{Account, State, trap},
    host::{Host, bounded, command, every, name},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_drops_what_the_old_module_had_loaded() {
    let mut host = Host::start().await;
    let (one, two) = (Account::new("one"), Account::new("two"));
    let (old, new) = (one.living(), two.living());
    host.deploy(&one).await;
    for number in 0..20 {
        host.add_to(&format!("Account-{number}"), 1).await;
    }
    let swapped = host.aggregates.swap(&name(), host.add(&two)).await.unwrap();
    assert_eq!((swapped.from, swapped.to, swapped.position.0), (one.digest(), two.digest(), 20));
    assert_eq!((swapped.dry_run_streams, swapped.dry_run_events), (10, 10));
    assert_eq!(host.counters().loaded, 0);
    assert_eq!(host.add_to("Account-1", 1).await.version, Version(2));
    bounded(async {
        while (old.load(Ordering::Relaxed), new.load(Ordering::Relaxed)) != (0, 1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let status = host.aggregates.status(&name()).unwrap();
    assert_eq!((status.module, status.previous_module), (two.digest(), Some(one.digest())));
    assert_eq!(
        host.aggregates.swap(&name(), two.digest()).await,
        Err(Refusal::SameModule { name: name(), module: two.digest() })
    );
    host.restart().await;
    let status = host.aggregates.status(&name()).unwrap();
    assert_eq!((status.module, status.previous_module), (two.digest(), Some(one.digest())));
    assert_eq!(host.aggregates.modules_in_use(), [(name(), one.digest()), (name(), two.digest())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_needs_no_library_and_outlives_the_host() {
    let mut host = Host::start().await;
    let (one, two) = (Account::new("one"), Account::new("two"));
    host.deploy(&one).await;
    assert_eq!(host.aggregates.rollback(&name()).await, Err(Refusal::NothingToRollBack(name())));
    host.aggregates.swap(&name(), host.add(&two)).await.unwrap();
    host.forget_module(one.digest());
    let back = host.aggregates.rollback(&name()).await.unwrap();
    assert_eq!((back.from, back.to), (two.digest(), one.digest()));
    host.add(&one);
    host.restart().await;
    assert_eq!(host.aggregates.status(&name()).unwrap().module, one.digest());
    let forth = host.aggregates.rollback(&name()).await.unwrap();
    assert_eq!((forth.from, forth.to), (one.digest(), two.digest()));
    let history = host.aggregates.history(&name()).await.unwrap();
    let what: Vec<_> = history.into_iter().map(|entry| entry.happening).collect();
    assert!(
        matches!(
            what[..],
            [
                Happening::AggregateDeployed(_),
                Happening::Swapped { .. },
                Happening::RolledBack { .. },
                Happening::RolledBack { .. }
            ]
        ),
        "{what:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_folds_less_is_refused() {
    let host = Host::start().await;
    // Neither module can fold this one, which is no reason.
    let bad = |event: &lantern_core::Event| if event.stream.id() == "bad" { Err(trap()) } else { Ok(()) };
    host.deploy(&Account::new("one").at_event(bad)).await;
    host.outside("Account-bad", "Added", 1).await;
    let better = host.add(&Account::new("better").at_event(bad));
    host.aggregates.swap(&name(), better).await.unwrap();
    host.outside("Account-1", "Added", 7).await;
    let worse = host.add(&Account::new("worse").at_event(|_| Err(trap())));
    let refusal = host.aggregates.swap(&name(), worse).await.unwrap_err();
    let Refusal::DryRun { stream, from, to, reason, .. } = &refusal else { panic!("{refusal}") };
    assert_eq!((stream.as_str(), from.0, to.0, reason.as_str()), ("Account-1", 1, 1, "a trap of the test"));
    assert_eq!(host.aggregates.status(&name()).unwrap().module, better);
    let history = host.aggregates.history(&name()).await.unwrap();
    assert_eq!(
        history.last().unwrap().happening,
        Happening::SwapRefused { module: worse, reason: refusal.to_string() }
    );
    let unknown = Digest::of(b"unknown");
    assert!(matches!(host.aggregates.swap(&name(), unknown).await, Err(Refusal::Library(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_load_lose_no_command() {
    let host = Host::start().await;
    let modules = [Account::new("one"), Account::new("two")];
    host.deploy_with(&modules[0], every(20)).await.unwrap();
    host.add(&modules[1]);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..16_u64 {
        let (aggregates, is_over) = (host.aggregates.clone(), is_over.clone());
        clients.spawn(async move {
            let mut sent = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let command = command(Uuid::now_v7(), &format!("Account-{}", client % 5), "Add", 1);
                aggregates.send(command, None).await.unwrap();
                sent += 1;
            }
            sent
        });
    }
    for round in 0..20 {
        let head = *lantern_core::Log::head(&*host.log).borrow();
        let mut watched = lantern_core::Log::head(&*host.log);
        bounded(watched.wait_for(|position| position.since(head) >= 50)).await.unwrap();
        match round % 4 {
            3 => host.aggregates.rollback(&name()).await.unwrap(),
            _ => {
                let from = host.aggregates.status(&name()).unwrap().module;
                let to = modules.iter().find(|module| module.digest() != from).unwrap();
                host.aggregates.swap(&name(), to.digest()).await.unwrap()
            }
        };
    }
    is_over.store(true, Ordering::Relaxed);
    let sent: u64 = bounded(clients.join_all()).await.into_iter().sum();
    let mut folded = 0;
    for number in 0..5 {
        let stream = format!("Account-{number}");
        let state = host.folded(&stream).await;
        assert_eq!(host.shown(&stream, None).await.unwrap(), state);
        assert_eq!(state, State { sum: state.events, events: state.events });
        folded += state.sum;
    }
    assert_eq!(folded, sent);
    assert_eq!(host.counters().commands.accepted, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_on_one_host_changes_on_the_others() {
    let host = Host::start().await;
    let other = host.other().await;
    let (one, two) = (Account::new("one"), Account::new("two"));
    let old = one.living();
    host.deploy(&one).await;
    let until_module = async |aggregates: &Aggregates, module: Option<Digest>| {
        bounded(async {
            while aggregates.status(&name()).ok().map(|status| status.module) != module {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    };
    until_module(&other, Some(one.digest())).await;
    host.add_to("Account-1", 1).await;
    let sent = |number| command(Uuid::now_v7(), &format!("Account-{number}"), "Add", 1);
    assert_eq!(other.send(sent(1), None).await.unwrap().version, Version(2));
    other.swap(&name(), host.add(&two)).await.unwrap();
    until_module(&host.aggregates, Some(two.digest())).await;
    bounded(async {
        while old.load(Ordering::Relaxed) != 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(host.add_to("Account-1", 1).await.version, Version(3), "decided by the new module");
    let previous = host.aggregates.status(&name()).unwrap().previous_module;
    assert_eq!(previous, Some(one.digest()));
    host.aggregates.rollback(&name()).await.unwrap();
    until_module(&other, Some(one.digest())).await;
    host.aggregates.remove(&name()).await.unwrap();
    until_module(&other, None).await;
    assert!(matches!(other.send(sent(1), None).await, Err(CommandError::Unknown { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_that_deploy_or_swap_at_once_one_wins() {
    let host = Host::start().await;
    let other = host.other().await;
    let modules: Vec<Account> = ["one", "two", "three"].map(Account::new).into();
    let digests: Vec<Digest> = modules.iter().map(|module| host.add(module)).collect();
    let deploy = |aggregates: &Aggregates, module: Digest| {
        let (name, config, limits) = (name(), BTreeMap::new(), Limits::default());
        let deploy = Deploy { name, module, config, limits, snapshots: SnapshotPolicy::Never };
        let aggregates = aggregates.clone();
        tokio::spawn(async move { aggregates.deploy(deploy).await })
    };
    let (first, second) = (deploy(&host.aggregates, digests[0]), deploy(&other, digests[1]));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(first.as_ref().err().or(second.as_ref().err()), Some(&Refusal::Exists(name())));
    let deployed = first.or(second).unwrap().module;

    // A swap that another one came before is told so, and changes nothing.
    let rivals: Vec<Digest> = digests.iter().copied().filter(|digest| *digest != deployed).collect();
    let swap = |aggregates: &Aggregates, module: Digest| {
        let aggregates = aggregates.clone();
        tokio::spawn(async move { aggregates.swap(&name(), module).await })
    };
    let swaps = [swap(&host.aggregates, rivals[0]), swap(&other, rivals[1])];
    let mut swapped = Vec::new();
    for swap in swaps {
        match swap.await.unwrap() {
            Ok(change) => swapped.push((change.from, change.to)),
            Err(refusal) => assert_eq!(refusal, Refusal::Busy(name())),
        }
    }
    let history = host.aggregates.history(&name()).await.unwrap();
    let told = history.into_iter().filter_map(|entry| match entry.happening {
        Happening::Swapped { from, to, .. } => Some((from, to)),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    assert!(
        told.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "each begins with the module the one before ended with"
    );
    told.sort_unstable();
    swapped.sort_unstable();
    assert_eq!(told, swapped);
}
