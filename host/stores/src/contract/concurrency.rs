//! Many at a time: writers that share streams, rivals for a version, and readers beside them.

use std::sync::Arc;

use lantern_core::{
    Event, Expected, Filter, Log, Position, Version,
    log::{AppendError, Range},
};
use tokio::task::JoinSet;

use super::samples::{assert_dense, event, head, read_all, stream, to, try_append};

const WRITERS: usize = 32;
const APPENDS: usize = 25;

pub(super) async fn many_writers_leave_no_gap(log: Arc<dyn Log>) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let log = log.clone();
        writers.spawn(async move {
            let mut mine = Vec::new();
            for round in 0..APPENDS {
                let events = (0..1 + (writer + round) % 4).map(|_| event("Written")).collect();
                let name = format!("Shared-{}", (writer + round) % 3);
                mine.extend(log.append(vec![to(&name, Expected::Any, events)]).await.unwrap());
            }
            mine
        });
    }
    let mut places = writers.join_all().await.concat();
    places.sort_unstable_by_key(|place| place.position);
    let events = read_all(&*log, &Filter::all(), 100).await;
    assert_dense(&events);
    let found: Vec<_> = events.iter().map(|event| (event.id, event.version, event.position)).collect();
    let told: Vec<_> = places.iter().map(|place| (place.id, place.version, place.position)).collect();
    assert_eq!(found, told, "every writer was told the truth");
}

pub(super) async fn one_of_many_rivals_wins(log: Arc<dyn Log>) {
    for round in 0..10 {
        let mut rivals = JoinSet::new();
        for _ in 0..WRITERS {
            let log = log.clone();
            let expected = Expected::Exact(Version(round));
            rivals.spawn(async move { try_append(&*log, "Prize-1", expected, event("Won")).await });
        }
        let answers = rivals.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "one wins");
        for lost in answers.into_iter().filter_map(Result::err) {
            let AppendError::WrongExpectedVersion { actual, .. } = lost else { panic!("{lost}") };
            assert_eq!(actual, Version(round + 1), "the others lose to it");
        }
    }
    assert_eq!(head(&*log), Position(10));
}

pub(super) async fn an_id_sent_by_many_is_one_event(log: Arc<dyn Log>) {
    let (same, mut senders) = (event("Same"), JoinSet::new());
    for sender in 0..WRITERS {
        let (log, same) = (log.clone(), same.clone());
        let expected = if sender % 2 == 0 { Expected::Any } else { Expected::NoStream };
        senders.spawn(async move { try_append(&*log, "Same-1", expected, same).await.unwrap() });
    }
    let answers = senders.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "all are answered alike");
    assert_eq!(head(&*log), Position(1));
}

pub(super) async fn readers_see_no_gap_while_writers_write(log: Arc<dyn Log>) {
    let total = (WRITERS * APPENDS) as u64;
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let log = log.clone();
        tasks.spawn(async move {
            for _ in 0..APPENDS {
                let name = format!("Stream-{}", writer % 5);
                let place = try_append(&*log, &name, Expected::Any, event("Written")).await.unwrap();
                let own = log.read(Position(place.position.0 - 1), &Filter::all(), 1).await.unwrap();
                assert_eq!(own.events.first().map(|event| event.id), Some(place.id), "a writer reads what it wrote");
            }
        });
    }
    for reader in 0..4 {
        let log = log.clone();
        tasks.spawn(async move {
            let (mut head, mut at) = (log.head(), Position::START);
            let mut events: Vec<Event> = Vec::new();
            while at.0 < total {
                let page = log.read(at, &Filter::all(), 7 + reader).await.unwrap();
                if page.end == at {
                    head.changed().await.unwrap();
                }
                at = page.end;
                events.extend(page.events);
            }
            assert_dense(&events);
        });
    }
    tasks.join_all().await;
    let last = log.read_stream(&stream("Stream-0"), Range::default()).await.unwrap();
    assert!(last.is_sorted_by_key(|event| event.position));
}
