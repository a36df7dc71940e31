//! The bare pipeline: a reader, a guest and a committer on threads of their own, and nothing else. No other stage, no
//! failure handling, no fence: the rate that a host which does all of that is measured against.
//!
//! ```text
//!  log ─▶ reader ─▶ pages of 4,000 ─▶ guest on a cache of documents ─▶ batches ─▶ upserts + checkpoint, one commit each
//! ```

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use rusqlite::{Connection, params};

use crate::guest::{Event, Guest, Payload, Program};

/// How many events a page and a batch have, as in the host.
pub(crate) const PAGE: u64 = 4_000;

/// What the host's read models have of what this pipeline needs.
const TABLES: &str = "
    create table document (
        collection integer not null, key text not null, value text not null, primary key (collection, key)
    ) strict, without rowid;
    create table checkpoint (one integer primary key check (one = 1), position integer not null) strict;
    insert into checkpoint values (1, 0);";

const READ: &str = "select position, id, stream, version, type, schema_version, time, data from event \
                    where position > ?1 order by position limit ?2";
const UPSERT: &str = "insert into document (collection, key, value) values (1, ?1, ?2) \
                      on conflict do update set value = excluded.value";
const CHECKPOINT: &str = "update checkpoint set position = ?1";

/// An event as the reader hands it on.
pub(crate) struct Row {
    pub(crate) position: u64,
    pub(crate) id: (u64, u64),
    pub(crate) stream: Arc<str>,
    pub(crate) version: u64,
    pub(crate) event_type: Arc<str>,
    pub(crate) schema_version: u32,
    pub(crate) time: i64,
    pub(crate) data: String,
}

/// The documents that a page changed, by key.
pub(crate) struct Batch {
    until: u64,
    documents: HashMap<Arc<str>, Arc<str>>,
}

/// A key and its value.
type Document = (Arc<str>, Arc<str>);

/// How long a run took, and how long each of its stages worked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    pub(crate) all: Duration,
    pub(crate) read: Duration,
    pub(crate) handle: Duration,
    pub(crate) commit: Duration,
}

impl Took {
    /// The stages in words, for a run over so many events.
    pub(crate) fn tell(&self, events: u64) -> String {
        let each = |took: Duration| took.as_secs_f64() * 1e6 / events as f64;
        let [all, read, handle, commit] = [self.all, self.read, self.handle, self.commit].map(each);
        format!(
            "bare pipeline: {all:.2} µs an event\n  read busy {read:.2}, handle busy {handle:.2}, commit busy {commit:.2} \
             µs an event"
        )
    }
}

/// Rebuilds a read model from all events of a log, and says how many documents it has in the end.
pub(crate) fn run(log: &Path, read_model: &Path, program: &Program, head: u64) -> Result<(Took, u64)> {
    let mut writer = open(read_model)?;
    writer.execute_batch(TABLES)?;
    let (log, committed) = (Connection::open(log)?, open(read_model)?);
    let guest = || program.start(Some(committed));
    let took = pipeline(guest, move |pages| read(&log, head, pages), |batches| commit(&mut writer, batches))?;
    let (position, documents): (u64, u64) =
        writer.query_row("select position, (select count(*) from document) from checkpoint", (), |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
        })?;
    ensure!(position == head, "the bare pipeline ended at {position}, the log at {head}");
    Ok((took, documents))
}

/// Runs the three stages beside each other, whatever they read from and commit to. A reader ends when nobody takes its
/// pages any more.
pub(crate) fn pipeline(
    guest: impl FnOnce() -> wasmtime::Result<Guest> + Send,
    read: impl FnOnce(&SyncSender<Vec<Row>>) -> Result<Duration> + Send,
    commit: impl FnOnce(Receiver<Batch>) -> Result<Duration>,
) -> Result<Took> {
    let began = Instant::now();
    let (pages_in, pages) = sync_channel(2);
    let (batches_in, batches) = sync_channel(1);
    thread::scope(|scope| {
        let reader = scope.spawn(move || read(&pages_in));
        let guest = scope.spawn(move || handle(guest()?, pages, &batches_in));
        let commit = commit(batches)?;
        let panicked = |_| anyhow!("a thread of the bare pipeline panicked");
        let (read, handle) = (reader.join().map_err(panicked)??, guest.join().map_err(panicked)??);
        Ok(Took { all: began.elapsed(), read, handle, commit })
    })
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    Ok(connection)
}

