//! Events to append, as CloudEvents, and what a test asks of the log.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Host;

/// A CloudEvent. `n` makes the id, the same each time, so that sending it again changes nothing.
pub fn event(n: u64, stream: &str, kind: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id(n),
        "source": "/tests",
        "type": kind,
        "subject": stream,
        "time": "2026-01-02T03:04:05Z",
        "data": data,
    })
}

/// The id of event `n`.
pub fn id(n: u64) -> String {
    format!("018f0000-0000-7000-8000-{n:012x}")
}

/// An event that `counter` counts.
pub fn amount(n: u64, stream: &str) -> Value {
    event(n, stream, "Counted", json!({ "amount": n }))
}

/// `count` events that `counter` counts, the ids from `first` on, over `streams` streams in turn.
pub fn amounts(first: u64, count: u64, streams: u64) -> Vec<Value> {
    (first..first + count).map(|n| amount(n, &format!("Item-{}", n % streams))).collect()
}

/// The placing of an order with an amount of `n` cents.
pub fn order_placed(n: u64, order: u64) -> Value {
    let data = json!({ "customer": format!("customer {}", order % 7), "amount_cents": n });
    event(n, &format!("Order-{order}"), "OrderPlaced", data)
}

/// The shipping of an order.
pub fn order_shipped(n: u64, order: u64) -> Value {
    event(n, &format!("Order-{order}"), "OrderShipped", json!({ "carrier": "post" }))
}

/// JSON lines.
pub fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

impl Host {
    /// Appends events in one request.
    #[track_caller]
    pub fn append(&self, events: &[Value]) -> Value {
        let headers = [("content-type", "application/cloudevents-batch+json")];
        self.send("POST", "/api/v1/events", &headers, Value::from(events).to_string().as_bytes()).ok()
    }

    /// The head of the log.
    #[track_caller]
    pub fn head(&self) -> u64 {
        self.get("/api/v1/log").ok()["head"].as_u64().unwrap()
    }

    /// The whole log, as `event export` writes it.
    #[track_caller]
    pub fn exported(&self) -> String {
        let answer = self.get("/api/v1/events/export");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// The ids of the log's events by stream, in order.
    #[track_caller]
    pub fn streams(&self) -> BTreeMap<String, Vec<String>> {
        let mut streams: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.exported().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            streams.entry(text("subject")).or_default().push(text("id"));
        }
        streams
    }
}
