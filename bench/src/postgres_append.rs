//! Budget `postgres-append`: durable appends of many clients to the log in PostgreSQL, against bare inserts of as many
//! events a transaction into the same table.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use lantern_stores::postgres::{Database, Log};
use uuid::Uuid;

use crate::{
    Bench,
    append::{CLIENTS, by_clients},
    events::Generator,
    figures::{median, per_second, rate},
    postgres::{self, Schema},
    report::{Report, ratio},
};

/// How many events a round appends.
const EVENTS: usize = 32_768;

const INSERT: &str = "
    insert into event (position, version, id, stream, type, schema_version, time, source, trace_id, span_id,
        trace_flags, data)
    select * from unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
        $8::text[], $9::uuid[], $10::bigint[], $11::smallint[], $12::bytea[])";

/// Measures, and reports.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if let Some(reason) = postgres::absence() {
        report.note(format!("postgres-append was not measured: {reason}"));
        return Ok(());
    }
    for each in [1, 16] {
        let (mut host, mut bare, mut batches) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.arguments.rounds {
            let schema = Schema::make().await?;
            let log = Arc::new(Log::open(&Database::open(&schema.url).await?).await?);
            let appended = by_clients(log, each, EVENTS).await?;
            schema.remove().await?;
            let schema = Schema::make().await?;
            Database::open(&schema.url).await?;
            let inserted = insert(&schema, appended.batch).await?;
            schema.remove().await?;
            host.push(rate(EVENTS as u64, appended.took));
            bare.push(rate(EVENTS as u64, inserted));
            batches.push(appended.batch as f64);
        }
        let ratios = host.iter().zip(&bare).map(|(host, bare)| host / bare).collect();
        let shown = (per_second(median(host)), per_second(median(bare)));
        let batch = median(batches);
        report.note(format!(
            "postgres-append: {CLIENTS} clients × {each}, durable, {batch:.0} a transaction: {}; bare inserts: {}",
            shown.0, shown.1
        ));
        let what = format!("postgres-append: × {each}, against bare inserts");
        report.at_least(&what, median(ratios), 0.5, ratio);
    }
    Ok(())
}

/// Inserts events into the table of a schema over one connection, so many a transaction, each on disk before the next.
async fn insert(schema: &Schema, batch: usize) -> Result<Duration> {
    /// How many events a stream has.
    const STREAM: i64 = 20;
    let mut connection = schema.connect().await?;
    let mut generator = Generator::new()?;
    let events: Vec<_> = generator.appends(EVENTS)?.into_iter().flat_map(|append| append.events).collect();
    let began = Instant::now();
    let mut first = 1;
    for batch in events.chunks(batch) {
        let positions: Vec<i64> = (first..).take(batch.len()).collect();
        let traces = || batch.iter().map(|event| event.metadata.trace.as_ref());
        sqlx::query(INSERT)
            .bind(&positions)
            .bind(positions.iter().map(|position| position % STREAM).collect::<Vec<_>>())
            .bind(batch.iter().map(|event| event.id).collect::<Vec<_>>())
            .bind(positions.iter().map(|position| format!("LoanApplication-{}", position / STREAM)).collect::<Vec<_>>())
            .bind(batch.iter().map(|event| event.event_type.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|event| i64::from(event.schema_version)).collect::<Vec<_>>())
            .bind(batch.iter().map(|event| event.time.0).collect::<Vec<_>>())
            .bind(batch.iter().map(|event| event.metadata.source.as_deref()).collect::<Vec<_>>())
            .bind(traces().map(|trace| Some(Uuid::from_u128(trace?.trace_id))).collect::<Vec<_>>())
            .bind(traces().map(|trace| Some(trace?.span_id.cast_signed())).collect::<Vec<_>>())
            .bind(traces().map(|trace| Some(i16::from(trace?.flags))).collect::<Vec<_>>())
            .bind(batch.iter().map(|event| event.data.as_bytes()).collect::<Vec<_>>())
            .execute(&mut connection)
            .await?;
        first += batch.len() as i64;
    }
    Ok(began.elapsed())
}
