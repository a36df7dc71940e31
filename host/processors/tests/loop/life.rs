//! The life of a projection: deploy, follow, pause, resume, restart, remove.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use lantern_core::{Event, Happening, Kind, NewEvent, Position, State};
use lantern_processors::Refusal;

use crate::host::{Closure, Faults, Host, name, noting, put, subject};

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_handled_once_and_in_order() {
    let host = Host::start().await;
    for n in 0..50 {
        host.append(&format!("Order-{}", n % 7), "1").await;
    }
    host.deploy(noting()).await;
    host.caught_up().await;
    for n in 0..50 {
        host.append(&format!("Order-{}", n % 7), "1").await;
    }
    let status = host.caught_up().await;
    assert_eq!(host.documents().await, host.expected().await);
    assert_eq!((status.handled, status.lag), (100, 0));
    host.until(|status| status.state == State::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_is_not_reached() {
    let faults = Faults::gated();
    let host = Host::with(faults.clone()).await;
    for n in 0..5_000 {
        host.append(&format!("Order-{}", n % 7), "1").await;
    }
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    host.deploy(Closure::new("counting", move |event, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(put(event.stream.as_str(), "1"))
    }))
    .await;
    // The second page is handled while the commit of the first one waits.
    host.until(|_| calls.load(Ordering::Relaxed) == 5_000).await;
    let gate = faults.gate.as_ref().unwrap();
    gate.add_permits(1);
    let status = host.until(|status| status.handled > 0).await;
    assert_eq!((status.position, status.handled), (Position(4_000), 4_000));
    gate.add_permits(1);
    assert_eq!(host.caught_up().await.handled, 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_on_an_empty_log_is_live() {
    let host = Host::start().await;
    host.deploy(noting()).await;
    host.until(|status| status.state == State::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_do_not_fit_move_the_checkpoint_too() {
    let mut host = Host::start().await;
    host.deploy(noting().wanting("Order")).await;
    host.append("Order-1", "1").await;
    host.append("Other-1", "1").await;
    host.append("Other-1", "1").await;
    let status = host.caught_up().await;
    assert_eq!((status.position, status.handled), (Position(3), 1));
    host.restart().await;
    assert_eq!(host.caught_up().await.handled, 1, "a stop records how far it came");
    assert_eq!(host.documents().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_projection_handles_nothing_until_resumed_also_after_a_restart() {
    let mut host = Host::start().await;
    host.deploy(noting()).await;
    host.append("Order-1", "1").await;
    host.caught_up().await;
    assert_eq!(host.supervisor.pause(Kind::Projection, &name()).await.unwrap().state, State::Paused);
    host.restart().await;
    host.append("Order-1", "1").await;
    let refused = host.supervisor.wait(Kind::Projection, &name(), Position(2)).await;
    assert!(matches!(refused, Err(Refusal::State { state: State::Paused, .. })), "{refused:?}");
    assert_eq!(host.noted("Order-1").await, "[1]");
    host.supervisor.resume(Kind::Projection, &name()).await.unwrap();
    host.caught_up().await;
    assert_eq!(host.noted("Order-1").await, "[1,2]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_projection_leaves_nothing_but_its_history() {
    let host = Host::start().await;
    host.deploy(noting()).await;
    host.append("Order-1", "1").await;
    host.caught_up().await;
    host.supervisor.remove(Kind::Projection, &name()).await.unwrap();
    assert_eq!(host.supervisor.status(Kind::Projection, &name()), Err(Refusal::Unknown(subject())));
    assert!(host.supervisor.modules_in_use().is_empty());
    let history = host.supervisor.history(Kind::Projection, &name()).await.unwrap();
    assert!(matches!(history.last().unwrap().happening, Happening::Removed));
    host.deploy(noting()).await;
    assert_eq!(host.caught_up().await.generation, 2);
    assert_eq!(host.noted("Order-1").await, "[1]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_given_once() {
    let host = Host::start().await;
    host.deploy(noting()).await;
    let again = host.deploy_with(noting(), lantern_core::journal::FailurePolicy::default()).await;
    assert_eq!(again.unwrap_err(), Refusal::Exists(subject()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_replaced_halts_the_projection() {
    let mut host = Host::start().await;
    host.deploy(noting()).await;
    host.append("Order-1", "1").await;
    host.caught_up().await;
    let event = host.world.events().await.remove(0);
    host.replace_log().await;
    let status = host.until(|status| status.state == State::Error).await;
    assert!(status.last_error.unwrap().message.contains("it was replaced"));

    // The same event at the same place makes it no other log.
    let Event { id, event_type, schema_version, stream, time, data, metadata, .. } = event;
    let event = NewEvent { id, event_type, schema_version, time, data, metadata };
    host.world.append(stream.as_str(), event).await;
    host.restart().await;
    let status = host.until(|status| status.state == State::Error).await;
    assert!(status.last_error.unwrap().message.contains("it was replaced"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_went_back_in_time_halts_the_projection() {
    let mut host = Host::start().await;
    host.deploy(noting()).await;
    host.append("Order-1", "1").await;
    host.caught_up().await;
    host.set_log_back().await;
    let status = host.until(|status| status.state == State::Error).await;
    assert!(status.last_error.unwrap().message.contains("went back in time"));

    host.append("Order-1", "1").await;
    host.restart().await;
    let status = host.until(|status| status.state == State::Error).await;
    assert!(status.last_error.unwrap().message.contains("another event at the checkpoint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_differs_only_in_events_nobody_wanted_halts_the_projection() {
    let mut host = Host::start().await;
    host.deploy(noting().wanting("Order")).await;
    host.append("Order-1", "1").await;
    // So many that the checkpoint moves over them.
    for _ in 0..11_000 {
        host.append("Other-1", "1").await;
    }
    host.caught_up().await;

    host.set_log_back().await;
    for _ in 0..11_002 {
        host.append("Other-1", "1").await;
    }
    host.restart().await;
    let status = host.until(|status| status.state == State::Error).await;
    assert!(status.last_error.unwrap().message.contains("another event at the checkpoint"));
}
