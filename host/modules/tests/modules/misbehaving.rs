//! Guests that loop, panic, sleep, flood or eat: each gets the right failure, and the next call finds a fresh instance.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use lantern_core::{
    Document, Fate, Library as _, SystemClock, Value, View,
    documents::Scan,
    module::{Failure, FailureKind, Limits, Settings},
    read_model::ReadModelError,
};
use lantern_modules::Library;

use crate::support::{call, event, failure, guest, handle, instance, load, nothing, settings};

fn limited(change: impl FnOnce(&mut Limits)) -> Settings {
    let mut settings = settings();
    change(&mut settings.limits);
    settings
}

#[track_caller]
fn assert_says(failure: &Failure, kind: FailureKind, parts: &[&str]) {
    assert_eq!(failure.kind, kind, "{failure}");
    for part in parts {
        assert!(failure.message.contains(part), "{:?} lacks {part:?}", failure.message);
    }
}

#[tokio::test]
async fn a_loop_ends_at_its_deadline() {
    let mut looping = load("looping", &limited(|limits| limits.deadline_ms = 30)).await.instance();
    for position in 1..=2 {
        let failure = failure(&mut looping, &event(position, "{}"));
        assert_says(&failure, FailureKind::Deadline, &["longer than 30 ms", "deadline_ms"]);
        assert_eq!(failure.fate(), Fate::Park);
        assert!(failure.backtrace.unwrap().contains("handle"));
    }
}

#[tokio::test]
async fn a_loop_holds_up_no_neighbour() {
    let looping = load("looping", &limited(|limits| limits.deadline_ms = 2_000)).await;
    let mut empty = instance("empty").await;
    let busy = std::thread::spawn(move || failure(&mut looping.instance(), &event(1, "{}")).kind);
    let mut handled = 0;
    while !busy.is_finished() {
        handle(&mut empty, &event(2, "{}")).result.unwrap();
        handled += 1;
    }
    assert_eq!(busy.join().unwrap(), FailureKind::Deadline);
    assert!(handled > 10, "only {handled} calls beside a loop of two seconds");
}

#[tokio::test]
async fn a_panic_says_where_and_why() {
    let mut trapping = instance("trapping").await;
    for position in 1..=2 {
        let outcome = handle(&mut trapping, &event(position, "{}"));
        let failure = outcome.result.unwrap_err();
        let reason = format!("cannot bear OrderPlaced at position {position}");
        assert_says(&failure, FailureKind::Trap, &["the module panicked at", "lib.rs:", &reason]);
        let backtrace = failure.backtrace.unwrap();
        assert!(backtrace.starts_with("<trapping::Trapping as lantern_guest"), "{backtrace}");
        assert!(backtrace.ends_with("\nhandle"), "{backtrace}");
        let said = outcome.witness.logs.iter().map(|line| line.message.as_str()).collect::<Vec<_>>();
        assert!(said.iter().any(|line| line.contains(&reason)), "{said:?}");
    }
}

#[tokio::test]
async fn an_eater_is_stopped_at_its_limit() {
    let mut hungry = load("hungry", &limited(|limits| limits.memory_bytes = 8 << 20)).await.instance();
    for position in 1..=2 {
        let failure = failure(&mut hungry, &event(position, "{}"));
        assert_says(&failure, FailureKind::Limit, &["memory", "8388608", "memory_bytes"]);
    }
}

#[tokio::test]
async fn a_module_that_needs_more_memory_than_it_may_have_does_not_start() {
    let mut empty = load("empty", &limited(|limits| limits.memory_bytes = 64 << 10)).await.instance();
    assert_says(&failure(&mut empty, &event(1, "{}")), FailureKind::Limit, &["memory_bytes"]);
    let mut empty = load("empty", &limited(|limits| limits.table_elements = 1)).await.instance();
    assert_says(&failure(&mut empty, &event(1, "{}")), FailureKind::Limit, &["table_elements"]);
}

#[tokio::test]
async fn an_endless_recursion_overflows_only_its_own_stack() {
    let mut recursive = instance("recursive").await;
    // The thread is of the size the host's own have.
    let kinds = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || [1, 2].map(|position| failure(&mut recursive, &event(position, "{}"))));
    for failure in kinds.unwrap().join().unwrap() {
        assert_says(&failure, FailureKind::Trap, &["stack overflowed"]);
        assert_eq!(failure.backtrace.unwrap(), "recursive::depth (64 times)");
    }
}

