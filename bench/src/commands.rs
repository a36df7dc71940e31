//! Budget `commands`: commands of many clients, decided by a guest and durably appended, against plain appends of the
//! same events.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lantern_aggregates::{Aggregates, Capacity};
use lantern_core::{Append, Event, Expected, Filter, Log, NewEvent, Position, StreamName, journal::SnapshotPolicy};
use tokio::task::JoinSet;

use crate::{
    Bench,
    figures::{median, per_second, rate},
    report::{Report, ratio},
    world::open_log,
    write_side::{DEPOSIT, account, aggregates, command},
};

/// How many clients send commands at once, each to an account of its own.
const CLIENTS: usize = 64;

/// How many commands each sends in a round.
const EACH: usize = 512;

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let (mut decided, mut plain) = (Vec::new(), Vec::new());
    for round in 0..=bench.arguments.rounds {
        let folder = tempfile::tempdir_in(bench.world.folder())?;
        let log = open_log(&folder.path().join("commands.db"))?;
        let every = SnapshotPolicy::default();
        let aggregates = aggregates(&bench.world, folder.path(), log.clone(), every, Capacity::default()).await?;
        // The first command of each account loads it.
        send(&aggregates, 1).await?;
        let warm = *log.head().borrow();
        let took = send(&aggregates, EACH).await?;
        let events = after(&*log, warm).await?;
        ensure!(events.len() == CLIENTS * EACH, "{} commands led to {} events", CLIENTS * EACH, events.len());
        aggregates.shutdown().await;
        let appended = append(&open_log(&folder.path().join("plain.db"))?, &events).await?;
        // The first round warms up.
        if round > 0 {
            decided.push(rate(events.len() as u64, took));
            plain.push(rate(events.len() as u64, appended));
        }
    }
    let ratios = decided.iter().zip(&plain).map(|(decided, plain)| decided / plain).collect();
    let what = format!(
        "commands: {CLIENTS} clients, {} commands decided and appended, against plain appends ({})",
        per_second(median(decided)),
        per_second(median(plain)),
    );
    report.at_least(&what, median(ratios), 0.7, ratio);
    Ok(())
}

/// Sends so many commands of each client, each waiting for its answer before it sends the next.
async fn send(aggregates: &Aggregates, each: usize) -> Result<Duration> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (aggregates, stream) = (aggregates.clone(), account(client)?);
        clients.spawn(async move {
            for _ in 0..each {
                aggregates.send_fresh(command(&stream, "Deposit", DEPOSIT)?, None).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(began.elapsed())
}

/// Appends the same events with as many clients, one at a time each.
async fn append(log: &Arc<dyn Log>, events: &[Event]) -> Result<Duration> {
    let mut streams: BTreeMap<StreamName, Vec<Append>> = BTreeMap::new();
    for event in events {
        let (stream, expected) = (event.stream.clone(), Expected::Any);
        streams.entry(stream.clone()).or_default().push(Append { stream, expected, events: vec![renewed(event)] });
    }
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for appends in streams.into_values() {
        let log = log.clone();
        clients.spawn(async move {
            for append in appends {
                log.append(vec![append]).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(began.elapsed())
}

/// The events of a log after a position.
async fn after(log: &dyn Log, position: Position) -> Result<Vec<Event>> {
    let (mut events, mut at) = (Vec::new(), position);
    loop {
        let page = log.read(at, &Filter::default(), 4_000).await?;
        if page.end == at {
            return Ok(events);
        }
        at = page.end;
        events.extend(page.events);
    }
}

/// An event as it was before it was in a log.
fn renewed(event: &Event) -> NewEvent {
    NewEvent {
        id: event.id,
        event_type: event.event_type.clone(),
        schema_version: event.schema_version,
        time: event.time,
        data: event.data.clone(),
        metadata: event.metadata.clone(),
    }
}
