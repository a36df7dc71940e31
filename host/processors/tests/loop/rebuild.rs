//! Rebuilding: a generation beside the live one, promoted at a position, and the way back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lantern_core::{Digest, Happening, Kind, Position, State, module::FailureKind};
use lantern_processors::Refusal;

use crate::host::{Host, bounded, failing, name, noting, subject};

async fn rebuilt(host: &Host) {
    host.until(|status| status.rebuild.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gives_the_same_read_model_and_no_reader_misses_an_event() {
    let host = Host::start().await;
    for n in 0..100 {
        host.append(&format!("A-{}", n % 5), "1").await;
    }
    host.deploy(noting()).await;
    let before = host.caught_up().await;
    let (_, digest) = digest(&host).await;
    let done = Arc::new(AtomicBool::new(false));
    let appending = async {
        for n in 0.. {
            if done.load(Ordering::SeqCst) {
                break;
            }
            // A stream an event: documents stay small, so the speed of the module does not decide the test.
            host.append(&format!("B-{n}"), "1").await;
            bounded(host.supervisor.wait(Kind::Projection, &name(), Position::START)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let rebuilding = async {
        host.supervisor.rebuild(Kind::Projection, &name(), None).await.unwrap();
        let mut last = Position::START;
        bounded(async {
            loop {
                let status = host.supervisor.status(Kind::Projection, &name()).unwrap();
                assert!(status.position >= last, "readers never go back");
                last = status.position;
                if status.rebuild.is_none() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        done.store(true, Ordering::SeqCst);
    };
    tokio::join!(appending, rebuilding);
    host.caught_up().await;
    let after = host.until(|status| status.state == State::Live).await;
    assert_eq!((before.generation, after.generation, after.state), (1, 2, State::Live));
    assert_eq!(host.documents().await, host.expected().await);
    assert_ne!(digest_of(&host).await, digest, "events were appended meanwhile");

    let once = digest_of(&host).await;
    host.supervisor.rebuild(Kind::Projection, &name(), None).await.unwrap();
    rebuilt(&host).await;
    host.caught_up().await;
    assert_eq!(digest_of(&host).await, once, "two rebuilds agree");
}

async fn digest(host: &Host) -> (Position, Digest) {
    host.supervisor.read_model(Kind::Projection, &name(), None).await.unwrap().digest().await.unwrap()
}

async fn digest_of(host: &Host) -> Digest {
    digest(host).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_was_interrupted_goes_on_after_a_restart() {
    let mut host = Host::start().await;
    for _ in 0..10 {
        host.append("A-1", "1").await;
    }
    host.deploy(noting()).await;
    host.caught_up().await;
    let other = host.add(failing("other", "\"never\"", FailureKind::Trap));
    host.world.journal.append(&subject(), Happening::RebuildStarted { generation: 2, module: other }).await.unwrap();
    host.restart().await;
    rebuilt(&host).await;
    let status = host.caught_up().await;
    assert_eq!((status.generation, status.module), (2, other));
    assert_eq!(host.documents().await, host.expected().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_after_a_promotion_returns_to_the_generation_before() {
    let host = Host::start().await;
    host.append("A-1", "1").await;
    host.deploy(noting()).await;
    host.caught_up().await;
    let other = host.add(failing("other", "\"never\"", FailureKind::Trap));
    host.supervisor.rebuild(Kind::Projection, &name(), Some(other)).await.unwrap();
    rebuilt(&host).await;
    host.append("A-1", "1").await;
    host.caught_up().await;
    let back = bounded(host.supervisor.rollback(Kind::Projection, &name())).await.unwrap();
    assert_eq!(back.to, Digest::of(b"noting"));
    let status = host.caught_up().await;
    assert_eq!((status.generation, status.module), (1, Digest::of(b"noting")));
    assert_eq!(host.noted("A-1").await, "[1,2]", "it caught up first");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_rebuild_is_under_way_nothing_else_changes_the_projection() {
    let host = Host::start().await;
    host.append("A-1", "1").await;
    host.deploy(noting()).await;
    host.caught_up().await;
    // The rebuild cannot end: its module waits for the test.
    let gate = Arc::new(AtomicBool::new(false));
    let open = gate.clone();
    let slow = host.add(crate::host::Closure::new("slow", move |event, view| {
        while !open.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        crate::host::note(event, view)
    }));
    host.supervisor.rebuild(Kind::Projection, &name(), Some(slow)).await.unwrap();
    let other = host.add(failing("other", "\"never\"", FailureKind::Trap));
    assert_eq!(host.supervisor.swap(Kind::Projection, &name(), other).await, Err(Refusal::Busy(subject())));
    assert_eq!(host.supervisor.rebuild(Kind::Projection, &name(), None).await, Err(Refusal::Busy(subject())));
    gate.store(true, Ordering::SeqCst);
    rebuilt(&host).await;
    assert_eq!(host.caught_up().await.module, slow);
}
