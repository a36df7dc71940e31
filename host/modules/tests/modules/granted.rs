//! Real time and real random numbers: for handlers that are granted them, the event's own otherwise.

use lantern_core::{Clock as _, Grants, Kind, SystemClock, Timestamp, module::Settings};
use serde_json::Value;

use crate::support::{event, handle, load, settings};

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
