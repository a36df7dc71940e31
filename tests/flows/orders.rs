//! The whole example: commands, events, read model, shipments and reminders, older events, one trace.

use serde_json::{Value, json};

use crate::support::{Host, events::event, guests, wait};

fn shop(reminder_seconds: &str) -> Host {
    let host = Host::start();
    host.deploy_aggregate("Order", guests::ORDER_V1, json!({}));
    host.deploy("orders", guests::ORDERS_V1);
    let grants = json!({ "emit": true, "schedule": true });
    let settings = json!({ "grants": grants, "config": { "reminder_seconds": reminder_seconds } });
    host.deploy_handler("shipping", guests::SHIPPING_V1, settings).ok();
    host.post("/api/v1/upcasters", &json!({ "name": "order-placed", "module": host.push(guests::ORDER_PLACED) })).ok();
    host.handler("shipping").wait_until("live", |status| status["state"] == "live");
    host
}

fn place() -> Value {
    json!({ "customer": "ada", "item": "lamp", "quantity": 1, "amount_cents": 4900 })
}

impl Host {
    #[track_caller]
    fn types(&self, stream: &str) -> Vec<String> {
        let kind = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap();
            (event["subject"] == stream).then(|| event["type"].as_str().unwrap().to_owned())
        };
        self.exported().lines().filter_map(kind).collect()
    }
}

#[test]
fn an_order_goes_from_its_placing_to_its_shipment_in_traces_that_hang_together() {
    let host = shop("3600");
    host.order("Order-7", "PlaceOrder", &place()).ok();
    host.order("Order-7", "ShipOrder", &json!({ "carrier": "post" })).problem(422, "rejected");
    let paid = host.order("Order-7", "PayOrder", &json!({}));
    let trace = paid.header("traceparent").unwrap()[3..35].to_owned();
    paid.ok();
    host.handler("shipping").wait();
    assert_eq!(host.types("Shipping-7"), ["ShippingRequested"]);
    let scheduled = host.get("/api/v1/schedules?handler=shipping").ok();
    assert_eq!(scheduled["schedules"][0]["key"], "shippings/7", "{scheduled}");

    let tree = host.cli(&["trace", &trace]);
    for part in ["PayOrder", "shipping", "orders", "append"] {
        assert!(tree.ok().contains(part), "no {part} in\n{}", tree.stdout);
    }
    host.order("Order-7", "ShipOrder", &json!({ "carrier": "post" })).ok();
    host.handler("shipping").wait();
    assert_eq!(host.get("/api/v1/schedules?handler=shipping").ok()["schedules"], json!([]), "taken back");
    host.wait("orders");
    let totals = host.document("orders", "totals", "all").unwrap();
    assert_eq!((&totals["placed"], &totals["shipped"], &totals["amount"]), (&1.into(), &1.into(), &4900.into()));
}

#[test]
fn what_is_not_shipped_in_time_is_reminded_of_once() {
    let host = shop("1");
    host.order("Order-7", "PlaceOrder", &place()).ok();
    host.order("Order-7", "PayOrder", &json!({})).ok();
    wait::until("the reminder", || (host.types("Shipping-7").len() == 2).then_some(()));
    assert_eq!(host.types("Shipping-7"), ["ShippingRequested", "ShippingReminded"]);
    host.handler("shipping").wait();
    assert_eq!(host.handler("shipping").document("shippings", "7").unwrap()["reminded"], true);
}

#[test]
fn an_order_of_the_older_shop_is_read_by_everyone() {
    let host = shop("3600");
    let old = json!({ "customer": "bob", "item": "pen", "amount": 19.99 });
    host.append(&[event(1, "Order-1", "OrderPlaced", old)]);
    host.wait("orders");
    assert_eq!(host.document("orders", "totals", "all").unwrap()["amount"], 1999);
    host.order("Order-1", "PlaceOrder", &place()).problem(422, "rejected");
    host.order("Order-1", "PayOrder", &json!({})).ok();
    assert_eq!(host.state("Order-1")["amount_cents"], 1999);
}

#[test]
fn the_second_versions_take_over_while_orders_come_in() {
    let host = shop("3600");
    for order in 0..20 {
        host.order(&format!("Order-{order}"), "PlaceOrder", &place()).ok();
        host.order(&format!("Order-{order}"), "PayOrder", &json!({})).ok();
        if order == 10 {
            host.swap_aggregate("Order", guests::ORDER_V2).ok();
            host.handler("shipping").swap(guests::SHIPPING_V2).ok();
            host.swap("orders", guests::ORDERS_V2).ok();
        }
    }
    host.handler("shipping").wait();
    for order in 0..20 {
        let requested = host.types(&format!("Shipping-{order}"));
        assert_eq!(requested.iter().filter(|it| *it == "ShippingRequested").count(), 1, "order {order}: {requested:?}");
    }
    host.wait("orders");
    assert_eq!(host.document("orders", "totals", "all").unwrap()["placed"], 20);
}
