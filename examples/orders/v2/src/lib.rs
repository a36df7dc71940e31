//! Order statistics, second version: each order, all of them together, and now each customer.

use lantern_guest::prelude::*;

/// The events it wants, and what it reads from their data.
#[derive(Deserialize)]
enum OrderEvent {
    OrderPlaced { customer: String, amount_cents: u64 },
    OrderShipped,
}

#[derive(Default, Serialize, Deserialize)]
struct Order {
    status: String,
    customer: String,
    /// In cents.
    amount: u64,
    placed_at: Option<Time>,
    shipped_at: Option<Time>,
    /// The version of the module that handled the order's last event.
    handled_by: String,
    /// The position of the order's last event.
    position: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Totals {
    placed: u64,
    shipped: u64,
    /// In cents.
    amount: u64,
}

/// What the second version adds. After a swap it counts from there on; a rebuild fills in what was before.
#[derive(Default, Serialize, Deserialize)]
struct Customer {
    placed: u64,
    shipped: u64,
    /// In cents.
    amount: u64,
}

/// By order id.
const ORDERS: Collection<Order> = Collection::new("orders");
/// Only `all`.
const TOTALS: Collection<Totals> = Collection::new("totals");
/// By customer.
const CUSTOMERS: Collection<Customer> = Collection::new("by_customer");

struct Orders;

impl Projection for Orders {
    const NAME: &str = "orders";
    const CATEGORIES: &[&str] = &["Order"];
    const COLLECTIONS: &[&str] = &[ORDERS.name(), TOTALS.name(), CUSTOMERS.name()];
    type Data = OrderEvent;

    fn handle(event: &Event, data: OrderEvent) -> Result<(), Failure> {
        let id = event.stream_id();
        let _span = span!("count order", order = id);
        debug!("order {id}: {}", event.event_type());

        let mut order = ORDERS.get(id)?.unwrap_or_default();
        let mut totals = TOTALS.get("all")?.unwrap_or_default();
        match data {
            OrderEvent::OrderPlaced { customer, amount_cents } => {
                order.status = "placed".to_owned();
                CUSTOMERS.update(&customer, |customer| {
                    customer.placed += 1;
                    customer.amount += amount_cents;
                })?;
                order.customer = customer;
                order.amount = amount_cents;
                order.placed_at = Some(event.time());
                totals.placed += 1;
                totals.amount += amount_cents;
            }
            OrderEvent::OrderShipped => {
                order.status = "shipped".to_owned();
                order.shipped_at = Some(event.time());
                totals.shipped += 1;
                CUSTOMERS.update(&order.customer, |customer| customer.shipped += 1)?;
            }
        }
        order.handled_by = env!("CARGO_PKG_VERSION").to_owned();
        order.position = event.position();
        ORDERS.put(id, &order)?;
        TOTALS.put("all", &totals)
    }
}

lantern_guest::projection!(Orders);

#[cfg(test)]
mod tests {
    use super::*;
    use lantern_guest::testing::TestHost;

    #[test]
    fn orders_are_counted() -> Result<(), Failure> {
        let mut host = TestHost::<Orders>::new();
        host.handle("Order-1", "OrderPlaced", r#"{"customer":"ada","item":"lamp","quantity":1,"amount_cents":4900}"#)?;
        host.handle("Order-2", "OrderPlaced", r#"{"customer":"bob","amount_cents":100}"#)?;
        host.handle("Order-1", "OrderShipped", r#"{"carrier":"post"}"#)?;
        assert_eq!(host.documents("totals")["all"], r#"{"placed":2,"shipped":1,"amount":5000}"#);
        assert_eq!(
            host.documents("orders")["1"],
            r#"{"status":"shipped","customer":"ada","amount":4900,"placed_at":"2026-01-01T00:00:00.000Z","shipped_at":"2026-01-01T00:00:00.000Z","handled_by":"2.0.0","position":3}"#
        );
        assert_eq!(host.documents("by_customer")["ada"], r#"{"placed":1,"shipped":1,"amount":4900}"#);
        assert_eq!(host.spans().len(), 3);
        Ok(())
    }

    #[test]
    fn an_order_without_amount_is_refused_and_leaves_no_trace() {
        let mut host = TestHost::<Orders>::new();
        let failure = host.handle("Order-1", "OrderPlaced", r#"{"customer":"ada"}"#).err();
        assert!(failure.is_some_and(|failure| failure.reason().contains("missing field `amount_cents`")));
        assert!(host.documents("orders").is_empty());
    }
}
