//! What the benchmarks of the write side share: aggregates put together as the binary does it, and commands for them.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use lantern_aggregates::{Aggregates, Capacity, Deploy, Ports};
use lantern_core::{
    Clock, Command, EventType, Journal, Log, Metadata, Name, Payload, StreamName, SystemClock, TraceContext,
    journal::SnapshotPolicy, module::Limits,
};
use lantern_stores::sqlite;
use uuid::Uuid;

use crate::world::{World, upcasting};

/// The guest that decides: a counter of money.
pub(crate) const GUEST: &str = "account_v1";

/// Its name, which is the category of its streams.
pub(crate) const CATEGORY: &str = "Account";

/// The content of a command that is always accepted, and leads to one event.
pub(crate) const DEPOSIT: &str = r#"{"amount":1}"#;

/// Aggregates with snapshots and a journal in a folder.
pub(crate) async fn aggregates(
    world: &World,
    folder: &Path,
    log: Arc<dyn Log>,
    snapshots: SnapshotPolicy,
    capacity: Capacity,
) -> Result<Aggregates> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let journal: Arc<dyn Journal> = Arc::new(sqlite::Journal::open(folder.join("journal.db"), clock.clone())?);
    let (library, threads) = (world.library(), world.threads());
    let upcasting = upcasting(&library, &journal, &log, &threads).await?;
    let ports = Ports {
        log,
        snapshots: Arc::new(sqlite::Snapshots::open(folder.join("snapshots.db"))?),
        library,
        journal,
        clock,
        upcasting,
        threads,
    };
    let aggregates = Aggregates::start(ports, capacity).await?;
    let (name, module) = (Name::new(CATEGORY)?, world.push(GUEST).await?);
    aggregates.deploy(Deploy { name, module, config: [].into(), limits: Limits::default(), snapshots }).await?;
    Ok(aggregates)
}

/// The stream of an account.
pub(crate) fn account(number: usize) -> Result<StreamName> {
    Ok(StreamName::new(format!("{CATEGORY}-{number}"))?)
}

/// A command with a new id, under a span of its own.
pub(crate) fn command(stream: &StreamName, command_type: &str, data: &str) -> Result<Command> {
    let id = Uuid::now_v7();
    let (trace_id, span_id) = id.as_u64_pair();
    let trace = TraceContext { trace_id: id.as_u128(), span_id: span_id ^ trace_id | 1, flags: 1, state: None };
    Ok(Command {
        id,
        stream: stream.clone(),
        command_type: EventType::new(command_type).context("a command type")?,
        data: Payload::Json(data.into()),
        received_at: SystemClock.now(),
        metadata: Metadata { trace: Some(trace), ..Metadata::default() },
    })
}
