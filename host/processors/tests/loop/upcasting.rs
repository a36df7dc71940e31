//! Upcasting: modules see events in their newest form; one that cannot be brought there fails like any other.

use std::{
    borrow::Cow,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use lantern_core::{
    Event, EventType, Filter, Kind, Position, Upcasting,
    module::{Failure, FailureKind},
    upcasting::Accepted,
};
use lantern_processors::Selection;
use tokio::sync::watch;

use crate::host::{Closure, Host, name, note, put};

/// A chain of one upcaster: events of type `old` become events of type `new`.
#[derive(Default)]
pub(crate) struct Chain {
    step: Mutex<Option<(&'static str, &'static str)>>,
    changes: watch::Sender<u64>,
    /// How many events were changed.
    changed: AtomicU64,
}

impl Chain {
    fn set(&self, old: &'static str, new: &'static str) {
        *self.step.lock().unwrap() = Some((old, new));
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl Upcasting for Chain {
    fn widen(&self, mut filter: Filter) -> Filter {
        if let Some((old, new)) = *self.step.lock().unwrap()
            && filter.event_types.contains(new)
        {
            filter.event_types.insert(old.into());
        }
        filter
    }

    fn upcast<'e>(&self, event: &'e Event, _: &Accepted) -> Result<Cow<'e, Event>, Failure> {
        let Some((_, new)) = self.step.lock().unwrap().filter(|(old, _)| *old == event.event_type.as_str()) else {
            return Ok(Cow::Borrowed(event));
        };
        if event.data.as_bytes() == b"\"broken\"" {
            return Err(Failure::new(FailureKind::Permanent, "it has no newer form"));
        }
        self.changed.fetch_add(1, Ordering::SeqCst);
        Ok(Cow::Owned(Event { event_type: EventType::new(new).unwrap(), ..event.clone() }))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Notes the types it sees by position.
fn typing(name: &str) -> Closure {
    Closure::new(name, |event, _| {
        let kind = format!("\"{}\"", event.event_type);
        if event.data.as_bytes() == b"\"bad\"" {
            return Err(Failure::new(FailureKind::Permanent, "bad"));
        }
        Ok(put(&event.position.to_string(), kind))
    })
}

async fn types(host: &Host) -> Vec<String> {
    host.documents().await.into_iter().map(|(position, kind)| format!("{position} {kind}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn older_forms_are_read_and_handled_in_the_newest() {
    let host = Host::start().await;
    host.append("A-1", "1").await;
    host.world.chain.set("Noted", "Written");
    host.deploy(typing("typing").of_type("Written")).await;
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert_eq!(types(&host).await, ["1 \"Written\"", "2 \"Written\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_chain_takes_effect_at_a_boundary() {
    let host = Host::start().await;
    host.deploy(typing("typing").of_type("Written")).await;
    host.append("A-1", "1").await;
    assert_eq!(host.caught_up().await.handled, 0);
    host.world.chain.set("Noted", "Written");
    host.append("A-1", "1").await;
    // The reader may have passed over events before it learned of the change, but not over those after.
    host.until(|status| status.position == Position(2)).await;
    host.append("A-1", "1").await;
    host.caught_up().await;
    assert!(types(&host).await.contains(&"3 \"Written\"".into()), "{:?}", types(&host).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_wanted_in_its_newest_form_is_passed_over() {
    let host = Host::start().await;
    host.world.chain.set("Noted", "Written");
    host.deploy(typing("typing").of_type("Noted")).await;
    host.append("A-1", "1").await;
    let status = host.caught_up().await;
    assert_eq!((status.handled, status.parked_events, types(&host).await.len()), (0, 0, 0));
    assert_eq!(host.world.chain.changed.load(Ordering::SeqCst), 1, "it was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upcaster_that_fails_is_a_failure_of_the_event() {
    let host = Host::start().await;
    host.world.chain.set("Noted", "Written");
    host.deploy(Closure::new("noting", note)).await;
    host.append("A-1", "\"broken\"").await;
    host.append("A-1", "1").await;
    host.append("B-1", "1").await;
    assert_eq!(host.caught_up().await.parked_events, 2);
    assert_eq!(host.parked().await[0].error, "it has no newer form");
    assert_eq!(host.noted("B-1").await, "[3]");
    let refused = host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
    assert_eq!((refused.handled, refused.remaining), (0, 2));
    host.world.chain.set("Other", "Written");
    let retried = host.supervisor.retry(Kind::Projection, &name(), Selection::All).await.unwrap();
    assert_eq!((retried.handled, retried.remaining), (2, 0));
    assert_eq!(host.noted("A-1").await, "[1,2]");
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_and_verdicts_see_the_newest_form_too() {
    let host = Host::start().await;
    host.world.chain.set("Noted", "Written");
    host.deploy(typing("typing").of_type("Written")).await;
    host.append("A-1", "1").await;
    host.caught_up().await;
    let picky = host.add(Closure::new("picky", |event, _| match event.event_type.as_str() {
        "Written" if event.data.as_bytes() == b"1" => Ok(put(&event.position.to_string(), "\"picky\"")),
        _ => Err(Failure::new(FailureKind::Permanent, "an old form")),
    }));
    assert_eq!(host.supervisor.swap(Kind::Projection, &name(), picky).await.unwrap().dry_run_events, 1);
    // The module before handles it, so the new one is to blame.
    host.append("A-1", "2").await;
    let status = host.caught_up().await;
    assert_ne!(status.module, picky);
    assert_eq!(types(&host).await, ["1 \"Written\"", "2 \"Written\""]);
}
