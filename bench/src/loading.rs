//! Budget `loading`: a long stream that is loaded from its snapshot, against a short one that is replayed.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use lantern_aggregates::{Aggregates, Capacity, CommandError};
use lantern_core::{
    Append, EventId, EventType, Expected, Log, Metadata, NewEvent, Payload, StreamName, Timestamp,
    journal::SnapshotPolicy,
};

use crate::{
    Bench,
    figures::median,
    report::{Report, ratio},
    world::open_log,
    write_side::{account, aggregates, command},
};

/// How many events the streams have.
const LONG: usize = 10_000;
const SHORT: usize = 10;

/// How often each is loaded in a round.
const LOADS: usize = 200;

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir_in(bench.world.folder())?;
    let log = open_log(&folder.path().join("loading.db"))?;
    let (long, short) = (account(LONG)?, account(SHORT)?);
    for (stream, events) in [(&long, LONG), (&short, SHORT)] {
        fill(&*log, stream, events).await?;
    }
    // With room for one, whichever is asked the other is gone, and is loaded anew when its turn comes.
    let capacity = Capacity { loaded: 1, ..Capacity::default() };
    let aggregates = aggregates(&bench.world, folder.path(), log, SnapshotPolicy::Manual, capacity).await?;
    aggregates.snapshot(&long).await?;
    let (mut of_long, mut of_short) = (Vec::new(), Vec::new());
    for round in 0..=bench.arguments.rounds {
        let (mut longs, mut shorts) = (Vec::new(), Vec::new());
        for _ in 0..LOADS {
            longs.push(load(&aggregates, &long).await?);
            shorts.push(load(&aggregates, &short).await?);
        }
        // The first round warms up.
        if round > 0 {
            of_long.push(median(longs));
            of_short.push(median(shorts));
        }
    }
    let hits: u64 = aggregates.counters().iter().map(|(_, counters)| counters.snapshots.hits).sum();
    let loads = (LOADS as u64) * (u64::from(bench.arguments.rounds) + 1);
    ensure!(hits == loads, "of {loads} loads {hits} began with the snapshot");
    aggregates.shutdown().await;
    let ratios = of_long.iter().zip(&of_short).map(|(long, short)| long / short).collect();
    let what = format!(
        "loading: {LONG} events from a snapshot ({:.0} µs) against {SHORT} events ({:.0} µs)",
        median(of_long),
        median(of_short)
    );
    report.at_most(&what, median(ratios), 1.5, ratio);
    Ok(())
}

/// Microseconds of a command that has the stream loaded and appends nothing, because it is rejected.
async fn load(aggregates: &Aggregates, stream: &StreamName) -> Result<f64> {
    let command = command(stream, "Withdraw", r#"{"amount":1000000000}"#)?;
    let began = Instant::now();
    match aggregates.send_fresh(command, None).await {
        Err(CommandError::Rejected(_)) => Ok(began.elapsed().as_secs_f64() * 1e6),
        Err(error) => Err(error.into()),
        Ok(answer) => bail!("the command was to be rejected: {answer:?}"),
    }
}

/// Gives a stream its events.
async fn fill(log: &dyn Log, stream: &StreamName, events: usize) -> Result<()> {
    let event = |number: usize| -> Result<NewEvent> {
        Ok(NewEvent {
            id: EventId::now_v7(),
            event_type: EventType::new("Deposited")?,
            schema_version: 1,
            time: Timestamp(number as i64),
            data: Payload::Json(r#"{"amount":1}"#.into()),
            metadata: Metadata::default(),
        })
    };
    let events = (0..events).map(event).collect::<Result<_>>()?;
    log.append(vec![Append { stream: stream.clone(), expected: Expected::NoStream, events }]).await?;
    Ok(())
}
