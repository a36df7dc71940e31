//! Failures: retry, parking by stream, skipping, stopping, and draining the dead letters in order.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use lantern_core::{
    Kind, Position, State,
    journal::{FailurePolicy, OnFailure},
    module::{Failure, FailureKind},
    parked::Standing,
};
use lantern_processors::{Refusal, Selection};

use crate::host::{Closure, Host, failing, name, note, noting};

fn bad() -> Closure {
    failing("failing", "\"bad\"", FailureKind::Permanent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_holds_its_stream_back_and_no_other() {
    let host = Host::start().await;
    host.deploy(bad()).await;
    for (stream, data) in [("A-1", "1"), ("A-1", "\"bad\""), ("B-1", "1"), ("A-1", "1"), ("B-1", "1")] {
        host.append(stream, data).await;
    }
    let status = host.caught_up().await;
    assert_eq!((host.noted("A-1").await, host.noted("B-1").await), ("[1]".into(), "[3,5]".into()));
    assert_eq!((status.parked_events, status.parked_streams, status.failed), (2, 1, 1));
    let parked = host.parked().await;
    let seen: Vec<_> = parked.iter().map(|p| (p.position.0, p.standing, p.attempts)).collect();
    assert_eq!(seen, [(2, Standing::Failed, 1), (4, Standing::Behind, 0)]);
    assert_eq!(parked[0].error, "\"bad\" is bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_swap_to_a_mended_module_a_retry_drains_in_order() {
    let mut host = Host::start().await;
    host.deploy(bad()).await;
    for (stream, data) in [("A-1", "\"bad\""), ("B-1", "\"bad\""), ("A-1", "1"), ("A-1", "1")] {
        host.append(stream, data).await;
    }
    host.caught_up().await;
    host.restart().await;
    host.append("A-1", "1").await;
    let status = host.caught_up().await;
    assert_eq!((status.parked_events, status.parked_streams), (5, 2), "held streams outlive a restart");

    let early = host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
    assert_eq!((early.handled, early.remaining), (0, 5));
    assert_eq!(host.parked().await[0].attempts, 2);

    let mended = host.add(noting());
    let swapped = host.supervisor.swap(Kind::Projection, &name(), mended).await.unwrap();
    assert_eq!(swapped.parked_mended, 2);
    let behind = host.supervisor.retry(Kind::Projection, &name(), Selection::Position(Position(3))).await;
    assert_eq!(behind, Err(Refusal::NotFirst { position: Position(3), first: Position(1) }));
    let one =
        host.supervisor.retry(Kind::Projection, &name(), Selection::Stream("B-1".parse().unwrap())).await.unwrap();
    assert_eq!((one.handled, one.remaining), (1, 4));
    let all = host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
    assert_eq!((all.handled, all.remaining), (4, 0));
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert_eq!(host.documents().await, host.expected().await);
    assert!(host.parked().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_failure_is_tried_again_before_anything_else() {
    let host = Host::start().await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let flaky = Closure::new("flaky", move |event, view| {
        if event.position == Position(2) && counted.fetch_add(1, Ordering::SeqCst) < 3 {
            return Err(Failure::new(FailureKind::Transient, "not yet"));
        }
        note(event, view)
    });
    host.deploy(flaky).await;
    for _ in 0..3 {
        host.append("A-1", "1").await;
    }
    let status = host.caught_up().await;
    assert_eq!(host.noted("A-1").await, "[1,2,3]");
    assert_eq!((calls.load(Ordering::SeqCst), status.failed, status.parked_events), (4, 3, 0));
    assert_eq!(status.last_error, None, "it works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_does_not_pass_is_parked_after_its_attempts() {
    let host = Host::start().await;
    let policy = FailurePolicy { attempts: 3, ..FailurePolicy::default() };
    host.deploy_with(failing("never", "\"bad\"", FailureKind::Transient), policy).await.unwrap();
    host.append("A-1", "\"bad\"").await;
    host.append("B-1", "1").await;
    assert_eq!(host.caught_up().await.failed, 3);
    let parked = host.parked().await;
    assert_eq!((parked.len(), parked[0].attempts, parked[0].kind), (1, 3, Some(FailureKind::Transient)));
    assert_eq!(host.noted("B-1").await, "[2]");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_skip_records_and_goes_on_with_the_stream() {
    let host = Host::start().await;
    let policy = FailurePolicy { then: OnFailure::Skip, ..FailurePolicy::default() };
    host.deploy_with(bad(), policy).await.unwrap();
    for data in ["1", "\"bad\"", "1"] {
        host.append("A-1", data).await;
    }
    assert_eq!(host.caught_up().await.parked_events, 0);
    assert_eq!(host.noted("A-1").await, "[1,3]");
    let parked = host.parked().await;
    assert_eq!((parked.len(), parked[0].standing), (1, Standing::Skipped));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_stop_stops_before_the_event_until_resumed() {
    let host = Host::start().await;
    let policy = FailurePolicy { then: OnFailure::Stop, ..FailurePolicy::default() };
    host.deploy_with(bad(), policy).await.unwrap();
    for data in ["1", "\"bad\"", "1"] {
        host.append("A-1", data).await;
    }
    let status = host.until(|status| status.state == State::Error).await;
    assert_eq!((status.position, status.last_error.unwrap().position), (Position(1), Some(Position(2))));
    let mended = host.add(noting());
    host.supervisor.swap(Kind::Projection, &name(), mended).await.unwrap();
    assert_eq!(host.noted("A-1").await, "[1]", "a swap does not resume");
    host.supervisor.resume(Kind::Projection, &name()).await.unwrap();
    host.caught_up().await;
    assert_eq!(host.noted("A-1").await, "[1,2,3]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_event_lets_its_stream_go_on() {
    let host = Host::start().await;
    host.deploy(bad()).await;
    host.append("A-1", "\"bad\"").await;
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert!(matches!(
        host.supervisor.skip(Kind::Projection, &name(), Position(9)).await,
        Err(Refusal::NotParked { .. })
    ));
    assert!(matches!(
        host.supervisor.skip(Kind::Projection, &name(), Position(2)).await,
        Err(Refusal::NotFirst { .. })
    ));
    host.supervisor.skip(Kind::Projection, &name(), Position(1)).await.unwrap();
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert_eq!(host.noted("A-1").await, "", "the event behind comes first");
    let retried = host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (2, 0));
    assert_eq!(host.noted("A-1").await, "[2,3]");
    assert_eq!(host.parked().await[0].standing, Standing::Skipped);
}
