//! The proofs: by count, by version and by digest, each against the log itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::host::Host;

/// What the log says, read without any projection.
#[derive(Default)]
struct Facts {
    placed: u64,
    shipped: u64,
    amount: u64,
    /// The position of each order's last event.
    last_position: BTreeMap<String, u64>,
}

/// Checks everything and says what was found.
///
/// # Errors
/// When anything is not as it must be.
pub(super) fn check(host: &Host, projection: &str, acknowledged: u64) -> Result<()> {
    let facts = read_log(host, acknowledged)?;
    by_count(host, projection, &facts)?;
    by_version(host, projection, &facts)?;
    by_digest(host, projection)
}

/// Reads the whole log. Its export is in the order of the log, which has no gaps, so a line's number is its position.
fn read_log(host: &Host, acknowledged: u64) -> Result<Facts> {
    let export = host.cli(&["event", "export"])?;
    let mut facts = Facts::default();
    for (line, position) in export.lines().zip(1..) {
        let event: Value = serde_json::from_str(line)?;
        let order = event["subject"].as_str().and_then(|subject| subject.strip_prefix("Order-"));
        let order = order.with_context(|| format!("an event of no order: {line}"))?;
        facts.last_position.insert(order.to_owned(), position);
        match event["data"]["amount_cents"].as_u64() {
            Some(amount) => (facts.placed, facts.amount) = (facts.placed + 1, facts.amount + amount),
            None => facts.shipped += 1,
        }
    }
    let logged = facts.placed + facts.shipped;
    ensure!(logged == acknowledged, "{acknowledged} events were acknowledged and {logged} are in the log");
    println!("  ✓ the client was told of {acknowledged} appended events, and the log holds exactly those");
    Ok(facts)
}

fn by_count(host: &Host, projection: &str, facts: &Facts) -> Result<()> {
    let totals = host.json(&["projection", "query", projection, "totals", "all"])?[0]["value"].clone();
    let expected = json!({ "placed": facts.placed, "shipped": facts.shipped, "amount": facts.amount });
    ensure!(totals == expected, "the read model says {totals}, the log says {expected}");
    println!(
        "  ✓ by count: {} orders placed, {} shipped, {} cents, in the log and in the read model",
        facts.placed, facts.shipped, facts.amount
    );
    Ok(())
}

/// Every order was last handled at its last event, by the version whose turn it was at that position.
fn by_version(host: &Host, projection: &str, facts: &Facts) -> Result<()> {
    let history = host.json(&["projection", "history", projection])?;
    let entries = history.as_array().or_else(|| history["entries"].as_array()).context("no history")?;
    let swapped = entries.iter().find(|entry| entry["what"] == "swapped").context("the history tells of no swap")?;
    let swapped = swapped["position"].as_u64().context("the swap has no position")?;

    let orders = all_orders(host, projection)?;
    let (read, logged) = (orders.len(), facts.last_position.len());
    ensure!(read == logged, "the read model has {read} orders, the log has {logged}");
    for order in &orders {
        let (key, document) = (order["key"].as_str().unwrap_or_default(), &order["value"]);
        let position = facts.last_position.get(key).with_context(|| format!("order {key} is not in the log"))?;
        let version = if *position <= swapped { "1.0.0" } else { "2.0.0" };
        ensure!(
            document["position"] == *position && document["handled_by"] == version,
            "order {key} is to be at {position} by {version}: {document}"
        );
    }
    println!("  ✓ by version: all {} orders up to position {swapped} by 1.0.0, after it by 2.0.0", orders.len());
    Ok(())
}

/// Reads all orders, page by page.
fn all_orders(host: &Host, projection: &str) -> Result<Vec<Value>> {
    let mut orders: Vec<Value> = Vec::new();
    loop {
        let after = orders.last().and_then(|order| order["key"].as_str()).unwrap_or_default().to_owned();
        let query = ["projection", "query", projection, "orders", "--limit", "1000", "--after", &after];
        match host.json(&query)? {
            Value::Array(page) if page.is_empty() => return Ok(orders),
            Value::Array(page) => orders.extend(page),
            other => bail!("no list of orders: {other}"),
        }
    }
}

/// Two rebuilds and a fresh deployment of the second version give the same bytes.
fn by_digest(host: &Host, projection: &str) -> Result<()> {
    let status = host.json(&["projection", "status", projection])?;
    let module = status["module"].as_str().context("the projection has no module")?;
    let mut digests = Vec::new();
    for _ in 0..2 {
        host.cli(&["projection", "rebuild", projection, "--wait"])?;
        digests.push(digest(host, projection)?);
    }
    let fresh = format!("{projection}-fresh");
    host.cli(&["projection", "deploy", &fresh, "--module", module, "--from", "beginning"])?;
    host.cli(&["projection", "wait", &fresh, "--timeout", "60"])?;
    digests.push(digest(host, &fresh)?);
    ensure!(digests.iter().all(|it| *it == digests[0]), "the digests differ: {digests:#?}");
    println!("  ✓ by digest: two rebuilds and a fresh deployment of 2.0.0 all give {}…", &digests[0][..16]);
    Ok(())
}

fn digest(host: &Host, projection: &str) -> Result<String> {
    let answer = host.json(&["projection", "digest", projection])?;
    let digest = answer["digest"].as_str().filter(|digest| digest.len() == 64);
    digest.map(str::to_owned).with_context(|| format!("no digest in {answer}"))
}
