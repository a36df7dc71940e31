//! A shop: a client that sends commands at a steady rate, one request each: orders are placed, then paid or cancelled,
//! then shipped.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use ureq::Agent;

const CUSTOMERS: [&str; 5] = ["Ada", "Grace", "Edsger", "Barbara", "Alan"];

/// The number of the first order.
const FIRST: u64 = 1000;
/// How many orders are placed before one is paid, and again before it is shipped.
const LATER: u64 = 40;

/// The client, at work on a thread of its own.
pub(super) struct Shop {
    ledger: Arc<Ledger>,
    worker: JoinHandle<Result<()>>,
}

/// What the client knows while it works.
#[derive(Default)]
struct Ledger {
    closing: AtomicBool,
    page: Mutex<Page>,
}

/// What the host answered so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    /// Commands that were accepted.
    pub(super) accepted: u64,
    /// The ids of the events they led to.
    pub(super) events: Vec<String>,
    /// Commands that were rejected, by the code of the module.
    pub(super) rejected: BTreeMap<String, u64>,
    /// The trace of a payment of late.
    pub(super) payment: Option<String>,
}

/// A command, and whether the shop knows that it is too late for it.
struct Order {
    number: u64,
    command: &'static str,
    data: Value,
    is_too_late: bool,
}

/// What became of a command.
enum Answer {
    Accepted { events: Vec<String>, trace: Option<String> },
    Rejected { code: String },
}

impl Shop {
    /// Begins to send `rate` commands a second to the host at a URL.
    pub(super) fn open(url: &str, rate: u32) -> Self {
        let ledger = Arc::new(Ledger::default());
        let (kept, url) = (Arc::clone(&ledger), url.to_owned());
        let worker = thread::spawn(move || work(&kept, &url, Duration::from_secs(1) / rate));
        Self { ledger, worker }
    }

    /// What the host has answered so far.
    pub(super) fn page(&self) -> Page {
        self.ledger.page().clone()
    }

    /// How many commands were accepted, and rejected.
    pub(super) fn answered(&self) -> (u64, u64) {
        let page = self.ledger.page();
        (page.accepted, page.rejected.values().sum())
    }

    /// Whether the client has stopped before it was told to; closing says why.
    pub(super) fn has_failed(&self) -> bool {
        self.worker.is_finished()
    }

    /// Ends the work; answers what the host has answered.
    pub(super) fn close(self) -> Result<Page> {
        self.ledger.closing.store(true, Ordering::Relaxed);
        match self.worker.join() {
            Ok(worked) => worked?,
            Err(_) => bail!("the client panicked"),
        }
        Ok(self.ledger.page().clone())
    }
}

impl Ledger {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends on schedule; what is late is made up for.
fn work(ledger: &Ledger, url: &str, pause: Duration) -> Result<()> {
    let config =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).proxy(None);
    let agent: Agent = config.build().into();
    let begin = Instant::now();
    for (number, order) in (0_u32..).zip((0..).filter_map(order)) {
        if ledger.closing.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep((pause * number).saturating_sub(begin.elapsed()));
        match send(&agent, url, &order)? {
            Answer::Accepted { events, trace } => {
                ensure!(!order.is_too_late, "{} of order {} was accepted after all", order.command, order.number);
                let mut page = ledger.page();
                page.accepted += 1;
                page.events.extend(events);
                if order.command == "PayOrder" {
                    page.payment = trace;
                }
            }
            Answer::Rejected { code } => {
                ensure!(order.is_too_late, "{} of order {} was rejected: {code}", order.command, order.number);
                *ledger.page().rejected.entry(code).or_default() += 1;
            }
        }
    }
    Ok(())
}

/// The command of a turn. In each round of three an order is placed, one is paid or cancelled, and one is shipped; nobody
/// tells the warehouse of a cancelled order, so its shipment is asked for too. Of ten orders one is forgotten there.
fn order(turn: u64) -> Option<Order> {
    let (round, step) = (turn / 3, turn % 3);
    let place = round.checked_sub(step * LATER)?;
    let is_cancelled = place % 10 == 9;
    let number = FIRST + place;
    let (command, data) = match step {
        0 => ("PlaceOrder", placed(number)),
        1 if is_cancelled => ("CancelOrder", json!({ "reason": "changed my mind" })),
        1 => ("PayOrder", json!({})),
        _ if place % 10 == 4 => return None,
        _ => ("ShipOrder", json!({ "carrier": "post" })),
    };
    Some(Order { number, command, data, is_too_late: is_cancelled && step == 2 })
}

/// The content of a `PlaceOrder`.
pub(super) fn placed(number: u64) -> Value {
    let customer = CUSTOMERS[number as usize * 7 % CUSTOMERS.len()];
    json!({ "customer": customer, "item": "lamp", "quantity": 1, "amount_cents": 900 + number % 97 * 25 })
}

fn send(agent: &Agent, url: &str, order: &Order) -> Result<Answer> {
    let Order { number, command, data, .. } = order;
    let mut response = agent
        .post(format!("{url}/api/v1/commands/Order-{number}/{command}"))
        .header("content-type", "application/json")
        .send(data.to_string())
        .context("the host did not answer a command")?;
    let traceparent = response.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = traceparent.and_then(|value| value.split('-').nth(1)).map(str::to_owned);
    let (status, body) = (response.status(), response.body_mut().read_to_string()?);
    let answer: Value = serde_json::from_str(&body).with_context(|| format!("no JSON: {body}"))?;
    match status.as_u16() {
        200 => Ok(Answer::Accepted { events: ids(&answer)?, trace }),
        422 => Ok(Answer::Rejected { code: answer["code"].as_str().context("a rejection without a code")?.to_owned() }),
        _ => bail!("{command} of order {number} was answered with {status}: {body}"),
    }
}

/// The ids of the events a command led to.
pub(super) fn ids(answer: &Value) -> Result<Vec<String>> {
    let events = answer["events"].as_array().with_context(|| format!("no `events` in {answer}"))?;
    let id = |event: &Value| event.as_str().map(str::to_owned).with_context(|| format!("no id in {answer}"));
    events.iter().map(id).collect()
}
