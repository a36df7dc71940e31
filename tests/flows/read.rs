//! Reading the log over HTTP: both directions, ranges, limits, filters, streams and single events.

use serde_json::Value;

use crate::support::{Host, events::event, events::id};

/// Twelve events: `Item` and `Other` in turn, three types, every third with a tenant.
fn host_with_events() -> Host {
    let host = Host::start();
    let events: Vec<_> = (1..=12)
        .map(|n| {
            let category = if n % 2 == 0 { "Other" } else { "Item" };
            let mut event = event(n, &format!("{category}-{}", n % 4), &format!("Kind{}", n % 3), n.into());
            if n % 3 == 0 {
                event["tenant"] = "acme".into();
            }
            event
        })
        .collect();
    host.append(&events);
    host
}

fn positions(answer: &Value) -> Vec<u64> {
    let events = answer["events"].as_array().unwrap();
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

#[test]
fn the_log_is_read_in_both_directions_with_ranges_and_limits() {
    let host = host_with_events();
    for (query, expected) in [
        ("", (1..=12).collect::<Vec<u64>>()),
        ("after=9", vec![10, 11, 12]),
        ("after=4&limit=2", vec![5, 6]),
        ("after=12", vec![]),
        ("direction=backward&limit=3", vec![12, 11, 10]),
        ("direction=backward&before=4", vec![3, 2, 1]),
        ("category=Item&after=2", vec![3, 5, 7, 9, 11]),
        ("type=Kind0", vec![3, 6, 9, 12]),
        ("tenant=acme&category=Other", vec![6, 12]),
        ("direction=backward&category=Item&limit=2", vec![11, 9]),
    ] {
        let answer = host.get(&format!("/api/v1/events?{query}")).ok();
        assert_eq!(positions(&answer), expected, "{query}");
        assert_eq!(answer["head"], 12, "{query}");
    }
}

#[test]
fn pages_follow_each_other_without_gap() {
    let host = host_with_events();
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = host.get(&format!("/api/v1/events?category=Other&limit=2&after={after}")).ok();
        let end = page["end"].as_u64().unwrap();
        seen.extend(positions(&page));
        if end == after {
            break;
        }
        after = end;
    }
    assert_eq!(seen, [2, 4, 6, 8, 10, 12]);
}

#[test]
fn a_stream_is_read_by_versions() {
    let host = host_with_events();
    for (query, expected) in [
        ("", vec![1, 5, 9]),
        ("from=2", vec![5, 9]),
        ("from=2&to=2", vec![5]),
        ("direction=backward", vec![9, 5, 1]),
        ("direction=backward&limit=1", vec![9]),
    ] {
        let answer = host.get(&format!("/api/v1/streams/Item-1?{query}")).ok();
        assert_eq!(positions(&answer), expected, "{query}");
    }
    let versions: Vec<_> = host.get("/api/v1/streams/Item-1").ok()["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["streamversion"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, [1, 2, 3]);
}

#[test]
fn one_event_is_read_by_its_id() {
    let host = host_with_events();
    let event = host.get(&format!("/api/v1/events/{}", id(5))).ok();
    assert_eq!((&event["position"], &event["subject"], &event["data"]), (&5.into(), &"Item-1".into(), &5.into()));
    host.get(&format!("/api/v1/events/{}", id(99))).problem(404, "not-found");
}

#[test]
fn bad_questions_are_refused_with_the_parameter() {
    let host = host_with_events();
    for (query, parameter) in [("after=x", "after"), ("direction=sideways", "direction"), ("limti=3", "limti")] {
        let answer = host.get(&format!("/api/v1/events?{query}"));
        assert!((400..500).contains(&answer.status), "{query}: {}", answer.status);
        assert!(answer.json()["detail"].as_str().unwrap().contains(parameter), "{query}: {}", answer.body);
    }
}
