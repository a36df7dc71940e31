//! Swapping modules: at a boundary, after a dry run, with the way back.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use lantern_core::{Digest, Happening, Kind, Position, State, module::FailureKind};
use lantern_processors::Refusal;

use crate::host::{Closure, Faults, Host, failing, name, note, noting, put, subject};

/// Writes its own name for every position.
fn signing(sign: &'static str) -> Closure {
    Closure::new(sign, move |event, _| Ok(put(&format!("{:06}", event.position.0), format!("\"{sign}\""))))
}

async fn signs(host: &Host) -> Vec<String> {
    host.documents().await.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_change_exactly_at_the_recorded_positions() {
    let mut host = Host::start().await;
    let digests = [Digest::of(b"one"), Digest::of(b"two")];
    host.deploy(signing("one")).await;
    host.add(signing("two"));
    let mut boundaries = Vec::new();
    for round in 0..10_usize {
        for _ in 0..20 {
            host.append("A-1", "1").await;
        }
        let swapped = host.supervisor.swap(Kind::Projection, &name(), digests[(round + 1) % 2]).await.unwrap();
        boundaries.push(swapped.position);
    }
    host.append("A-1", "1").await;
    host.caught_up().await;
    let signs = signs(&host).await;
    assert_eq!(signs.len(), 201, "nothing is lost or doubled");
    for (index, sign) in signs.iter().enumerate() {
        let before = boundaries.iter().filter(|boundary| boundary.0 < index as u64 + 1).count();
        assert_eq!(sign, ["\"one\"", "\"two\""][before % 2], "at position {}", index + 1);
    }
    host.restart().await;
    let recorded: Vec<Position> = host
        .supervisor
        .history(Kind::Projection, &name())
        .await
        .unwrap()
        .into_iter()
        .filter_map(|entry| match entry.happening {
            Happening::Swapped { position, .. } => Some(position),
            _ => None,
        })
        .collect();
    assert_eq!(recorded, boundaries);
    assert_eq!(host.supervisor.status(Kind::Projection, &name()).unwrap().module, digests[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_do_not_wait_for_the_disk_when_modules_change_but_the_answer_does() {
    let faults = Faults::gated();
    let host = Host::with(faults.clone()).await;
    let gate = faults.gate.as_ref().unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    host.deploy(signing("one")).await;
    let two = host.add(Closure::new("two", move |event, _| {
        counted.fetch_add(event.position.0, Ordering::Relaxed);
        Ok(put(&format!("{:06}", event.position.0), "\"two\""))
    }));
    host.append("A-1", "1").await;
    gate.add_permits(1);
    host.caught_up().await;
    let supervisor = host.supervisor.clone();
    let swapping = tokio::spawn(async move { supervisor.swap(Kind::Projection, &name(), two).await });
    host.until(|status| status.module == two).await;
    host.append("A-1", "1").await;
    // The dry run tries the first event only, so a call with position 2 is the new module at work.
    host.until(|_| calls.load(Ordering::Relaxed) == 1 + 2).await;
    assert!(!swapping.is_finished(), "it is not committed");
    assert_eq!(host.supervisor.status(Kind::Projection, &name()).unwrap().position, Position(1));
    gate.add_permits(2);
    assert_eq!(swapping.await.unwrap().unwrap().position, Position(1));
    host.caught_up().await;
    assert_eq!(signs(&host).await, ["\"one\"", "\"two\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_modules_that_cannot_be_committed_is_taken_back() {
    for seed in 0..10 {
        let faults = Faults::seeded(seed, 0);
        let host = Host::with(faults.clone()).await;
        host.deploy(signing("one")).await;
        host.append("A-1", "1").await;
        host.caught_up().await;
        let two = host.add(signing("two"));
        faults.one_in.store(1, Ordering::Relaxed);
        assert_eq!(
            host.supervisor.swap(Kind::Projection, &name(), two).await,
            Err(Refusal::Interrupted),
            "seed {seed}"
        );
        faults.one_in.store(0, Ordering::Relaxed);
        host.append("A-1", "1").await;
        let status = host.caught_up().await;
        assert_eq!((status.module, status.previous_module), (Digest::of(b"one"), None), "seed {seed}");
        assert_eq!(signs(&host).await, ["\"one\"", "\"one\""], "seed {seed}");
        host.supervisor.swap(Kind::Projection, &name(), two).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_returns_to_the_module_before_also_after_a_restart() {
    let mut host = Host::start().await;
    host.deploy(signing("one")).await;
    assert_eq!(host.supervisor.rollback(Kind::Projection, &name()).await, Err(Refusal::NothingToRollBack(subject())));
    let two = host.add(signing("two"));
    host.supervisor.swap(Kind::Projection, &name(), two).await.unwrap();
    host.append("A-1", "1").await;
    host.caught_up().await;
    host.restart().await;
    let back = host.supervisor.rollback(Kind::Projection, &name()).await.unwrap();
    assert_eq!((back.position, back.from, back.to), (Position(1), two, Digest::of(b"one")));
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert_eq!(signs(&host).await, ["\"two\"", "\"one\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_fails_recent_events_is_refused_and_changes_nothing() {
    let host = Host::start().await;
    host.deploy(noting()).await;
    host.append("A-1", "1").await;
    host.append("A-1", "\"odd\"").await;
    host.caught_up().await;
    let bad = host.add(failing("bad", "\"odd\"", FailureKind::Trap));
    let refused = host.supervisor.swap(Kind::Projection, &name(), bad).await.unwrap_err();
    assert!(matches!(&refused, Refusal::DryRun { position: Position(2), .. }), "{refused}");
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert_eq!(host.noted("A-1").await, "[1,2,3]");
    let history = host.supervisor.history(Kind::Projection, &name()).await.unwrap();
    assert!(matches!(history.last().unwrap().happening, Happening::SwapRefused { module, .. } if module == bad));
    let same = host.supervisor.swap(Kind::Projection, &name(), Digest::of(b"noting")).await;
    assert!(matches!(same, Err(Refusal::SameModule { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_fails_where_the_one_before_does_not_is_rolled_back_by_itself() {
    let host = Host::start().await;
    host.deploy(noting()).await;
    host.append("A-1", "1").await;
    host.caught_up().await;
    let worse = host.add(failing("worse", "\"odd\"", FailureKind::Trap));
    host.supervisor.swap(Kind::Projection, &name(), worse).await.unwrap();
    for data in ["1", "\"odd\"", "1"] {
        host.append("A-1", data).await;
    }
    let status = host.caught_up().await;
    assert_eq!((status.module, status.parked_events), (Digest::of(b"noting"), 0));
    assert_eq!(host.noted("A-1").await, "[1,2,3,4]");
    let history = host.supervisor.history(Kind::Projection, &name()).await.unwrap();
    let rolled_back = history.iter().find_map(|entry| match &entry.happening {
        Happening::RolledBack { position, reason, .. } => Some((*position, reason.clone())),
        _ => None,
    });
    let (position, reason) = rolled_back.expect("the journal says so");
    assert_eq!(position, Position(2));
    assert!(reason.contains("the event at 3"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_both_modules_fail_is_the_events_fault() {
    let host = Host::start().await;
    host.deploy(failing("first", "\"odd\"", FailureKind::Permanent)).await;
    let second = host.add(failing("second", "\"odd\"", FailureKind::Permanent));
    host.supervisor.swap(Kind::Projection, &name(), second).await.unwrap();
    host.append("A-1", "\"odd\"").await;
    host.append("B-1", "1").await;
    let status = host.caught_up().await;
    assert_eq!((status.module, status.parked_events), (second, 1));
    assert_eq!(host.noted("B-1").await, "[2]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_wants_more_gets_it_from_the_boundary_on() {
    let host = Host::start().await;
    host.deploy(noting().wanting("A")).await;
    host.append("A-1", "1").await;
    host.append("B-1", "1").await;
    host.caught_up().await;
    let more = host.add(Closure::new("more", note));
    host.supervisor.swap(Kind::Projection, &name(), more).await.unwrap();
    host.append("B-1", "1").await;
    host.caught_up().await;
    assert_eq!(host.noted("B-1").await, "[3]");
    host.until(|status| status.state == State::Live).await;
}
