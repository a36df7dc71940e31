//! Several hosts on one log: no gap, no event out of order, nobody waits for a transaction that has nothing to do with it.

use std::{sync::Arc, time::Duration};

use lantern_core::{
    Event, Expected, Filter, Log, NewEvent, Position, Version,
    log::{AppendError, Range},
};
use sqlx::{Connection, raw_sql};
use tokio::{task::JoinSet, time};

use super::{INSERT_RAW, Schema, reached};
use crate::{contract::samples::*, postgres};

const HOSTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hosts_append_at_once_and_readers_meet_no_gap() {
    const WRITERS: usize = 6;
    const APPENDS: usize = 20;
    let schema = Schema::new();
    let mut hosts: Vec<Arc<postgres::Log>> = Vec::new();
    for _ in 0..HOSTS {
        hosts.push(Arc::new(postgres::Log::open(&schema.open().await).await.unwrap()));
    }
    let total = (HOSTS * WRITERS * APPENDS * 2) as u64;
    let mut readers = JoinSet::new();
    for log in hosts.clone() {
        readers.spawn(async move {
            let (mut head, mut at) = (log.head(), Position::START);
            let mut events: Vec<Event> = Vec::new();
            while at.0 < total {
                // A gap would be an error.
                let page = log.read(at, &Filter::all(), 97).await.unwrap();
                if page.end == at {
                    head.changed().await.unwrap();
                }
                at = page.end;
                events.extend(page.events);
            }
            assert_dense(&events);
            events
        });
    }
    let mut writers = JoinSet::new();
    for (host, log) in hosts.iter().enumerate() {
        for writer in 0..WRITERS {
            let log = log.clone();
            writers.spawn(async move {
                let mut mine = Vec::new();
                for round in 0..APPENDS {
                    let two = (0..2).map(|_| event("Written")).collect();
                    let name = format!("Shared-{}", (host + writer + round) % 5);
                    mine.extend(append(&*log, &name, two).await);
                }
                assert!(mine.is_sorted_by_key(|place| place.position), "later appends come later");
                mine
            });
        }
    }
    let mut places = writers.join_all().await.concat();
    places.sort_unstable_by_key(|place| place.position);
    let told: Vec<_> = places.iter().map(|place| (place.id, place.version, place.position)).collect();
    for events in readers.join_all().await {
        let read: Vec<_> = events.iter().map(|event| (event.id, event.version, event.position)).collect();
        assert_eq!(read, told, "every host reads what every writer was told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rivals_on_several_hosts_have_one_winner_and_one_event_an_id() {
    let schema = Schema::new();
    let (mut rivals, same) = (JoinSet::new(), event("Same"));
    for _ in 0..HOSTS {
        let (log, same) = (postgres::Log::open(&schema.open().await).await.unwrap(), same.clone());
        rivals.spawn(async move {
            let won = try_append(&log, "Prize-1", Expected::NoStream, event("Won")).await.is_ok();
            (won, try_append(&log, "Same-1", Expected::Any, same).await.unwrap())
        });
    }
    let answers = rivals.join_all().await;
    assert_eq!(answers.iter().filter(|(won, _)| *won).count(), 1);
    assert!(answers.iter().all(|(_, place)| *place == answers[0].1), "{answers:?}");
}

#[tokio::test]
async fn what_one_host_appends_wakes_the_others() {
    let schema = Schema::new();
    let writer = postgres::Log::open(&schema.open().await).await.unwrap();
    let reader = postgres::Log::open(&schema.open().await).await.unwrap();
    for round in 1..=5 {
        let place = append_some(&writer, "A-1", 1).await;
        reached(&reader, round).await;
        let page = reader.read(Position(round - 1), &Filter::all(), 10).await.unwrap();
        assert_eq!(page.events.first().map(|event| event.id), Some(place[0].id));
    }
}

#[tokio::test]
async fn what_is_appended_without_a_notification_is_found() {
    let schema = Schema::new();
    let database = schema.open().await;
    let reader = postgres::Log::open(&database).await.unwrap();
    raw_sql(INSERT_RAW).execute(database.pool()).await.unwrap();
    reached(&reader, 1).await;
}

#[tokio::test]
async fn a_long_foreign_transaction_delays_nobody() {
    let schema = Schema::new();
    let database = schema.open().await;
    let writer = postgres::Log::open(&database).await.unwrap();
    let reader = postgres::Log::open(&schema.open().await).await.unwrap();
    append_some(&writer, "A-1", 1).await;
    // It has a number and a snapshot older than all that follows, and a lock on a table of the schema.
    let mut connection = database.pool().acquire().await.unwrap();
    let mut foreign = connection.begin_with("begin isolation level repeatable read").await.unwrap();
    raw_sql("create table foreign_work (); select count(*) from event").execute(&mut *foreign).await.unwrap();
    for round in 2..=20 {
        append_some(&writer, "A-1", 1).await;
        reached(&reader, round).await;
        assert_eq!(read_all(&reader, &Filter::all(), 7).await.len() as u64, round);
        assert_eq!(reader.read_stream(&stream("A-1"), Range::default()).await.unwrap().len() as u64, round);
    }
    foreign.rollback().await.unwrap();
}

#[tokio::test]
async fn an_event_of_another_host_is_durable_before_it_is_shown() {
    let schema = Schema::new();
    let database = schema.open().await;
    let reader = postgres::Log::open(&schema.open().await).await.unwrap();
    let mut hasty = database.pool().acquire().await.unwrap();
    raw_sql("set synchronous_commit = off").execute(&mut *hasty).await.unwrap();
    for round in 1..=9 {
        raw_sql(INSERT_RAW).execute(&mut *hasty).await.unwrap();
        let written = "select pg_current_wal_insert_lsn()::text";
        let written: String = sqlx::query_scalar(written).fetch_one(&mut *hasty).await.unwrap();
        let shown = match round % 3 {
            0 => reader.read_stream(&stream("A-1"), Range::default()).await.unwrap().len() as u64,
            1 => reader.stream_version(&stream("A-1")).await.unwrap().0,
            _ => reached(&reader, round).await,
        };
        assert_eq!(shown, round);
        let durable = "select pg_current_wal_flush_lsn() >= $1::pg_lsn";
        let durable: bool = sqlx::query_scalar(durable).bind(written).fetch_one(&mut *hasty).await.unwrap();
        assert!(durable, "event {round} was shown and could still be lost");
    }
    hasty.close_on_drop();
}

#[tokio::test]
async fn a_host_that_freezes_in_a_transaction_holds_the_others_up_for_seconds_only() {
    let schema = Schema::new();
    let database = schema.open().await;
    let log = postgres::Log::open(&database).await.unwrap();
    let mut frozen = postgres::sequencer::connect(&database).await.unwrap();
    let turn = frozen.begin_with("begin; select from log for update").await.unwrap();
    let appended = time::timeout(Duration::from_secs(30), append_some(&log, "A-1", 1)).await;
    assert_eq!(appended.expect("nobody waits for ever")[0].position, Position(1));
    drop(turn);
}

#[tokio::test]
async fn what_a_writer_decides_before_its_turn_counts_only_if_nobody_wrote_since() {
    let schema = Schema::new();
    let database = schema.open().await;
    let log = postgres::Log::open(&database).await.unwrap();
    append_some(&log, "A-1", 1).await;
    let mut other = database.pool().acquire().await.unwrap();
    let mut turn = other.begin_with("begin; select from log for update").await.unwrap();
    let appending = append_some(&log, "A-1", 1);
    let writing = async {
        // The writer has decided, and waits for its turn.
        let waiting = "select exists (select from pg_stat_activity where application_name = $1
            and wait_event_type = 'Lock' and query like '%append($1%')";
        loop {
            let waiting = sqlx::query_scalar(waiting).bind(database.channel());
            if waiting.fetch_one(&mut *turn).await.unwrap() {
                break;
            }
            time::sleep(Duration::from_millis(5)).await;
        }
        raw_sql(INSERT_RAW).execute(&mut *turn).await.unwrap();
        turn.commit().await.unwrap();
    };
    let (places, ()) = tokio::join!(appending, writing);
    assert_eq!((places[0].position, places[0].version.0), (Position(3), 3));
    append_some(&log, "A-1", 1).await;
    assert_dense(&read_all(&log, &Filter::all(), 10).await);
}

#[tokio::test]
async fn a_writer_that_remembers_nothing_is_as_right_as_one_that_does() {
    let schema = Schema::new();
    let (first, odd) = (postgres::Log::open(&schema.open().await).await.unwrap(), event("Odd"));
    append_some(&first, "A-1", 3).await;
    append(&first, "A-2", vec![odd.clone()]).await;
    drop(first);
    let fresh = async || postgres::Log::open(&schema.open().await).await.unwrap();
    // Whatever is expected of a stream that the writer has never seen.
    let wrong = [Expected::NoStream, Expected::Exact(Version(2)), Expected::Exact(Version(4))];
    for expected in wrong {
        let refused = try_append(&fresh().await, "A-1", expected, event("Late")).await;
        let AppendError::WrongExpectedVersion { actual, .. } = refused.unwrap_err() else { panic!("{expected:?}") };
        assert_eq!(actual, Version(3));
    }
    let absent = try_append(&fresh().await, "A-9", Expected::StreamExists, event("Late")).await;
    assert!(matches!(absent, Err(AppendError::WrongExpectedVersion { actual: Version::NONE, .. })), "{absent:?}");
    let right = [Expected::Any, Expected::StreamExists, Expected::Exact(Version(5))];
    for (version, expected) in (4..).zip(right) {
        let place = try_append(&fresh().await, "A-1", expected, event("More")).await.unwrap();
        assert_eq!((place.version.0, place.position.0), (version, version + 1));
    }
    // An event that is there is not written again, and its id is for no other.
    let log = fresh().await;
    assert_eq!(try_append(&log, "A-2", Expected::Any, odd.clone()).await.unwrap().position, Position(4));
    let other = NewEvent { id: odd.id, ..event("Other") };
    let taken = try_append(&fresh().await, "A-3", Expected::NoStream, other).await;
    assert!(matches!(taken, Err(AppendError::DuplicateEvent { position: Position(4), .. })), "{taken:?}");
    append_some(&log, "A-3", 2).await;
    assert_dense(&read_all(&log, &Filter::all(), 10).await);
}

#[tokio::test]
async fn only_a_writer_that_is_alone_waits_for_the_disk_in_its_turn() {
    let schema = Schema::new();
    let database = schema.open().await;
    let note = "create table noted (position bigint, setting text);
        create function note() returns trigger language plpgsql as $$ begin
            insert into noted values (new.position, current_setting('synchronous_commit')); return null; end $$;
        create constraint trigger note after insert on event deferrable initially deferred
            for each row execute function note()";
    raw_sql(note).execute(database.pool()).await.unwrap();
    let log = postgres::Log::open(&database).await.unwrap();
    append_some(&log, "A-1", 1).await;
    append_some(&log, "A-1", 1).await;
    raw_sql(INSERT_RAW).execute(database.pool()).await.unwrap();
    append_some(&log, "A-1", 1).await;
    append_some(&log, "A-1", 1).await;
    append_some(&log, "A-1", 1).await;
    let noted = "select position, setting from noted where position <> 3 order by position";
    let noted: Vec<(i64, String)> = sqlx::query_as(noted).fetch_all(database.pool()).await.unwrap();
    let noted: Vec<_> = noted.iter().map(|(position, setting)| (*position, setting.as_str())).collect();
    // Two after the other host's: the first one finds it, the second one finds itself alone again.
    assert_eq!(noted, [(1, "on"), (2, "on"), (4, "off"), (5, "off"), (6, "on")]);
}

#[tokio::test]
async fn every_character_of_metadata_comes_back() {
    let schema = Schema::new();
    let log = postgres::Log::open(&schema.open().await).await.unwrap();
    let odd: Arc<str> = "a\0b\\0\u{e9}".into();
    let mut sent = event("Back\\slash");
    sent.metadata.tenant = Some(odd.clone());
    sent.metadata.actor = Some(odd.clone());
    append(&log, "A-back\\slash", vec![sent.clone(), NewEvent { id: event("x").id, ..event("Other") }]).await;
    let filter = Filter { tenants: [odd.to_string()].into(), ..Filter::default() };
    let events = read_all(&log, &filter, 10).await;
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0].metadata, &events[0].event_type), (&sent.metadata, &sent.event_type));
    assert_eq!(log.stream_version(&stream("A-back\\slash")).await.unwrap().0, 2);
    assert_eq!(append(&log, "A-back\\slash", vec![sent]).await[0].position, Position(1), "it is known again");
}
