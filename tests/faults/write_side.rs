//! `kill -9` at random moments while commands are sent, handlers emit and schedules fall due, again and again.
//!
//! `LANTERN_KILL_ROUNDS` says how often (8 unless told), `LANTERN_KILL_SEED` repeats a run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    Host,
    client::Client,
    events::{event, id, lines},
    guests, wait,
};

const CLIENTS: u64 = 8;
/// Ids of different clients are this far apart.
const IDS: u64 = 1 << 32;

/// Something a client sends; sent again after a lost answer it is the same.
#[derive(Clone)]
enum Message {
    Command {
        id: String,
        stream: String,
        kind: &'static str,
        data: Value,
    },
    /// An alarm that rings at once, or one that is taken back long before it is due.
    Alarms {
        events: Vec<Value>,
    },
}

/// One client: what it was told, and what it has yet to hear of.
struct Sender {
    number: u64,
    sent: u64,
    waiting: Option<Message>,
    acknowledged: Vec<(String, Value)>,
    ringing: BTreeSet<String>,
    random: fastrand::Rng,
}

impl Sender {
    fn new(number: u64, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ number);
        Self { number, sent: 0, waiting: None, acknowledged: Vec::new(), ringing: BTreeSet::new(), random }
    }

    fn next(&mut self) -> Message {
        self.sent += 1;
        let n = self.number * IDS + 2 * self.sent;
        if self.random.u8(..) < 40 {
            return self.alarms(n);
        }
        // Two clients share their orders, so that some commands are rejected and some meet each other.
        let order = format!("Order-{}.{}", self.number / 2, self.random.u64(0..=self.sent / 6));
        let (kind, data) = match self.random.u8(0..8) {
            0..3 => {
                ("PlaceOrder", json!({ "customer": "ada", "item": "lamp", "quantity": 1, "amount_cents": n % 997 }))
            }
            3..6 => ("PayOrder", json!({})),
            6 => ("ShipOrder", json!({ "carrier": "post" })),
            _ => ("CancelOrder", json!({ "reason": "changed my mind" })),
        };
        Message::Command { id: id(n), stream: order, kind, data }
    }

    fn alarms(&mut self, n: u64) -> Message {
        let (stream, key) = (format!("Alarm-{n}"), format!("alarm-{n}"));
        let set = |after_ms: u64| {
            let mut set = event(n, &stream, "AlarmSet", json!({ "key": key, "after_ms": after_ms }));
            // The host's own time, from which the alarm counts.
            set.as_object_mut().unwrap().remove("time");
            set
        };
        if self.random.bool() {
            self.ringing.insert(key.clone());
            return Message::Alarms { events: vec![set(self.random.u64(0..300))] };
        }
        let cancelled = event(n + 1, &stream, "AlarmCancelled", json!({ "key": key }));
        Message::Alarms { events: vec![set(3_600_000), cancelled] }
    }

    /// Sends until the host does not answer any more.
    fn send_until_the_host_is_gone(&mut self, client: &Client, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            let message = self.waiting.take().unwrap_or_else(|| self.next());
            if self.send(client, &message).is_none() {
                self.waiting = Some(message);
                return;
            }
        }
    }

    /// Sends one message; none when its fate is not known.
    fn send(&mut self, client: &Client, message: &Message) -> Option<()> {
        match message {
            Message::Command { id, stream, kind, data } => {
                let headers = [("content-type", "application/json"), ("idempotency-key", id.as_str())];
                let path = format!("/api/v1/commands/{stream}/{kind}");
                let answer = client.send("POST", &path, &headers, data.to_string().as_bytes()).ok()?;
                match answer.status {
                    200 => self.acknowledged.push((id.clone(), answer.json())),
                    422 => {}
                    // Contended, busy or on its way down: it is sent again.
                    409 | 503 => return None,
                    _ => panic!("{} answered {}: {}", answer.request, answer.status, answer.body),
                }
            }
            Message::Alarms { events } => {
                let headers = [("content-type", "application/x-ndjson")];
                let answer = client.send("POST", "/api/v1/events", &headers, lines(events).as_bytes()).ok()?;
                if answer.status == 503 {
                    return None;
                }
                answer.ok();
            }
        }
        Some(())
    }
}

