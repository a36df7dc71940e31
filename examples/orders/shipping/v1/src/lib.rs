//! Asks for the shipment of paid orders, first version: a process manager that reminds of what is not shipped in time.

use lantern_guest::prelude::*;
use std::time::Duration;

/// What it follows: orders, and its own reminder, which comes back like any other event.
#[derive(Deserialize)]
enum OrderEvent {
    OrderPaid,
    OrderShipped,
    OrderCancelled,
    ShippingReminded,
}

/// What it asks for, in streams `Shipping-<order>`.
#[derive(Serialize)]
enum ShippingEvent {
    ShippingRequested { order: String },
    ShippingReminded { order: String },
}

#[derive(Serialize, Deserialize)]
struct Shipping {
    requested_at: Time,
    reminded: bool,
}

/// By order id: what is paid and not shipped.
const SHIPPINGS: Process<Shipping> = Process::new("shippings");

struct ShippingHandler;

impl Handler for ShippingHandler {
    const NAME: &str = "shipping";
    const CATEGORIES: &[&str] = &["Order", "Shipping"];
    const COLLECTIONS: &[&str] = &[SHIPPINGS.name()];
    type Data = OrderEvent;

    fn handle(event: &Event, data: OrderEvent) -> Result<(), Failure> {
        let id = event.stream_id();
        let stream = format!("Shipping-{id}");
        match (data, SHIPPINGS.load(id)?) {
            (OrderEvent::OrderPaid, None) => {
                let (requested_at, order) = (event.time(), id.to_owned());
                SHIPPINGS.save(id, &Shipping { requested_at, reminded: false })?;
                emit(&stream, &ShippingEvent::ShippingRequested { order })?;

                let patience = Duration::from_secs(config::get_or("reminder_seconds", 48 * 3600)?);
                let reminder = ShippingEvent::ShippingReminded { order: id.to_owned() };
                SHIPPINGS.time_out_after(patience, event, id, &stream, &reminder)?;
            }
            (OrderEvent::OrderShipped | OrderEvent::OrderCancelled, Some(_)) => SHIPPINGS.complete(id),
            (OrderEvent::ShippingReminded, Some(shipping)) => {
                warn!("order {id}, paid at {}, is not shipped", shipping.requested_at);
                SHIPPINGS.save(id, &Shipping { reminded: true, ..shipping })?;
            }
            // Shipped without being paid here, or settled before its reminder came.
            _ => {}
        }
        Ok(())
    }
}

lantern_guest::handler!(ShippingHandler);

#[cfg(test)]
mod tests {
    use super::*;
    use lantern_testing::prelude::*;

    fn paid() -> Sample {
        event("OrderPaid", json!({ "amount_cents": 4900 }))
    }

    #[test]
    fn a_paid_order_is_to_be_shipped() {
        let reminder = ShippingEvent::ShippingReminded { order: "7".to_owned() };
        handler::<ShippingHandler>()
            .config("reminder_seconds", "60")
            .at("2026-03-02T09:15:00Z")
            .when("Order-7", paid())
            .then_emitted([("Shipping-7", ShippingEvent::ShippingRequested { order: "7".to_owned() })])
            .then_scheduled([("shippings/7", "2026-03-02T09:16:00Z", "Shipping-7", reminder)])
            .then_documents(
                "shippings",
                json!({ "7": { "requested_at": "2026-03-02T09:15:00.000Z", "reminded": false } }),
            );
    }

    #[test]
    fn what_is_shipped_or_cancelled_needs_no_reminder() {
        for end in ["OrderShipped", "OrderCancelled"] {
            handler::<ShippingHandler>()
                .given("Order-7", paid())
                .when("Order-7", event(end, json!({})))
                .then_cancelled(["shippings/7"])
                .then_documents("shippings", json!({}));
        }
    }

    #[test]
    fn a_reminder_is_kept_in_mind_and_asks_for_nothing() {
        handler::<ShippingHandler>()
            .given("Order-7", paid())
            .when("Shipping-7", event("ShippingReminded", json!({ "order": "7" })))
            .then_no_effects()
            .then_document("shippings", "7", json!({ "requested_at": "2026-01-01T00:00:00.000Z", "reminded": true }));
    }

    #[test]
    fn a_reminder_that_comes_too_late_does_nothing() {
        handler::<ShippingHandler>()
            .given("Order-7", paid())
            .given("Order-7", event("OrderShipped", json!({})))
            .when("Shipping-7", event("ShippingReminded", json!({ "order": "7" })))
            .then_no_effects()
            .then_documents("shippings", json!({}));
    }
}