#[tokio::test]
async fn a_flood_is_counted_and_not_kept() {
    let mut flooding = load("flooding", &limited(|limits| limits.deadline_ms = 300)).await.instance();
    let outcome = handle(&mut flooding, &event(1, "{}"));
    assert_eq!(outcome.witness.logs.len(), 100);
    assert!(outcome.witness.dropped_logs > 0);
    let longest = outcome.witness.logs.iter().map(|line| line.message.len()).max().unwrap();
    assert!((8_192..8_300).contains(&longest), "{longest}");
    assert!(outcome.witness.logs[0].message.contains("(cut: 1572864 bytes)"));
    // Whether a machine is fast enough for a million lines in the time given is not the point.
    if let Err(failure) = outcome.result {
        assert_says(&failure, FailureKind::Deadline, &["300 ms"]);
    }
}

#[tokio::test]
async fn sleeping_ends_the_call_at_once() {
    let mut sleepy = instance("sleepy").await;
    for position in 1..=2 {
        assert_says(&failure(&mut sleepy, &event(position, "{}")), FailureKind::Limit, &["clock stands still"]);
    }
}

#[tokio::test]
async fn what_a_guest_returns_is_told_as_it_is_and_keeps_the_instance() {
    let mut poison = instance("poison").await;
    let outcome = |instance: &mut _, data: &str| handle(instance, &event(1, data)).result;
    let refused = outcome(&mut poison, r#"{"poison":true}"#).unwrap_err();
    assert_says(&refused, FailureKind::Permanent, &["the event is poison"]);
    assert_eq!(refused.backtrace, None);
    let flaky = outcome(&mut poison, r#"{"flaky":true}"#).unwrap_err();
    assert_says(&flaky, FailureKind::Transient, &["the event is flaky"]);
    assert_eq!(flaky.fate(), Fate::Retry);
    assert_eq!(outcome(&mut poison, "{}").unwrap().writes.len(), 1, "nothing of the failed calls is left");
}

#[tokio::test]
async fn many_instances_live_side_by_side() {
    let counter = load("counter", &settings()).await;
    let mut instances = (0..200).map(|_| counter.instance()).collect::<Vec<_>>();
    for instance in &mut instances {
        instance.handle(&call(&event(1, r#"{"amount":1}"#)), &nothing()).result.unwrap();
    }
}

#[tokio::test]
async fn a_call_can_be_made_wherever_blocking_is_allowed() {
    let mut trapping = instance("trapping").await;
    // Without a runtime, on a thread made for blocking, and even on a worker: nothing in a call needs any of them.
    let first = std::thread::spawn(move || {
        let kind = failure(&mut trapping, &event(1, "{}")).kind;
        (trapping, kind)
    });
    let (mut trapping, kind) = first.join().unwrap();
    assert_eq!(kind, FailureKind::Trap);
    assert_eq!(failure(&mut trapping, &event(2, "{}")).kind, FailureKind::Trap);
    let last = tokio::task::spawn_blocking(move || failure(&mut trapping, &event(3, "{}")).kind);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), last).await.unwrap().unwrap(), FailureKind::Trap);
}

#[tokio::test]
async fn when_the_host_is_full_that_is_not_the_modules_fault() {
    // A library of its own, so that the other tests find room meanwhile.
    let library = Library::in_memory(Arc::new(SystemClock)).unwrap();
    let digest = library.push(guest("empty")).await.unwrap().digest;
    let empty = library.load(digest, &settings()).await.unwrap();
    let (mut running, mut full) = (Vec::new(), None);
    while full.is_none() {
        let mut instance = empty.instance();
        full = handle(&mut instance, &event(1, "{}")).result.err();
        running.push(instance);
        assert!(running.len() < 20_000, "there is no end");
    }
    assert!(running.len() >= 10_000, "room for {} only", running.len());
    let full = full.unwrap();
    assert_says(&full, FailureKind::Host, &["no room for another instance"]);
    assert_eq!(full.fate(), Fate::Stop);
    let mut last = running.pop().unwrap();
    running.pop();
    handle(&mut last, &event(1, "{}")).result.unwrap();
}

/// A read model with a fault in its code.
struct Faulty;

impl View for Faulty {
    fn get(&self, _: &str, _: &str) -> Result<Option<Value>, ReadModelError> {
        panic!("a fault of the host")
    }

    fn scan(&self, _: &str, _: &Scan) -> Result<Vec<Document>, ReadModelError> {
        panic!("a fault of the host")
    }
}

#[tokio::test]
async fn a_panic_of_the_host_passes_through_the_guest() {
    let mut counter = instance("counter").await;
    let view: Arc<dyn View> = Arc::new(Faulty);
    let event = event(1, r#"{"amount":1}"#);
    let panicked = catch_unwind(AssertUnwindSafe(|| counter.handle(&call(&event), &view).result));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a fault of the host"));
    handle(&mut counter, &event).result.unwrap();
}
