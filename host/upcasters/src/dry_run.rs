//! The dry run: before a module may take over, it is tried on events of the log.

use std::sync::Arc;

use lantern_core::{
    Digest, Event, Filter, GuestThreads, Log,
    log::LogError,
    upcasting::{Accepted, Step},
};

use crate::{Refusal, chain::Chain};

/// How many events are tried.
const EVENTS: usize = 50;

/// How many events of the types are looked at in one read, and in how many reads: the newest events often have the
/// newest form already.
const PAGE: usize = 1_000;
const PAGES: usize = 20;

/// Tries the chain with the new module on the last events it takes, and answers how many they were. It must do whatever
/// the chain in charge can do.
pub(crate) async fn dry_run(
    log: &dyn Log,
    threads: &GuestThreads,
    module: Digest,
    steps: &[Step],
    (current, candidate): (Arc<Chain>, Arc<Chain>),
) -> Result<u64, Refusal> {
    let events = recent(log, steps).await?;
    let tried = threads.run(move || tries(module, &events, &current, &candidate)).await;
    tried?.map_err(|refusal| *refusal)
}

/// The last events that one of the steps takes, the newest first.
async fn recent(log: &dyn Log, steps: &[Step]) -> Result<Vec<Event>, LogError> {
    let event_types = steps.iter().map(|step| step.event_type.clone()).collect();
    let filter = Filter { event_types, ..Filter::default() };
    let taken = |event: &Event| {
        let form = (event.event_type.as_str(), event.schema_version);
        steps.iter().any(|step| (step.event_type.as_str(), step.schema_version) == form)
    };
    let mut before = log.head().borrow().next();
    let mut events = Vec::new();
    for _ in 0..PAGES {
        let page = log.read_backward(before, &filter, PAGE).await?;
        if page.end == before {
            break;
        }
        before = page.end;
        events.extend(page.events.into_iter().filter(taken).take(EVENTS - events.len()));
        if events.len() == EVENTS {
            break;
        }
    }
    Ok(events)
}

fn tries(module: Digest, events: &[Event], current: &Chain, candidate: &Chain) -> Result<u64, Box<Refusal>> {
    // A reader that understands everything.
    let all = Accepted::new();
    for event in events {
        let Err(failure) = candidate.upcast(event, &all) else { continue };
        if current.upcast(event, &all).is_ok() {
            return Err(Box::new(Refusal::DryRun {
                module,
                position: event.position,
                event_type: event.event_type.to_string(),
                reason: failure.message,
            }));
        }
    }
    Ok(events.len() as u64)
}
