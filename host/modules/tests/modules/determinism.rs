//! A projection sees nothing that differs between two runs over the same log.

use crate::support::{event, instance, project};

#[tokio::test]
async fn two_instances_read_the_same_clocks_and_random_numbers() {
    let events = (1..=5).map(|position| event(position, "{}")).collect::<Vec<_>>();
    let first = project(&mut instance("clockwork").await, &events, "readings");
    let second = project(&mut instance("clockwork").await, &events, "readings");
    assert_eq!(first.len(), 5);
    assert_eq!(first, second);
}

#[tokio::test]
async fn what_was_handled_before_makes_no_difference() {
    let mut instance = instance("clockwork").await;
    let late = [event(3, "{}")];
    let alone = project(&mut instance, &late, "readings");
    project(&mut instance, &[event(7, "{}")], "readings");
    assert_eq!(project(&mut instance, &late, "readings"), alone, "a retry sees the same numbers");
}

#[tokio::test]
async fn clocks_show_the_event_and_numbers_belong_to_it() {
    let events = [event(1, "{}"), event(2, "{}")];
    let readings = project(&mut instance("clockwork").await, &events, "readings");
    let readings = readings.values().map(|text| serde_json::from_str(text).unwrap());
    let [first, second] = readings.collect::<Vec<serde_json::Value>>().try_into().unwrap();
    assert_eq!(first["event_time"], first["wall_clock"]);
    assert_eq!(first["event_time"], first["system_time"]);
    assert_ne!(first["event_time"], second["event_time"]);
    assert_eq!(first["monotonic_clock"], second["monotonic_clock"]);
    for numbers in ["random", "random_bytes", "insecure_random"] {
        assert_ne!(first[numbers], second[numbers], "{numbers}");
    }
    assert_ne!(first["random"], first["insecure_random"]);
}
