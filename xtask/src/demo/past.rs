//! Orders of an older shop: events of a form that nobody writes any more, imported as they are.

use std::fs;

use anyhow::Result;
use serde_json::json;

use super::{host::Host, step};

/// The stream of an older order.
pub(super) const AN_ORDER: &str = "Order-100";

/// The number of the first older order; all are below those of the shop.
const FIRST: u64 = 100;
/// How many there are.
const ORDERS: u64 = 200;

/// Imports the older orders and shows one.
pub(super) fn import(host: &Host) -> Result<()> {
    step(&format!("{ORDERS} orders of an older shop are imported; their amount is in euros, schema version 1"));
    let lines = (FIRST..FIRST + ORDERS).map(|order| line(order) + "\n").collect::<String>();
    let file = host.folder().join("older-orders.jsonl");
    fs::write(&file, lines)?;
    host.cli(&["event", "import", &file.to_string_lossy()])?;
    Ok(())
}

fn line(order: u64) -> String {
    let euros = (500 + order % 89 * 10) as f64 / 100.0;
    let minute = order % 60;
    let event = json!({
        "specversion": "1.0",
        "id": format!("00000000-0000-4000-8000-{order:012}"),
        "source": "urn:older-shop",
        "type": "OrderPlaced",
        "schemaversion": 1,
        "subject": format!("Order-{order}"),
        "time": format!("2025-01-02T10:{minute:02}:00Z"),
        "data": { "customer": "Konrad", "item": "lamp", "quantity": 1, "amount": euros },
    });
    event.to_string()
}
