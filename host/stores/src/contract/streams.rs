//! Reads of one stream and of one event.

use lantern_core::{
    EventId, Log, Version,
    log::{Direction, Range},
};

use super::samples::{append_some, stream};

pub(super) async fn ranges_are_read_in_both_directions(log: &dyn Log) {
    for _ in 0..3 {
        append_some(log, "A-1", 2).await;
        append_some(log, "A-11", 1).await;
        append_some(log, "B-1", 1).await;
    }
    let most = u64::MAX;
    let cases = [
        ((1, most, usize::MAX), vec![1, 2, 3, 4, 5, 6]),
        ((0, most, usize::MAX), vec![1, 2, 3, 4, 5, 6]),
        ((2, 4, usize::MAX), vec![2, 3, 4]),
        ((6, 6, usize::MAX), vec![6]),
        ((5, 9, usize::MAX), vec![5, 6]),
        ((7, 9, usize::MAX), vec![]),
        ((most, most, usize::MAX), vec![]),
        ((4, 2, usize::MAX), vec![]),
        ((0, 0, usize::MAX), vec![]),
        ((1, most, 0), vec![]),
    ];
    let read = async |from: u64, to: u64, direction, limit| {
        let range = Range { from: Version(from), to: Version(to), direction, limit };
        let events = log.read_stream(&stream("A-1"), range).await.unwrap();
        assert!(events.iter().all(|event| event.stream == stream("A-1")));
        events.iter().map(|event| event.version.0).collect::<Vec<_>>()
    };
    for ((from, to, limit), mut wanted) in cases {
        assert_eq!(read(from, to, Direction::Forward, limit).await, wanted, "{from}..={to}");
        wanted.reverse();
        assert_eq!(read(from, to, Direction::Backward, limit).await, wanted, "{from}..={to} backward");
    }
    assert_eq!(read(2, 5, Direction::Forward, 3).await, [2, 3, 4]);
    assert_eq!(read(2, 5, Direction::Backward, 3).await, [5, 4, 3]);
    assert_eq!(read(1, most, Direction::Backward, 1).await, [6]);
    assert_eq!(log.read_stream(&stream("A-2"), Range::default()).await, Ok(Vec::new()));
}

pub(super) async fn a_stream_knows_its_version(log: &dyn Log) {
    assert_eq!(log.stream_version(&stream("A-1")).await, Ok(Version::NONE));
    append_some(log, "A-1", 3).await;
    append_some(log, "A-2", 1).await;
    assert_eq!(log.stream_version(&stream("A-1")).await, Ok(Version(3)));
    assert_eq!(log.stream_version(&stream("a-1")).await, Ok(Version::NONE), "case matters");
}

pub(super) async fn an_event_is_found_by_its_id(log: &dyn Log) {
    let places = append_some(log, "A-1", 3).await;
    let event = log.event(places[1].id).await.unwrap().unwrap();
    assert_eq!((event.id, event.position, event.version), (places[1].id, places[1].position, places[1].version));
    assert_eq!(log.event(EventId::nil()).await, Ok(None));
}

pub(super) fn every_log_is_another(log: &dyn Log, other: &dyn Log) {
    assert_eq!(log.incarnation(), log.incarnation());
    assert_ne!(log.incarnation(), other.incarnation());
}