fn read(log: &Connection, head: u64, pages: &SyncSender<Vec<Row>>) -> Result<Duration> {
    let (mut at, mut busy) = (0, Duration::ZERO);
    let (mut names, mut streams) = (HashMap::new(), HashMap::new());
    let mut statement = log.prepare(READ)?;
    while at < head {
        let began = Instant::now();
        let mut page = Vec::with_capacity(PAGE as usize);
        let mut rows = statement.query(params![at.cast_signed(), PAGE.cast_signed()])?;
        while let Some(row) = rows.next()? {
            let id: [u8; 16] = row.get(1)?;
            page.push(Row {
                position: row.get::<_, i64>(0)?.cast_unsigned(),
                id: uuid::Uuid::from_bytes(id).as_u64_pair(),
                stream: name(log, &mut streams, row.get(2)?, "select name from stream where id = ?1")?,
                version: row.get::<_, i64>(3)?.cast_unsigned(),
                event_type: name(log, &mut names, row.get(4)?, "select text from name where id = ?1")?,
                schema_version: row.get(5)?,
                time: row.get(6)?,
                data: row.get(7)?,
            });
        }
        at = page.last().context("the log ends before its head")?.position;
        busy += began.elapsed();
        if pages.send(page).is_err() {
            break;
        }
    }
    Ok(busy)
}

/// The text that a number stands for.
fn name(log: &Connection, known: &mut HashMap<i64, Arc<str>>, number: i64, query: &str) -> Result<Arc<str>> {
    if let Some(name) = known.get(&number) {
        return Ok(name.clone());
    }
    let found: String = log.prepare_cached(query)?.query_row([number], |row| row.get(0))?;
    let found: Arc<str> = found.into();
    known.insert(number, found.clone());
    Ok(found)
}

fn handle(mut guest: Guest, pages: Receiver<Vec<Row>>, batches: &SyncSender<Batch>) -> Result<Duration> {
    let mut busy = Duration::ZERO;
    for page in pages {
        let began = Instant::now();
        let mut documents = HashMap::new();
        for row in &page {
            documents.extend(guest.handle(row.event())?);
        }
        let until = page.last().map_or(0, |row| row.position);
        busy += began.elapsed();
        if batches.send(Batch { until, documents }).is_err() {
            break;
        }
    }
    Ok(busy)
}

impl Batch {
    /// Up to where it goes, and its documents in the order of their keys.
    pub(crate) fn sorted(self) -> (u64, Vec<Document>) {
        let mut documents: Vec<_> = self.documents.into_iter().collect();
        documents.sort_unstable();
        (self.until, documents)
    }
}

impl Row {
    fn event(&self) -> Event<'_> {
        Event {
            id_high: self.id.0,
            id_low: self.id.1,
            event_type: &self.event_type,
            schema_version: self.schema_version,
            stream: &self.stream,
            version: self.version,
            position: self.position,
            time: self.time,
            content_type: None,
            data: Payload::Json(&self.data),
            metadata: &[],
        }
    }
}

fn commit(writer: &mut Connection, batches: Receiver<Batch>) -> Result<Duration> {
    let mut busy = Duration::ZERO;
    for batch in batches {
        let began = Instant::now();
        let (until, documents) = batch.sorted();
        let transaction = writer.transaction()?;
        {
            let mut upsert = transaction.prepare_cached(UPSERT)?;
            for (key, value) in &documents {
                upsert.execute(params![key, value])?;
            }
            transaction.prepare_cached(CHECKPOINT)?.execute([until.cast_signed()])?;
        }
        transaction.commit()?;
        busy += began.elapsed();
    }
    Ok(busy)
}
