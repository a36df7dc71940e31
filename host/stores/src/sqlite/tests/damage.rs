//! A damaged log ends a read with an error that says where, whichever way it is read.

use std::path::Path;

use lantern_core::{
    Filter, Log, Position, Version,
    log::{Direction, Range},
};
use rusqlite::Connection;

use super::Folder;
use crate::{
    contract::samples::{append_some, assert_corrupt, stream},
    sqlite,
};

/// A log of two streams with ten events each in turn, changed behind its back.
async fn damaged(path: &Path, change: &str) -> sqlite::Log {
    let log = sqlite::Log::open(path).unwrap();
    for _ in 0..10 {
        append_some(&log, "A-1", 1).await;
        append_some(&log, "B-1", 1).await;
    }
    Connection::open(path).unwrap().execute_batch(change).unwrap();
    log
}

#[tokio::test]
async fn a_missing_event_is_noticed() {
    let folder = Folder::new();
    let log = damaged(&folder.path(), "delete from event where position = 7").await;
    let (all, last) = (Filter::all(), Position(u64::MAX));
    // Position 7 is an event of A: a filter for B must not read past its absence either.
    for filter in [all.clone(), Filter::category("A"), Filter::category("B"), Filter::category("None")] {
        let reason = assert_corrupt(log.read(Position::START, &filter, 100).await, 7);
        assert!(reason.contains("missing") && reason.contains("backup"), "{reason}");
        assert_corrupt(log.read(Position(6), &filter, 100).await, 7);
        assert_corrupt(log.read_backward(last, &filter, 100).await, 7);
        assert_corrupt(log.read_backward(Position(8), &filter, 100).await, 7);
    }
    assert_corrupt(log.read(Position(6), &all, 1).await, 7);
    assert_eq!(log.read(Position::START, &all, 6).await.unwrap().end, Position(6), "before it, all is well");
    assert_eq!(log.read(Position(7), &all, 100).await.unwrap().events.len(), 13, "and after it");
    assert_eq!(log.read_backward(last, &all, 13).await.unwrap().events.len(), 13);
}

#[tokio::test]
async fn missing_events_at_the_head_are_noticed() {
    let folder = Folder::new();
    let log = damaged(&folder.path(), "delete from event where position > 17").await;
    for filter in [Filter::all(), Filter::category("A")] {
        assert_corrupt(log.read(Position::START, &filter, 100).await, 18);
        assert_corrupt(log.read(Position(18), &filter, 100).await, 19);
    }
}

#[tokio::test]
async fn a_missing_event_of_a_stream_is_noticed() {
    let folder = Folder::new();
    let log = damaged(&folder.path(), "delete from event where position = 7").await;
    // Version 4 of A stood at position 7; versions 3 and 5 stand at 5 and 9.
    for (direction, met) in [(Direction::Forward, 9), (Direction::Backward, 5)] {
        let range = Range { direction, ..Range::default() };
        let reason = assert_corrupt(log.read_stream(&stream("A-1"), range).await, met);
        assert!(reason.contains("A-1"), "{reason}");
        assert_eq!(log.read_stream(&stream("B-1"), range).await.unwrap().len(), 10);
    }
    let from_there = Range { from: Version(4), ..Range::default() };
    assert_corrupt(log.read_stream(&stream("A-1"), from_there).await, 9);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_noticed() {
    let changes = [
        "update event set id = x'01' where position = 7",
        "update event set data = x'ff' where position = 7",
        "update event set data = cast(x'ff' as text) where position = 7",
        "update event set extra = 'no json' where position = 7",
        "update event set trace_id = x'02' where position = 7",
        "update event set schema_version = -1 where position = 7",
        "update event set type = 99 where position = 7",
        "update event set stream = 99 where position = 7",
        "update event set content_type = 1 where position = 7",
    ];
    for change in changes {
        let folder = Folder::new();
        let log = damaged(&folder.path(), change).await;
        assert_corrupt(log.read(Position::START, &Filter::all(), 100).await, 7);
        assert_corrupt(log.read_backward(Position(8), &Filter::all(), 1).await, 7);
        assert_eq!(log.read(Position(7), &Filter::all(), 100).await.unwrap().events.len(), 13, "{change}");
    }
}
