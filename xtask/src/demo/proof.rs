//! The proofs: by id, by count, by version and by digest, each against the log itself.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    AGGREGATE, PROJECTION,
    facts::{Facts, Payment},
    host::Host,
    shop::Page,
};

/// How many orders are asked of their aggregate.
const SHOWN: usize = 20;

/// Checks everything and says what was found.
///
/// # Errors
/// When anything is not as it must be.
pub(super) fn check(host: &Host, answers: &Page) -> Result<()> {
    let facts = Facts::read(host)?;
    by_id(&facts, answers)?;
    by_cause(&facts)?;
    by_count(host, &facts)?;
    by_version(host, &facts)?;
    by_state(host, &facts)?;
    by_digest(host)?;
    let after = Facts::read(host)?;
    ensure!(after.ids == facts.ids, "the log has grown from {} to {} events by rebuilds", facts.events, after.events);
    println!("  ✓ rebuilds and the fresh deployment emitted nothing: the log still holds {} events", facts.events);
    Ok(())
}

/// Every event that the host acknowledged is in the log, and nothing that nobody asked for.
fn by_id(facts: &Facts, answers: &Page) -> Result<()> {
    let lost = answers.events.iter().find(|id| !facts.ids.contains(*id));
    ensure!(lost.is_none(), "event {} was acknowledged and is not in the log", lost.map_or("", String::as_str));
    let effects: u64 = facts.payments.values().map(|payment| payment.requested + payment.reminded).sum();
    let (decided, acknowledged) = (facts.events - facts.older - effects, answers.events.len() as u64);
    ensure!(decided == acknowledged, "{acknowledged} events were acknowledged, {decided} were decided on");
    println!(
        "  ✓ by id: {acknowledged} events were acknowledged to the customers, and each is in the log once; {} commands \
         were rejected",
        answers.rejected.values().sum::<u64>()
    );
    Ok(())
}

/// Every payment led to exactly one request, and to one reminder where nothing was shipped.
fn by_cause(facts: &Facts) -> Result<()> {
    let mut reminded = 0;
    for (id, Payment { order, requested, reminded: reminders }) in &facts.payments {
        ensure!(*requested == 1, "payment {id} of order {order} led to {requested} requests for shipment");
        let is_shipped = facts.orders.get(order).is_some_and(|order| order.is_shipped);
        let expected = u64::from(!is_shipped);
        ensure!(*reminders == expected, "order {order}, shipped: {is_shipped}, was called to mind {reminders} times");
        reminded += reminders;
    }
    let payments = facts.payments.len();
    println!(
        "  ✓ by cause: {payments} payments, {payments} requests for shipment, one each; {reminded} were not shipped in \
         time, {reminded} reminders"
    );
    Ok(())
}

fn by_count(host: &Host, facts: &Facts) -> Result<()> {
    let totals = host.json(&["projection", "query", PROJECTION, "totals", "all"])?[0]["value"].clone();
    let expected = json!({ "placed": facts.placed, "shipped": facts.shipped, "amount": facts.amount });
    ensure!(totals == expected, "the read model says {totals}, the log says {expected}");
    println!(
        "  ✓ by count: {} orders placed ({} of them in the older form), {} shipped, {} cents, in the log and in the read \
         model",
        facts.placed, facts.older, facts.shipped, facts.amount
    );
    Ok(())
}

/// Every order was last handled at its last event, by the version whose turn it was at that position.
fn by_version(host: &Host, facts: &Facts) -> Result<()> {
    let history = host.json(&["projection", "history", PROJECTION])?;
    let entries = history.as_array().or_else(|| history["entries"].as_array()).context("no history")?;
    let swapped = entries.iter().find(|entry| entry["what"] == "swapped").context("the history tells of no swap")?;
    let swapped = swapped["position"].as_u64().context("the swap has no position")?;

    let orders = all_orders(host)?;
    let (read, logged) = (orders.len(), facts.orders.len());
    ensure!(read == logged, "the read model has {read} orders, the log has {logged}");
    for order in &orders {
        let (key, document) = (order["key"].as_str().unwrap_or_default(), &order["value"]);
        let logged = facts.orders.get(key).with_context(|| format!("order {key} is not in the log"))?;
        let position = logged.last_position;
        let version = if position <= swapped { "1.0.0" } else { "2.0.0" };
        ensure!(
            document["position"] == position && document["handled_by"] == version,
            "order {key} is to be at {position} by {version}: {document}"
        );
    }
    println!("  ✓ by version: all {} orders up to position {swapped} by 1.0.0, after it by 2.0.0", orders.len());
    Ok(())
}

/// Reads all orders, page by page.
fn all_orders(host: &Host) -> Result<Vec<Value>> {
    let mut orders: Vec<Value> = Vec::new();
    loop {
        let after = orders.last().and_then(|order| order["key"].as_str()).unwrap_or_default().to_owned();
        let query = ["projection", "query", PROJECTION, "orders", "--limit", "1000", "--after", &after];
        match host.json(&query)? {
            Value::Array(page) if page.is_empty() => return Ok(orders),
            Value::Array(page) => orders.extend(page),
            other => bail!("no list of orders: {other}"),
        }
    }
}

/// The aggregate has seen every event of an order.
fn by_state(host: &Host, facts: &Facts) -> Result<()> {
    let every = (facts.orders.len() / SHOWN).max(1);
    for (number, order) in facts.orders.iter().step_by(every) {
        let shown = host.json(&["aggregate", "show", &format!("{AGGREGATE}-{number}")])?;
        ensure!(shown["version"] == order.events, "order {number} has {} events: {shown}", order.events);
        let is_shipped = shown["state"]["status"] == "shipped";
        ensure!(is_shipped == order.is_shipped, "order {number} was shipped: {}, but {shown}", order.is_shipped);
    }
    println!("  ✓ by state: the aggregate gives every {every}th order as the log has it");
    Ok(())
}

/// Two rebuilds and a fresh deployment of the second version give the same bytes.
fn by_digest(host: &Host) -> Result<()> {
    let status = host.json(&["projection", "status", PROJECTION])?;
    let module = status["module"].as_str().context("the projection has no module")?;
    let mut digests = Vec::new();
    for _ in 0..2 {
        host.cli(&["projection", "rebuild", PROJECTION, "--wait"])?;
        digests.push(digest(host, PROJECTION)?);
    }
    let fresh = format!("{PROJECTION}-fresh");
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
