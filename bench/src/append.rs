//! Budget `append`: durable appends of many clients through the port, against bare inserts into the same table.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use fastrand::Rng;
use lantern_core::{Append, Expected, Log, NewEvent, Payload, Position, StreamName, Timestamp};
use rusqlite::{Connection, Statement, TransactionBehavior, params};

use crate::{
    Bench,
    events::{Generator, new_event, some_type},
    figures::{median, per_second, rate},
    report::{Report, ratio},
    world::open_log,
};

/// How many clients append at once.
pub(crate) const CLIENTS: usize = 64;

/// How many events a round appends.
const EVENTS: usize = 131_072;

const INSERT: &str = "insert into event (position, id, stream, version, category, type, schema_version, time, source, \
                      trace_id, span_id, trace_flags, data) \
                      values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// What appending came to.
pub(crate) struct Appended {
    pub(crate) took: Duration,
    /// How many events a transaction had on average.
    pub(crate) batch: usize,
}

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for each in [1, 16] {
        let (mut host, mut bare, mut batches) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.arguments.rounds {
            let folder = tempfile::tempdir_in(bench.world.folder())?;
            let path = folder.path().join("log.db");
            let appended = by_clients(open_log(&path)?, each, EVENTS).await?;
            let bare_path = folder.path().join("bare.db");
            let batch = appended.batch;
            let inserted = tokio::task::spawn_blocking(move || insert(&path, &bare_path, batch)).await??;
            host.push(rate(EVENTS as u64, appended.took));
            bare.push(rate(EVENTS as u64, inserted));
            batches.push(batch as f64);
        }
        let ratios = host.iter().zip(&bare).map(|(host, bare)| host / bare).collect();
        let what = format!("append: {CLIENTS} clients × {each}, durable, {:.0} a transaction", median(batches));
        report.at_least(&what, median(host), 50_000.0, per_second);
        let what = format!("append: × {each}, against bare inserts ({})", per_second(median(bare)));
        report.at_least(&what, median(ratios), 0.5, ratio);
    }
    Ok(())
}

/// Appends from many clients, each waiting for its answer before it appends again.
pub(crate) async fn by_clients(log: Arc<dyn Log>, each: usize, events: usize) -> Result<Appended> {
    let mut work = divided(each, events)?;
    // A log that has to find its server first has found it by then.
    let first = new_event(&mut Rng::with_seed(1), some_type()?, Timestamp(0));
    let stream = StreamName::new("Before-1")?;
    log.append(vec![Append { stream, expected: Expected::Any, events: vec![first] }]).await?;
    let end = Position(log.head().borrow().0 + events as u64);
    let transactions = tokio::spawn(count_moves(log.clone(), end));
    let began = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for appends in work.drain(..) {
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
    let took = began.elapsed();
    let transactions = transactions.await?;
    ensure!(*log.head().borrow() == end, "the log ends at {:?}", log.head().borrow());
    Ok(Appended { took, batch: events.div_ceil(transactions.max(1)) })
}

/// The appends of each client: a client writes its own streams, so many events at a time.
fn divided(each: usize, all: usize) -> Result<Vec<Vec<Append>>> {
    let mut generator = Generator::new()?;
    let mut clients = vec![Vec::new(); CLIENTS];
    for number in 0..all / each {
        let mut appends = generator.appends(each)?;
        let events: Vec<NewEvent> = appends.iter_mut().flat_map(|append| append.events.drain(..)).collect();
        let Some(Append { stream, expected, .. }) = appends.pop() else { continue };
        clients[number % CLIENTS].push(Append { stream, expected, events });
    }
    Ok(clients)
}

/// Counts how often the head moves, which it does once a transaction, until the log ends at a position.
async fn count_moves(log: Arc<dyn Log>, end: Position) -> usize {
    let mut head = log.head();
    let mut moves = 0;
    while *head.borrow_and_update() < end && head.changed().await.is_ok() {
        moves += 1;
    }
    moves
}

/// Inserts as many events into a table with the same columns and indexes, with one prepared statement, so many a
/// transaction.
fn insert(like: &Path, path: &Path, batch: usize) -> Result<Duration> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4096, |_| Ok(()))?;
    for statement in tables(like)? {
        connection.execute_batch(&statement)?;
    }
    let mut generator = Generator::new()?;
    let events = generator.appends(EVENTS)?;
    let began = Instant::now();
    let mut position = 0;
    for batch in events.chunks(batch) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for append in batch {
                for event in &append.events {
                    position += 1;
                    insert_one(&mut insert, position, event)?;
                }
            }
        }
        transaction.commit()?;
    }
    Ok(began.elapsed())
}

fn insert_one(insert: &mut Statement<'_>, position: i64, event: &NewEvent) -> Result<()> {
    /// How many events a stream has.
    const STREAM: i64 = 20;
    let Payload::Json(data) = &event.data else { return Ok(()) };
    let trace = event.metadata.trace.as_ref();
    insert.execute(params![
        position,
        event.id.as_bytes().as_slice(),
        position / STREAM,
        position % STREAM,
        1,
        2,
        event.schema_version,
        event.time.0,
        3,
        trace.map(|trace| trace.trace_id.to_be_bytes()),
        trace.map(|trace| trace.span_id.cast_signed()),
        trace.map(|trace| trace.flags),
        &**data,
    ])?;
    Ok(())
}

/// The statements that made the tables and indexes of a file.
fn tables(path: &Path) -> Result<Vec<String>> {
    let connection = Connection::open(path)?;
    let mut statement = connection.prepare("select sql from sqlite_schema where sql is not null")?;
    let found = statement.query_map((), |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
