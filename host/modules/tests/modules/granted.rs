//! Real time and real random numbers: for handlers that are granted them, the event's own otherwise.

use std::time::{Duration, Instant};

use lantern_core::{
    Clock as _, Grants, Kind, Library as _, Outcome, SystemClock, Timestamp,
    module::{FailureKind, Limits, Settings},
};
use serde_json::Value;

use crate::{
    crafted::{Crafted, component, wait},
    support::{event, handle, library, load, settings},
};

/// What the handler saw at each of two events handled twice by one instance.
async fn readings(grants: Grants) -> Vec<Value> {
    let settings = Settings { kind: Kind::Handler, grants, ..settings() };
    let mut timekeeper = load("timekeeper", &settings).await.instance();
    let mut reading = |position| {
        let writes = handle(&mut timekeeper, &event(position, "null")).result.unwrap().writes;
        serde_json::from_str(writes[0].value.as_deref().unwrap()).unwrap()
    };
    vec![reading(1), reading(2), reading(1)]
}

fn time(reading: &Value, name: &str) -> Timestamp {
    serde_json::from_value(reading[name].clone()).unwrap()
}

#[tokio::test]
async fn without_grants_an_event_handled_again_shows_the_same() {
    let readings = readings(Grants::default()).await;
    assert_eq!(readings[0], readings[2]);
    assert_ne!(readings[0]["random"], readings[1]["random"]);
    assert_eq!(time(&readings[0], "system_time"), event(1, "").time);
    assert_eq!(readings[0]["monotonic_clock"], readings[1]["monotonic_clock"]);
}

#[tokio::test]
async fn granted_time_is_the_hosts_and_moves_on() {
    let before = SystemClock.now();
    let readings = readings(Grants { time: true, ..Grants::default() }).await;
    for reading in &readings {
        let shown = time(reading, "system_time");
        assert!(before <= shown && shown <= SystemClock.now(), "{shown}");
    }
    let monotonic = readings.iter().map(|reading| reading["monotonic_clock"].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(monotonic.is_sorted() && monotonic[0] < monotonic[2], "{monotonic:?}");
    assert_eq!(readings[0]["random"], readings[2]["random"], "not granted");
}

#[tokio::test]
async fn granted_random_numbers_never_repeat() {
    let readings = readings(Grants { random: true, ..Grants::default() }).await;
    assert_ne!(readings[0]["random"], readings[2]["random"]);
    assert_eq!(time(&readings[0], "system_time"), event(1, "").time, "not granted");
}

/// Handles an event by waiting.
async fn waited(duration: Duration, grants: Grants, limits: Limits) -> Outcome {
    let instructions = wait(u64::try_from(duration.as_nanos()).unwrap());
    let crafted = Crafted { handle: instructions, is_handler: true, waits: true, ..Crafted::default() };
    let kept = library().push(component(&crafted)).await.unwrap();
    let settings = Settings { kind: Kind::Handler, grants, limits, ..settings() };
    let mut waiting = library().load(kept.digest, &settings).await.unwrap().instance();
    handle(&mut waiting, &event(1, "{}"))
}

#[tokio::test]
async fn an_alarm_of_a_granted_clock_is_waited_for() {
    let (time, short) = (Grants { time: true, ..Grants::default() }, Duration::from_millis(20));
    let start = Instant::now();
    waited(short, time, settings().limits).await.result.unwrap();
    assert!(start.elapsed() >= short);
}

#[tokio::test]
async fn no_alarm_is_waited_for_beyond_the_deadline() {
    let (time, hour) = (Grants { time: true, ..Grants::default() }, Duration::from_secs(3_600));
    let limits = Limits { deadline_ms: 50, ..Limits::default() };
    let late = waited(hour, time, limits).await.result.unwrap_err();
    assert_eq!(late.kind, FailureKind::Deadline, "{late}");
    assert!(late.message.contains("50 ms") && late.message.contains("an alarm"), "{late}");
}

#[tokio::test]
async fn a_clock_that_is_not_granted_has_no_alarms() {
    let refused = waited(Duration::from_millis(1), Grants::default(), settings().limits).await.result.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Limit, "{refused}");
    assert!(refused.message.contains("clock stands still") && refused.message.contains("--grant time"), "{refused}");
    let at_once = waited(Duration::ZERO, Grants::default(), settings().limits).await;
    at_once.result.unwrap();
}
