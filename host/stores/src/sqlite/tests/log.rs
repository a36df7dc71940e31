//! The log over restarts, failures and load.

use std::{future::ready, path::Path, sync::Arc};

use lantern_core::{
    Appended, EventId, Expected, Filter, Log, NewEvent, Position, Timestamp, Version, log::AppendError,
};
use rusqlite::Connection;
use tokio::task::JoinSet;

use super::{Folder, append_one};
use crate::{contract::samples::*, sqlite};

/// Makes every append of an event at this time fail in the middle of its transaction, as a full disk would.
const FAILING: Timestamp = Timestamp(666);

fn fail_appends(path: &Path) {
    let trigger = "create trigger fail after insert on event when new.time = 666
        begin select raise(abort, 'the disk is full'); end";
    Connection::open(path).unwrap().execute_batch(trigger).unwrap();
}

#[tokio::test]
async fn a_log_is_the_same_after_it_was_closed() {
    let folder = Folder::new();
    let path = folder.path();
    let sent = vec![event("One"), event("Two")];
    let log = sqlite::Log::open(&path).unwrap();
    let places = append(&log, "A-1", sent.clone()).await;
    append_some(&log, "B-1", 3).await;
    let events = read_all(&log, &Filter::all(), 10).await;
    drop(log);

    let log = sqlite::Log::open(&path).unwrap();
    assert_eq!(*log.head().borrow(), Position(5));
    assert_eq!(read_all(&log, &Filter::all(), 10).await, events);
    assert_eq!(append(&log, "A-1", sent).await, places, "ids are known still");
    let wrong = try_append(&log, "B-1", Expected::Exact(Version(2)), event("Three")).await;
    assert!(matches!(wrong, Err(AppendError::WrongExpectedVersion { actual: Version(3), .. })), "{wrong:?}");
    let next = try_append(&log, "B-1", Expected::Exact(Version(3)), event("Three")).await.unwrap();
    assert_eq!((next.position, next.version), (Position(6), Version(4)));
}

#[tokio::test]
async fn what_was_accepted_is_written_before_the_log_is_gone() {
    let folder = Folder::new();
    let path = folder.path();
    let log = sqlite::Log::open(&path).unwrap();
    for _ in 0..100 {
        // The append is handed over and its answer is not waited for.
        tokio::select! {
            biased;
            _ = append_some(&log, "A-1", 1) => {}
            () = ready(()) => {}
        }
    }
    drop(log);
    let log = sqlite::Log::open(&path).unwrap();
    assert_eq!(read_all(&log, &Filter::all(), 1000).await.len(), 100);
}

#[tokio::test]
async fn ids_are_known_in_the_index_and_before_they_are_in_it() {
    let folder = Folder::new();
    let path = folder.path();
    let raw = |query: &str| Connection::open(&path).unwrap().query_row(query, (), |row| row.get::<_, i64>(0)).unwrap();
    let log = sqlite::Log::open(&path).unwrap();
    // Random ids fall into all slices of the index, which fill up one after the other; ids by time into one.
    let mut sent = Vec::new();
    for round in 0..12 {
        let id = || if round < 8 { EventId::new_v4() } else { EventId::now_v7() };
        let events: Vec<_> = (0..10_000).map(|_| NewEvent { id: id(), ..event("Sent") }).collect();
        let places = append(&log, "A-1", events.clone()).await;
        sent.extend(events.into_iter().zip(places).step_by(397));
    }
    let indexed = raw("select count(*) from event_id");
    assert!((60_000..120_000).contains(&indexed), "{indexed} of 120000 ids are in the index");
    assert!(raw("select min(position) from indexed") > 0, "no slice is left behind");
    check_ids(&log, &sent).await;
    drop(log);
    let log = sqlite::Log::open(&path).unwrap();
    check_ids(&log, &sent).await;
    assert_eq!(raw("select count(*) from event"), 120_000);
}

/// Checks that events that were sent are known by their ids.
async fn check_ids(log: &sqlite::Log, sent: &[(NewEvent, Appended)]) {
    let (events, places): (Vec<_>, Vec<_>) = sent.iter().cloned().unzip();
    assert_eq!(append(log, "A-1", events).await, places);
    for (event, place) in sent {
        let changed = NewEvent { data: json("1"), ..event.clone() };
        let refused = append_one(log, "A-1", changed).await;
        assert_eq!(refused, Err(AppendError::DuplicateEvent { id: event.id, position: place.position }));
        assert_eq!(log.event(event.id).await.unwrap().map(|event| event.position), Some(place.position));
    }
    assert_eq!(log.event(EventId::new_v4()).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failure_takes_nothing_with_it_and_passes() {
    let folder = Folder::new();
    let path = folder.path();
    let log = Arc::new(sqlite::Log::open(&path).unwrap());
    append_some(&*log, "A-1", 1).await;
    fail_appends(&path);
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let log = log.clone();
        tasks.spawn(async move {
            for round in 0..25 {
                let name = format!("New{round}-{task}");
                let failing = NewEvent { time: FAILING, ..event("Failing") };
                let call = vec![to(&name, Expected::NoStream, vec![event("Before"), failing])];
                let refused = log.append(call).await;
                assert!(matches!(&refused, Err(AppendError::Unavailable(reason)) if reason.contains("disk is full")));
                // Its neighbour may be in the same transaction, and is then sent again, with the same id.
                let sent = event("Sent");
                while append_one(&*log, &name, sent.clone()).await.is_err() {}
            }
        });
    }
    tasks.join_all().await;
    let events = read_all(&*log, &Filter::all(), 50).await;
    assert_eq!(events.len(), 1 + 8 * 25, "nothing of what failed is there, all of the rest is");
    assert_dense(&events);
    Connection::open(&path).unwrap().execute_batch("drop trigger fail").unwrap();
    append_one(&*log, "A-1", NewEvent { time: FAILING, ..event("Passed") }).await.unwrap();
    assert_eq!(log.stream_version(&stream("A-1")).await, Ok(Version(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_write_ahead_log_stays_small_while_it_is_read() {
    let folder = Folder::new();
    let path = folder.path();
    let log = Arc::new(sqlite::Log::open(&path).unwrap());
    let mut tasks = JoinSet::new();
    let mut head = log.head();
    let total = 60_000;
    for _ in 0..3 {
        let log = log.clone();
        tasks.spawn(async move {
            while log.head().borrow().0 < total {
                log.read(Position::START, &Filter::all(), 1000).await.unwrap();
            }
        });
    }
    let large = || NewEvent { data: json(&format!("\"{}\"", "x".repeat(2000))), ..event("Large") };
    for _ in 0..total / 500 {
        append(&*log, "A-1", (0..500).map(|_| large()).collect()).await;
    }
    head.wait_for(|head| head.0 == total).await.unwrap();
    tasks.join_all().await;
    let mut wal = path.clone().into_os_string();
    wal.push("-wal");
    let (wal, file) = (std::fs::metadata(wal).unwrap().len(), std::fs::metadata(path).unwrap().len());
    assert!(wal < 100 * 1024 * 1024 && file > 50 * 1024 * 1024, "wal {wal}, file {file}");
}
