//! The bare pipeline in PostgreSQL: pages of the table of events, the guest, and one statement a batch that writes the
//! documents and moves the checkpoint. It does not wait for the disk, as the host's does not.

use std::{
    sync::mpsc::{Receiver, SyncSender},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sqlx::{PgConnection, Row as _, postgres::PgRow, raw_sql};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{
    bare::{self, Batch, PAGE, Row, Took},
    guest::Program,
    postgres::Schema,
};

/// What the host's read models have of what this pipeline needs.
const TABLES: &str = "
    create table document (
        collection integer not null, key text not null collate \"C\", value text not null, primary key (collection, key)
    ) with (fillfactor = 75);
    create table checkpoint (position bigint not null) with (fillfactor = 10);
    insert into checkpoint values (0);
    set synchronous_commit = off;";

/// Otherwise all of the log is sorted for each page, as long as the server has no statistics of it.
const SETTINGS: &str = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off";

const READ: &str = "select position, id, stream, version, type, schema_version, time, data from event \
                    where position > $1 order by position limit $2";
const WRITE: &str = "
    with moved as (update checkpoint set position = $1)
    insert into document (collection, key, value) select 1, * from unnest($2::text[], $3::text[])
    on conflict (collection, key) do update set value = excluded.value";

/// Rebuilds a read model from all events of a log, in the schema of the log, and says how many documents it has then.
pub(crate) async fn run(schema: &Schema, program: &Program, head: u64) -> Result<(Took, u64)> {
    let (mut log, mut read_model) = (schema.connect().await?, schema.connect().await?);
    raw_sql(SETTINGS).execute(&mut log).await?;
    raw_sql(TABLES).execute(&mut read_model).await?;
    let (program, runtime) = (program.clone(), Handle::current());
    let piped = tokio::task::spawn_blocking(move || {
        let reader = runtime.clone();
        let took = bare::pipeline(
            || program.start(None),
            |pages| reader.block_on(read(&mut log, head, pages)),
            |batches| runtime.block_on(commit(&mut read_model, batches)),
        )?;
        anyhow::Ok((took, read_model))
    });
    let (took, mut read_model) = piped.await??;
    let ended = "select position, (select count(*) from document) from checkpoint";
    let (position, documents): (i64, i64) = sqlx::query_as(ended).fetch_one(&mut read_model).await?;
    ensure!(position.cast_unsigned() == head, "the bare pipeline ended at {position}, the log at {head}");
    raw_sql("drop table document, checkpoint").execute(&mut read_model).await?;
    Ok((took, documents.cast_unsigned()))
}

/// Sending blocks the thread, which belongs to this stage.
async fn read(log: &mut PgConnection, head: u64, pages: &SyncSender<Vec<Row>>) -> Result<Duration> {
    let (mut at, mut busy) = (0, Duration::ZERO);
    while at < head {
        let began = Instant::now();
        let query = sqlx::query(READ).bind(at.cast_signed()).bind(PAGE.cast_signed());
        let rows = query.fetch_all(&mut *log).await?;
        let page = rows.iter().map(row).collect::<Result<Vec<_>>>()?;
        at = page.last().context("the log ends before its head")?.position;
        busy += began.elapsed();
        if pages.send(page).is_err() {
            break;
        }
    }
    Ok(busy)
}

fn row(row: &PgRow) -> Result<Row> {
    Ok(Row {
        position: row.try_get::<i64, _>(0)?.cast_unsigned(),
        id: row.try_get::<Uuid, _>(1)?.as_u64_pair(),
        stream: row.try_get::<&str, _>(2)?.into(),
        version: row.try_get::<i64, _>(3)?.cast_unsigned(),
        event_type: row.try_get::<&str, _>(4)?.into(),
        schema_version: u32::try_from(row.try_get::<i64, _>(5)?)?,
        time: row.try_get(6)?,
        data: str::from_utf8(row.try_get(7)?)?.into(),
    })
}

/// Receiving blocks the thread, which belongs to this stage.
async fn commit(read_model: &mut PgConnection, batches: Receiver<Batch>) -> Result<Duration> {
    let mut busy = Duration::ZERO;
    for batch in batches {
        let began = Instant::now();
        let (until, documents) = batch.sorted();
        let (keys, values): (Vec<&str>, Vec<&str>) = documents.iter().map(|(key, value)| (&**key, &**value)).unzip();
        let write = sqlx::query(WRITE).bind(until.cast_signed()).bind(keys).bind(values);
        write.execute(&mut *read_model).await?;
        busy += began.elapsed();
    }
    Ok(busy)
}
