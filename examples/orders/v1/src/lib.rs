//! Order statistics, first version: each order, and all of them together.

use lantern_guest::prelude::*;

/// The events it wants, and what it reads from their data.
#[derive(Deserialize)]
enum OrderEvent {
    OrderPlaced { customer: String, amount_cents: u64 },
    OrderPaid,
    OrderShipped,
    OrderCancelled,
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

/// By order id.
const ORDERS: Collection<Order> = Collection::new("orders");
/// Only `all`.
const TOTALS: Collection<Totals> = Collection::new("totals");

struct Orders;

impl Projection for Orders {
    const NAME: &str = "orders";
    const CATEGORIES: &[&str] = &["Order"];
    const COLLECTIONS: &[&str] = &[ORDERS.name(), TOTALS.name()];
    const SCHEMA_VERSIONS: &[(&str, u32)] = &[("OrderPlaced", 2)];
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
                order.customer = customer;
                order.amount = amount_cents;
                order.placed_at = Some(event.time());
                totals.placed += 1;
                totals.amount += amount_cents;
            }
            OrderEvent::OrderPaid => order.status = "paid".to_owned(),
            OrderEvent::OrderCancelled => order.status = "cancelled".to_owned(),
            OrderEvent::OrderShipped => {
                order.status = "shipped".to_owned();
                order.shipped_at = Some(event.time());
                totals.shipped += 1;
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
    use lantern_testing::prelude::*;

    fn placed(customer: &str, amount_cents: u64) -> Sample {
        event(
            "OrderPlaced",
            json!({ "customer": customer, "item": "lamp", "quantity": 1, "amount_cents": amount_cents }),
        )
    }

    #[test]
    fn orders_are_counted() {
        projection::<Orders>()
            .given("Order-1", placed("ada", 4900))
            .given("Order-2", placed("bob", 100))
            .given("Order-1", event("OrderPaid", json!({ "amount_cents": 4900 })))
            .when("Order-1", event("OrderShipped", json!({ "carrier": "post" })))
            .then_documents("totals", json!({ "all": { "placed": 2, "shipped": 1, "amount": 5000 } }))
            .then_document(
                "orders",
                "1",
                json!({
                    "status": "shipped", "customer": "ada", "amount": 4900, "placed_at": "2026-01-01T00:00:00.000Z",
                    "shipped_at": "2026-01-01T00:00:00.000Z", "handled_by": "1.0.0", "position": 4,
                }),
            );
    }

    #[test]
    fn what_is_paid_or_cancelled_counts_as_before() {
        for (kind, status) in [("OrderPaid", "paid"), ("OrderCancelled", "cancelled")] {
            let handled = projection::<Orders>()
                .given("Order-1", placed("ada", 4900))
                .when("Order-1", event(kind, json!({})))
                .then_documents("totals", json!({ "all": { "placed": 1, "shipped": 0, "amount": 4900 } }));
            assert_eq!(handled.documents("orders")["1"]["status"], status);
        }
    }

    #[test]
    fn an_order_without_amount_is_refused_and_leaves_no_trace() {
        let handled = projection::<Orders>().when("Order-1", event("OrderPlaced", json!({ "customer": "ada" })));
        handled.then_failed("missing field `amount_cents`");
        assert!(handled.documents("orders").is_empty());
    }
}