#[test]
fn acknowledged_commands_happen_once_and_so_does_all_that_follows_from_them() {
    let number = |variable: &str| std::env::var(variable).ok()?.parse::<u64>().ok();
    let rounds = number("LANTERN_KILL_ROUNDS").unwrap_or(8);
    let seed = number("LANTERN_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LANTERN_KILL_SEED={seed} LANTERN_KILL_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);

    let mut host = Host::start();
    host.deploy_aggregate("Order", guests::ORDER_V1, json!({ "snapshots": "every-2" }));
    let grants = json!({ "grants": { "emit": true, "schedule": true } });
    for (name, guest) in
        [("emitter", guests::EMITTER), ("shipping", guests::SHIPPING_V1), ("scheduler", guests::SCHEDULER)]
    {
        host.deploy_handler(name, guest, grants.clone()).ok();
    }
    host.deploy("orders", guests::ORDERS_V1);
    let mut senders: Vec<_> = (0..CLIENTS).map(|number| Sender::new(number, seed)).collect();
    for _ in 0..rounds {
        one_round(&mut host, &mut senders, &mut random);
        host.restart();
    }
    // What was left without an answer is sent a last time.
    for sender in &mut senders {
        if let Some(message) = sender.waiting.take() {
            wait::until("the last message to be answered", || sender.send(&host.client(), &message));
        }
    }
    let ringing: BTreeSet<String> = senders.iter().flat_map(|sender| sender.ringing.clone()).collect();
    wait::until("every alarm to have rung", || {
        let listed = host.get("/api/v1/schedules?handler=scheduler").ok();
        listed["schedules"].as_array().unwrap().is_empty().then_some(())
    });
    for handler in ["emitter", "shipping", "scheduler"] {
        let status = host.handler(handler).wait();
        assert_eq!(status["parked_events"], 0, "{status}");
    }
    host.wait("orders");
    check(&host, &senders, &ringing);
}

fn one_round(host: &mut Host, senders: &mut [Sender], random: &mut fastrand::Rng) {
    let (ended, client) = (AtomicBool::new(false), host.client());
    let moment = Duration::from_millis(random.u64(1..600));
    thread::scope(|scope| {
        let threads: Vec<_> = senders
            .iter_mut()
            .map(|sender| {
                let (client, ended) = (client.clone(), &ended);
                scope.spawn(move || sender.send_until_the_host_is_gone(&client, ended))
            })
            .collect();
        thread::sleep(moment);
        host.kill();
        ended.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// An order as an independent reading of the log makes it.
#[derive(Default)]
struct Order {
    status: &'static str,
    amount: u64,
}

/// The log, read without any of the host's folding.
#[derive(Default)]
struct Reading {
    events: HashMap<String, (u64, u64)>,
    by_command: HashMap<String, u64>,
    order_positions: BTreeSet<u64>,
    emitted: BTreeMap<u64, u64>,
    rings: BTreeMap<String, u64>,
    requested: BTreeMap<String, u64>,
    paid: BTreeMap<String, u64>,
    orders: BTreeMap<String, Order>,
    open: BTreeSet<String>,
}

impl Reading {
    fn of(host: &Host) -> Self {
        let mut reading = Self::default();
        let mut versions: HashMap<String, u64> = HashMap::new();
        for (position, line) in (1_u64..).zip(host.exported().lines()) {
            let event: Value = serde_json::from_str(line).unwrap();
            let stream = event["subject"].as_str().unwrap();
            let version = versions.entry(stream.to_owned()).or_insert(0);
            *version += 1;
            let twice = reading.events.insert(event["id"].as_str().unwrap().to_owned(), (position, *version));
            assert_eq!(twice, None, "an event is in the log twice: {event}");
            reading.take(position, stream, &event);
        }
        assert_eq!(reading.events.len() as u64, host.head());
        reading
    }

    fn take(&mut self, position: u64, stream: &str, event: &Value) {
        let data = &event["data"];
        let text = |field: &str| data[field].as_str().unwrap().to_owned();
        let kind = event["type"].as_str().unwrap();
        if let Some(order) = stream.strip_prefix("Order-") {
            self.order_positions.insert(position);
            *self.by_command.entry(event["causationid"].as_str().unwrap().to_owned()).or_insert(0) += 1;
            self.take_order(order, kind, data);
            return;
        }
        match kind {
            "Emitted" => {
                assert_eq!(data["index"], 0);
                *self.emitted.entry(data["of"].as_u64().unwrap()).or_insert(0) += 1;
            }
            "Rang" => *self.rings.entry(text("key")).or_insert(0) += 1,
            "ShippingRequested" => *self.requested.entry(text("order")).or_insert(0) += 1,
            _ => {}
        }
    }

    fn take_order(&mut self, id: &str, kind: &str, data: &Value) {
        let order = self.orders.entry(id.to_owned()).or_default();
        match kind {
            "OrderPlaced" => *order = Order { status: "placed", amount: data["amount_cents"].as_u64().unwrap() },
            "OrderPaid" => {
                order.status = "paid";
                self.open.insert(id.to_owned());
                *self.paid.entry(id.to_owned()).or_insert(0) += 1;
            }
            "OrderShipped" => order.status = "shipped",
            "OrderCancelled" => order.status = "cancelled",
            _ => panic!("no order has an event {kind}"),
        }
        if ["shipped", "cancelled"].contains(&order.status) {
            self.open.remove(id);
        }
    }
}

fn check(host: &Host, senders: &[Sender], ringing: &BTreeSet<String>) {
    let reading = Reading::of(host);
    let mut acknowledged = 0;
    for (id, answer) in senders.iter().flat_map(|sender| &sender.acknowledged) {
        let events = answer["events"].as_array().unwrap();
        let last = events.last().map(|event| reading.events[event.as_str().unwrap()]);
        if let Some(place) = last {
            acknowledged += 1;
            assert_eq!(place, (answer["position"].as_u64().unwrap(), answer["version"].as_u64().unwrap()), "{answer}");
            assert_eq!(reading.by_command[id], events.len() as u64, "{answer}");
        }
    }
    println!("{acknowledged} commands were acknowledged, {} orders, {} alarms", reading.orders.len(), ringing.len());
    assert!(acknowledged > 0, "no command came through");
    assert!(reading.by_command.values().all(|events| *events == 1), "a command happened twice");

    assert_eq!(reading.emitted.keys().copied().collect::<BTreeSet<_>>(), reading.order_positions);
    assert!(reading.emitted.values().all(|count| *count == 1), "a trigger has its event twice");
    assert_eq!(reading.requested, reading.paid, "a shipment for each payment");
    assert_eq!(reading.rings.keys().cloned().collect::<BTreeSet<_>>(), *ringing);
    assert!(reading.rings.values().all(|count| *count == 1), "an alarm rang twice");

    let shippings = host.handler("shipping").documents("shippings");
    assert_eq!(shippings.keys().cloned().collect::<BTreeSet<_>>(), reading.open, "what is paid and not on its way");
    for (id, order) in &reading.orders {
        let state = host.state(&format!("Order-{id}"));
        assert_eq!((&state["status"], &state["amount_cents"]), (&order.status.into(), &order.amount.into()), "{id}");
    }
    let digest = host.digest("orders");
    host.rebuild("orders");
    assert_eq!(host.digest("orders"), digest);
}
