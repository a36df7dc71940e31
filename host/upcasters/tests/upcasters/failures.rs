//! Failures of upcasters are failures of the event; what may be broken inside is thrown away.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use lantern_core::{
    EventType,
    module::{Failure, FailureKind},
    upcasting::Form,
};

use crate::host::{Closure, Host, accepted, json};

const STEP: &[&str] = &["Placed 1 -> Placed 2"];

#[tokio::test]
async fn what_an_upcaster_says_and_meets_is_told_with_its_name() {
    let kinds = [FailureKind::Permanent, FailureKind::Trap, FailureKind::Deadline, FailureKind::Limit];
    for kind in kinds {
        let host = Host::start().await;
        host.deploy("order-placed", Closure::failing("a", STEP, kind)).await.unwrap();
        let event = host.append("Placed", 1, json("\"bad\"")).await;
        let failure = host.upcasters.upcasting().upcast(&event, &accepted(&[])).unwrap_err();
        let message = "upcaster `order-placed` failed at version 1 of `Placed`: it is bad";
        assert_eq!((failure.kind, failure.message.as_str()), (kind, message));
        assert_eq!(failure.backtrace.as_deref(), Some("0: upcast"));
        assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 2 raw a", "the next event is none the worse");
    }
}

#[tokio::test]
async fn a_step_late_in_the_chain_fails_the_event_as_a_whole() {
    let host = Host::start().await;
    host.deploy("first", Closure::noting("a", STEP)).await.unwrap();
    let refusing = |_: &Form| Err(Failure::new(FailureKind::Permanent, "no total"));
    host.deploy("second", Closure::new("b", &["Placed 2 -> Placed 3"], refusing)).await.unwrap();
    let wanted = "Permanent: upcaster `second` failed at version 2 of `Placed`: no total";
    assert_eq!(host.shows("Placed", 1, &[]).await, wanted);
    assert_eq!(host.shows("Placed", 1, &[("Placed", 2)]).await, "Placed 2 raw a", "who stops before it is not touched");
}

#[tokio::test]
async fn what_a_module_makes_is_what_it_declared() {
    let made = |event_type: &str, schema_version, data: &str| {
        let form = Form { event_type: EventType::new(event_type).unwrap(), schema_version, data: json(data) };
        move |_: &Form| Ok(form.clone())
    };
    let cases = [
        (
            Closure::new("version", STEP, made("Placed", 3, "{}")),
            "it made version 3 of `Placed`, but declared version 2",
        ),
        (
            Closure::new("type", STEP, made("Paid", 2, "{}")),
            "it made version 2 of `Paid`, but declared version 2 of `Placed`",
        ),
        (Closure::new("json", STEP, made("Placed", 2, "{\"a\":")), "what it made is no JSON: EOF"),
        (Closure::new("empty", STEP, made("Placed", 2, "")), "what it made is no JSON"),
        (Closure::new("two", STEP, made("Placed", 2, "{} {}")), "what it made is no JSON"),
    ];
    for (closure, wanted) in cases {
        let host = Host::start().await;
        host.deploy("placed", closure).await.unwrap();
        let seen = host.shows("Placed", 1, &[]).await;
        assert!(seen.starts_with("Permanent: upcaster `placed` failed at version 1 of `Placed`: "), "{seen}");
        assert!(seen.contains(wanted), "{seen}");
    }
}

#[tokio::test]
async fn an_instance_serves_many_calls_and_ends_with_a_trap() {
    let host = Host::start().await;
    let (trapping, refusing) = (
        Closure::failing("a", STEP, FailureKind::Trap),
        Closure::failing("b", &["Paid 1 -> Paid 2"], FailureKind::Permanent),
    );
    let (trapped, refused) = (trapping.instances.clone(), refusing.instances.clone());
    host.deploy("placed", trapping).await.unwrap();
    host.deploy("paid", refusing).await.unwrap();
    for event_type in ["Placed", "Paid"] {
        let good = host.append(event_type, 1, json("\"good\"")).await;
        let bad = host.append(event_type, 1, json("\"bad\"")).await;
        for event in [&good, &good, &bad, &good, &bad, &good] {
            host.seen(event, &[]);
        }
    }
    assert_eq!(trapped.load(Ordering::Relaxed), 3, "one, and one after each trap");
    assert_eq!(refused.load(Ordering::Relaxed), 1, "a refusal breaks nothing");
}

#[tokio::test]
async fn a_panic_of_the_host_costs_an_instance_and_no_more() {
    let host = Host::start().await;
    let panicking = Closure::new("a", STEP, |form| {
        assert_ne!(form.data.as_bytes(), b"\"bad\"", "a bug");
        Ok(Form { schema_version: 2, ..form.clone() })
    });
    let made = panicking.instances.clone();
    host.deploy("placed", panicking).await.unwrap();
    let bad = host.append("Placed", 1, json("\"bad\"")).await;
    // More often than there may be instances.
    for _ in 0..40 {
        assert!(catch_unwind(AssertUnwindSafe(|| host.seen(&bad, &[]))).is_err());
    }
    assert_eq!(host.shows("Placed", 1, &[]).await, "Placed 2 raw");
    assert_eq!(made.load(Ordering::Relaxed), 41);
}

#[tokio::test]
async fn callers_at_once_have_an_instance_each_up_to_a_bound() {
    const CALLERS: usize = 48;
    static RUNNING: AtomicU64 = AtomicU64::new(0);
    static MOST: AtomicU64 = AtomicU64::new(0);
    let host = Host::start().await;
    // Sixteen calls meet before any of them ends, so that they must run at once.
    let meeting = Barrier::new(16);
    let counting = Closure::new("a", STEP, move |form| {
        MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        meeting.wait();
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        Ok(Form { schema_version: 2, ..form.clone() })
    });
    let made = counting.instances.clone();
    host.deploy("placed", counting).await.unwrap();
    let event = host.append("Placed", 1, json("\"raw\"")).await;
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| assert_eq!(host.seen(&event, &[]), "Placed 2 raw"));
        }
    });
    assert_eq!(made.load(Ordering::Relaxed), 16, "those that waited took what was returned");
    assert_eq!(MOST.load(Ordering::SeqCst), 16);
}
