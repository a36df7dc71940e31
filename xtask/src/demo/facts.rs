//! What the log says, read without any module.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::host::Host;

/// Everything in the log that the proofs need.
#[derive(Default)]
pub(super) struct Facts {
    /// The ids of all events.
    pub(super) ids: BTreeSet<String>,
    /// How many events there are.
    pub(super) events: u64,
    /// Events of a form that nobody writes any more.
    pub(super) older: u64,
    /// Orders placed, of either form.
    pub(super) placed: u64,
    /// Orders shipped.
    pub(super) shipped: u64,
    /// What the orders cost together, in cents.
    pub(super) amount: u64,
    /// By the number of the order.
    pub(super) orders: BTreeMap<String, Order>,
    /// What followed from each payment, by the id of its event.
    pub(super) payments: BTreeMap<String, Payment>,
}

/// What the log says of one order.
#[derive(Default)]
pub(super) struct Order {
    /// The position of its last event.
    pub(super) last_position: u64,
    /// How many events it has.
    pub(super) events: u64,
    /// Whether it was shipped.
    pub(super) is_shipped: bool,
}

/// What followed from a payment.
pub(super) struct Payment {
    /// The order.
    pub(super) order: String,
    /// Requests for its shipment.
    pub(super) requested: u64,
    /// Reminders.
    pub(super) reminded: u64,
}

impl Facts {
    /// Reads the whole log. Its export is in the order of the log, which has no gaps, so a line's number is its position.
    pub(super) fn read(host: &Host) -> Result<Self> {
        let export = host.cli(&["event", "export"])?;
        let mut facts = Self::default();
        for (line, position) in export.lines().zip(1..) {
            let event: Value = serde_json::from_str(line)?;
            facts.add(&event, position).with_context(|| format!("the event at position {position}: {event}"))?;
        }
        Ok(facts)
    }

    fn add(&mut self, event: &Value, position: u64) -> Result<()> {
        let text = |name: &str| event[name].as_str().with_context(|| format!("no `{name}`"));
        let id = text("id")?.to_owned();
        self.events += 1;
        ensure!(self.ids.insert(id.clone()), "its id is in the log twice");
        let Some(number) = text("subject")?.strip_prefix("Order-") else {
            return self.add_effect(text("type")?, text("causationid")?);
        };
        let order = self.orders.entry(number.to_owned()).or_default();
        (order.last_position, order.events) = (position, order.events + 1);
        match text("type")? {
            "OrderPlaced" => {
                self.placed += 1;
                let amount = self.amount_of(&event["data"])?;
                self.amount += amount;
            }
            "OrderShipped" => {
                self.shipped += 1;
                order.is_shipped = true;
            }
            "OrderPaid" => {
                let payment = Payment { order: number.to_owned(), requested: 0, reminded: 0 };
                self.payments.insert(id, payment);
            }
            _ => {}
        }
        Ok(())
    }

    /// The amount of an order in cents; older ones have it in euros.
    fn amount_of(&mut self, data: &Value) -> Result<u64> {
        if let Some(euros) = data["amount"].as_f64() {
            self.older += 1;
            return Ok((euros * 100.0).round() as u64);
        }
        data["amount_cents"].as_u64().context("it has no amount")
    }

    /// An event that a handler emitted because of another.
    fn add_effect(&mut self, event_type: &str, cause: &str) -> Result<()> {
        let payment = self.payments.get_mut(cause).context("it follows from no payment before it")?;
        match event_type {
            "ShippingRequested" => payment.requested += 1,
            "ShippingReminded" => payment.reminded += 1,
            _ => bail!("nobody was to emit it"),
        }
        Ok(())
    }
}
