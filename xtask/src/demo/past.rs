//! Orders of an older shop: events of a form that nobody writes any more, imported as they are.

use std::fs;

use anyhow::Result;
use serde_json::json;

use super::{host::Host, print_command, step};

/// The stream of an older order.
pub(super) const AN_ORDER: &str = "Order-100";

/// The number of the first older order; all are below those of the shop.
const FIRST: u64 = 100;
/// How many there are.
const ORDERS: u64 = 200;

/// Imports the older orders.
pub(super) fn import(host: &Host) -> Result<()> {
    step(&format!("{ORDERS} orders of an older shop are imported; their amount is in euros, schema version 1"));
    let lines = (FIRST..FIRST + ORDERS).map(|order| line(order) + "\n").collect::<String>();
    let file = host.folder().join("older-orders.jsonl");
    fs::write(&file, lines)?;
    host.cli(&["event", "import", &file.to_string_lossy()])?;
    Ok(())
}

/// Shows one as it is stored, and as every module sees it.
pub(super) fn show(host: &Host) -> Result<()> {
    step("An older order as it is stored, and as the upcaster shows it to every module");
    let id = id(FIRST);
    for arguments in [&["event", "get", &id, "--raw"][..], &["event", "get", &id]] {
        let event = host.json(arguments)?;
        print_command(arguments);
        // The version is left out where it is 1.
        let version = event["schemaversion"].as_u64().unwrap_or(1);
        println!("  OrderPlaced, schema version {version}: {}", event["data"]);
    }
    Ok(())
}

fn id(order: u64) -> String {
    format!("00000000-0000-4000-8000-{order:012}")
}

fn line(order: u64) -> String {
    let euros = (500 + order % 89 * 10) as f64 / 100.0;
    let minute = order % 60;
    let event = json!({
        "specversion": "1.0",
        "id": id(order),
        "source": "urn:older-shop",
        "type": "OrderPlaced",
        "schemaversion": 1,
        "subject": format!("Order-{order}"),
        "time": format!("2025-01-02T10:{minute:02}:00Z"),
        "data": { "customer": "Konrad", "item": "lamp", "quantity": 1, "amount": euros },
    });
    event.to_string()
}
