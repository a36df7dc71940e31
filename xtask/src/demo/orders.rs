//! A shop: a client that appends orders and shipments at a steady rate, one request each.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use ureq::Agent;

const CUSTOMERS: [&str; 5] = ["Ada", "Grace", "Edsger", "Barbara", "Alan"];

/// The client, at work on a thread of its own.
pub(super) struct Shop {
    ledger: Arc<Ledger>,
    worker: JoinHandle<Result<()>>,
}

/// What the client knows while it works.
#[derive(Default)]
struct Ledger {
    closing: AtomicBool,
    acknowledged: AtomicU64,
    trace: Mutex<Option<String>>,
}

impl Shop {
    /// Begins to append `rate` events a second to the host at a URL.
    pub(super) fn open(url: &str, rate: u32) -> Self {
        let ledger = Arc::new(Ledger::default());
        let (kept, url) = (Arc::clone(&ledger), format!("{url}/api/v1/events"));
        let worker = thread::spawn(move || work(&kept, &url, Duration::from_secs(1) / rate));
        Self { ledger, worker }
    }

    /// How many events the host has acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.ledger.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether the client has stopped before it was told to; closing says why.
    pub(super) fn has_failed(&self) -> bool {
        self.worker.is_finished()
    }

    /// The trace of an order that was placed lately.
    pub(super) fn a_trace(&self) -> Option<String> {
        self.ledger.trace.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the work; answers how many events were acknowledged.
    pub(super) fn close(self) -> Result<u64> {
        self.ledger.closing.store(true, Ordering::Relaxed);
        match self.worker.join() {
            Ok(worked) => worked?,
            Err(_) => bail!("the client panicked"),
        }
        Ok(self.ledger.acknowledged.load(Ordering::Relaxed))
    }
}

/// Appends on schedule; what is late is made up for.
fn work(ledger: &Ledger, url: &str, pause: Duration) -> Result<()> {
    let config =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).proxy(None);
    let agent: Agent = config.build().into();
    let begin = Instant::now();
    for number in 0_u32.. {
        if ledger.closing.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep((pause * number).saturating_sub(begin.elapsed()));
        let event = event(u64::from(number));
        let trace = append(&agent, url, &event)?;
        ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
        if event["type"] == "OrderPlaced" {
            *ledger.trace.lock().unwrap_or_else(PoisonError::into_inner) = trace;
        }
    }
    Ok(())
}

/// Two of three are orders; the third ships an order from a while before.
fn event(number: u64) -> Value {
    let (round, turn) = (number / 3, number % 3);
    let shipped = 1000 + (round * 2).saturating_sub(40);
    let placed = 1000 + round * 2 + turn;
    let (order, kind, data) = match turn {
        2 => (shipped, "OrderShipped", json!({ "carrier": "post" })),
        _ => {
            let customer = CUSTOMERS[placed as usize * 7 % CUSTOMERS.len()];
            (
                placed,
                "OrderPlaced",
                json!({ "customer": customer, "item": "lamp", "amount_cents": 900 + placed % 97 * 25 }),
            )
        }
    };
    json!({
        "specversion": "1.0",
        "source": "/demo/shop",
        "type": kind,
        "subject": format!("Order-{order}"),
        "data": data,
    })
}

/// Appends one event; answers the trace the host recorded it in.
fn append(agent: &Agent, url: &str, event: &Value) -> Result<Option<String>> {
    let mut response = agent
        .post(url)
        .header("content-type", "application/cloudevents+json")
        .send(event.to_string())
        .context("the host did not answer an append")?;
    if !response.status().is_success() {
        let problem = response.body_mut().read_to_string().unwrap_or_default();
        bail!("an append was refused with {}: {problem}", response.status());
    }
    let traceparent = response.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = traceparent.and_then(|value| value.split('-').nth(1)).map(str::to_owned);
    // The answer is read to its end, so that the connection can be used again.
    response.body_mut().read_to_string()?;
    Ok(trace)
}
