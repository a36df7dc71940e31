//! A damaged log ends a read with an error that says where, whichever way it is read.

use lantern_core::{
    Expected, Filter, Log, Position, Version,
    log::{Direction, Range},
};
use sqlx::{AssertSqlSafe, raw_sql};

use super::{INSERT_RAW, Schema, reached};
use crate::{
    contract::samples::{append_some, assert_corrupt, event, read_all, stream, try_append},
    postgres,
};

/// A log of two streams with ten events each in turn, changed behind its back.
async fn damaged(schema: &Schema, change: &'static str) -> postgres::Log {
    let database = schema.open().await;
    let log = postgres::Log::open(&database).await.unwrap();
    for _ in 0..10 {
        append_some(&log, "A-1", 1).await;
        append_some(&log, "B-1", 1).await;
    }
    raw_sql(change).execute(database.pool()).await.unwrap();
    log
}

#[tokio::test]
async fn a_missing_event_is_noticed() {
    let schema = Schema::new();
    let log = damaged(&schema, "delete from event where position = 7").await;
    let (all, last) = (Filter::all(), Position(u64::MAX));
    for filter in [all.clone(), Filter::category("A"), Filter::category("B"), Filter::category("None")] {
        let reason = assert_corrupt(log.read(Position::START, &filter, 100).await, 7);
        assert!(reason.contains("missing") && reason.contains("backup"), "{reason}");
        assert_corrupt(log.read(Position(6), &filter, 100).await, 7);
        assert_corrupt(log.read_backward(last, &filter, 100).await, 7);
    }
    assert_eq!(log.read(Position::START, &all, 6).await.unwrap().end, Position(6), "before it, all is well");
    assert_eq!(log.read(Position(7), &all, 100).await.unwrap().events.len(), 13, "and after it");
    // Version 4 of A stood at position 7; versions 3 and 5 stand at 5 and 9.
    for (direction, met) in [(Direction::Forward, 9), (Direction::Backward, 5)] {
        let range = Range { direction, ..Range::default() };
        assert_corrupt(log.read_stream(&stream("A-1"), range).await, met);
        assert_eq!(log.read_stream(&stream("B-1"), range).await.unwrap().len(), 10);
    }
    let from_there = Range { from: Version(4), ..Range::default() };
    assert_corrupt(log.read_stream(&stream("A-1"), from_there).await, 9);
}

#[tokio::test]
async fn missing_events_at_the_head_are_noticed() {
    let schema = Schema::new();
    let log = damaged(&schema, "delete from event where position > 17").await;
    for filter in [Filter::all(), Filter::category("A")] {
        assert_corrupt(log.read(Position::START, &filter, 100).await, 18);
    }
}

#[tokio::test]
async fn a_log_that_went_back_in_time_takes_and_shows_nothing() {
    let schema = Schema::new();
    let log = damaged(&schema, "delete from event where position > 17").await;
    let refused = try_append(&log, "A-1", Expected::Any, event("Written")).await.unwrap_err().to_string();
    assert!(refused.contains("went back in time: it ended at 20, and now it ends at 17"), "{refused}");
    for start in [0, 17, 20] {
        let reason = assert_corrupt(log.read(Position(start), &Filter::all(), 1).await, 18);
        assert!(reason.contains("restart its hosts"), "{reason}");
    }
    assert_corrupt(log.read_stream(&stream("A-1"), Range::default()).await, 18);

    let again = postgres::Log::open(&schema.open().await).await.unwrap();
    let places = append_some(&again, "A-1", 1).await;
    assert_eq!(places[0].position, Position(18), "a host that starts now takes it as it is");
    assert_eq!(read_all(&again, &Filter::all(), 100).await.len(), 18);
}

#[tokio::test]
async fn a_log_that_went_back_in_time_is_noticed_after_it_has_grown_again() {
    let schema = Schema::new();
    let database = schema.open().await;
    let log = postgres::Log::open(&database).await.unwrap();
    append_some(&log, "B-1", 1).await;
    // What a look has seen it remembers, and the first one came before the event.
    raw_sql(INSERT_RAW).execute(database.pool()).await.unwrap();
    reached(&log, 2).await;
    let replace = format!("begin; delete from event where position = 2; {INSERT_RAW}; {INSERT_RAW}; commit");
    raw_sql(AssertSqlSafe(replace)).execute(database.pool()).await.unwrap();
    reached(&log, 3).await;
    let reason = assert_corrupt(log.read(Position::START, &Filter::all(), 100).await, 2);
    assert!(reason.contains("went back in time and was written anew"), "{reason}");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_noticed() {
    let changes = [
        "update event set data = '\\xff' where position = 7",
        "update event set extra = 'no json' where position = 7",
        "update event set schema_version = -1 where position = 7",
        "update event set type = '' where position = 7",
        "update event set stream = 'none' where position = 7",
        "update event set trace_id = gen_random_uuid() where position = 7",
    ];
    for change in changes {
        let schema = Schema::new();
        let log = damaged(&schema, change).await;
        assert_corrupt(log.read(Position::START, &Filter::all(), 100).await, 7);
        assert_corrupt(log.read_backward(Position(8), &Filter::all(), 1).await, 7);
        assert_eq!(log.read(Position(7), &Filter::all(), 100).await.unwrap().events.len(), 13, "{change}");
    }
}
