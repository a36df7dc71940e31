//! A rebuild: a generation that catches up beside the live one and is promoted at a position, atomically.

use std::{sync::Arc, time::Duration};

use lantern_core::{Entry, Generation, Happening, State};
use tokio::{sync::OwnedMutexGuard, time};

use crate::{
    Ports, Refusal,
    command::Command,
    processor::{Processor, Running},
    roster::Back,
};

/// How long the live generation may stand still while the new one does its last events.
const LONGEST_STAND: Duration = Duration::from_secs(5);

/// Waits until the new generation has caught up, promotes it, and says how that ended. The journal tells in the entry
/// `started` that it began. Nothing else changes the projection meanwhile: the guard says so.
pub(crate) async fn see_through(
    ports: Arc<Ports>,
    processor: Arc<Processor>,
    green: Running,
    started: u64,
    _changing: OwnedMutexGuard<()>,
) -> Result<(), Refusal> {
    loop {
        if let Err(reason) = caught_up(&ports, &green).await {
            return abandon(&ports, &processor, &green, reason).await;
        }
        let blue = processor.live();
        let paused = blue.progress.borrow().state == State::Paused;
        // Standing still at a position, the live generation shows nothing that the new one has not seen.
        let stand = match blue.ask(Command::Pause).await {
            Ok(position) => position,
            Err(Refusal::Interrupted) => continue,
            Err(refusal) => return Err(refusal),
        };
        let reached = time::timeout(LONGEST_STAND, green.reaches(stand)).await;
        if !matches!(reached, Ok(Ok(()))) {
            if !paused {
                blue.ask(Command::Resume).await?;
            }
            continue;
        }
        return promote(&ports, &processor, blue, green, started, paused).await;
    }
}

/// Waits until a generation has reached what is the head then.
async fn caught_up(ports: &Ports, green: &Running) -> Result<(), String> {
    let head = *ports.log.head().borrow();
    green.reaches(head).await.map_err(|state| {
        let error = green.progress.borrow().last_error.clone();
        error.map_or_else(|| format!("it is {}", state.as_str()), |error| error.message)
    })
}

async fn promote(
    ports: &Ports,
    processor: &Processor,
    blue: Running,
    green: Running,
    started: u64,
    paused: bool,
) -> Result<(), Refusal> {
    let (position, module) = {
        let progress = green.progress.borrow();
        (progress.position, progress.module.digest())
    };
    let happening = Happening::Promoted { generation: green.number, previous: blue.number, position, module };
    record(ports, processor, started, happening).await?;
    let back = Back::Generation { number: blue.number, module: blue.progress.borrow().module.digest() };
    let dropped = {
        let mut standing = processor.standing();
        standing.live = green.clone();
        standing.rebuild = None;
        standing.back.replace(back)
    };
    blue.stop().await;
    forget(ports, processor, dropped, green.number).await;
    if paused {
        green.ask(Command::Pause).await?;
    }
    Ok(())
}

/// Writes the promotion into the journal, unless another host has taken the rebuild up since it began here.
async fn record(ports: &Ports, processor: &Processor, started: u64, promoted: Happening) -> Result<(), Refusal> {
    loop {
        let entries = ports.journal.entries_after(started).await?;
        let is_taken = |entry: &Entry| {
            entry.subject == processor.subject
                && matches!(entry.happening, Happening::RebuildStarted { .. } | Happening::Removed)
        };
        if entries.iter().any(is_taken) || !processor.tenure.holds() {
            return Err(Refusal::ShuttingDown);
        }
        let last = entries.last().map_or(started, |entry| entry.sequence);
        if ports.journal.append_after(last, &processor.subject, promoted.clone()).await?.is_some() {
            return Ok(());
        }
    }
}

/// Removes the generation that nothing can go back to any more.
pub(crate) async fn forget(ports: &Ports, processor: &Processor, back: Option<Back>, live: u32) {
    let Some(Back::Generation { number, .. }) = back else { return };
    if number == live {
        return;
    }
    let generation = Generation { processor: processor.subject.name.clone(), number };
    if let Err(error) = ports.read_models.remove(&generation).await {
        tracing::warn!(%generation, "an old generation could not be removed: {error}");
    }
}

async fn abandon(ports: &Ports, processor: &Processor, green: &Running, reason: String) -> Result<(), Refusal> {
    // A host that shuts down, or gives the projection to another one, stops the run too; the rebuild goes on there.
    if green.progress.borrow().state == State::Stopped || !processor.tenure.holds() {
        return Err(Refusal::ShuttingDown);
    }
    tracing::warn!(projection = %processor.subject.name, generation = green.number, "the rebuild was given up: {reason}");
    processor.standing().rebuild = None;
    green.stop().await;
    let happening = Happening::RebuildAbandoned { generation: green.number, reason };
    ports.journal.append(&processor.subject, happening).await?;
    let generation = Generation { processor: processor.subject.name.clone(), number: green.number };
    ports.read_models.remove(&generation).await?;
    Ok(())
}
