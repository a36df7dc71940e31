//! An order, first version: it is placed, paid and shipped, or cancelled before that.

use lantern_guest::prelude::*;
use std::fmt;

#[derive(Serialize, Deserialize)]
enum OrderCommand {
    PlaceOrder { customer: String, item: String, quantity: u64, amount_cents: u64 },
    PayOrder,
    ShipOrder { carrier: String },
    CancelOrder { reason: String },
}

/// What is not used of older events has a default: they may lack it.
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    OrderPlaced {
        customer: String,
        #[serde(default)]
        item: String,
        #[serde(default)]
        quantity: u64,
        amount_cents: u64,
    },
    OrderPaid {
        amount_cents: u64,
    },
    OrderShipped {
        #[serde(default)]
        carrier: String,
    },
    OrderCancelled {
        #[serde(default)]
        reason: String,
    },
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// Not placed.
    #[default]
    New,
    Placed,
    Paid,
    Shipped,
    Cancelled,
}

#[derive(Default, Serialize, Deserialize)]
struct Order {
    status: Status,
    customer: String,
    amount_cents: u64,
}

/// Why a command is rejected. The code is the name in kebab case.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Refusal {
    AlreadyPlaced,
    NotPlaced,
    AlreadyPaid,
    NotPaid { due_cents: u64 },
    AlreadyShipped,
    Cancelled,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyPlaced => f.write_str("the order was placed already"),
            Self::NotPlaced => f.write_str("the order was never placed"),
            Self::AlreadyPaid => f.write_str("the order is paid already"),
            Self::NotPaid { due_cents } => write!(f, "the order is not paid: {due_cents} cents are due"),
            Self::AlreadyShipped => f.write_str("the order was shipped already"),
            Self::Cancelled => f.write_str("the order was cancelled"),
        }
    }
}

struct Orders;

impl Aggregate for Orders {
    const NAME: &str = "Order";
    const SCHEMA_VERSIONS: &[(&str, u32)] = &[("OrderPlaced", 2)];
    type State = Order;
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Rejection = Refusal;

    fn decide(order: &Order, command: OrderCommand, _: &Context) -> Result<Vec<OrderEvent>, Refusal> {
        match command {
            OrderCommand::PlaceOrder { customer, item, quantity, amount_cents } => match order.status {
                Status::New => Ok(vec![OrderEvent::OrderPlaced { customer, item, quantity, amount_cents }]),
                _ => Err(Refusal::AlreadyPlaced),
            },
            _ if order.status == Status::New => Err(Refusal::NotPlaced),
            _ if order.status == Status::Shipped => Err(Refusal::AlreadyShipped),
            OrderCommand::CancelOrder { .. } if order.status == Status::Cancelled => Ok(Vec::new()),
            _ if order.status == Status::Cancelled => Err(Refusal::Cancelled),
            OrderCommand::PayOrder if order.status == Status::Paid => Err(Refusal::AlreadyPaid),
            OrderCommand::PayOrder => Ok(vec![OrderEvent::OrderPaid { amount_cents: order.amount_cents }]),
            OrderCommand::ShipOrder { .. } if order.status == Status::Placed => {
                Err(Refusal::NotPaid { due_cents: order.amount_cents })
            }
            OrderCommand::ShipOrder { carrier } => Ok(vec![OrderEvent::OrderShipped { carrier }]),
            OrderCommand::CancelOrder { reason } => Ok(vec![OrderEvent::OrderCancelled { reason }]),
        }
    }

    fn evolve(order: &mut Order, event: OrderEvent) {
        match event {
            OrderEvent::OrderPlaced { customer, amount_cents, .. } => {
                *order = Order { status: Status::Placed, customer, amount_cents };
            }
            OrderEvent::OrderPaid { .. } => order.status = Status::Paid,
            OrderEvent::OrderShipped { .. } => order.status = Status::Shipped,
            OrderEvent::OrderCancelled { .. } => order.status = Status::Cancelled,
        }
    }
}

lantern_guest::aggregate!(Orders);

#[cfg(test)]
mod tests {
    use super::*;
    use lantern_testing::prelude::*;

    fn placed() -> OrderEvent {
        OrderEvent::OrderPlaced { customer: "ada".into(), item: "lamp".into(), quantity: 1, amount_cents: 4900 }
    }

    fn paid() -> OrderEvent {
        OrderEvent::OrderPaid { amount_cents: 4900 }
    }

    fn shipped() -> OrderEvent {
        OrderEvent::OrderShipped { carrier: "post".into() }
    }

    fn cancelled() -> OrderEvent {
        OrderEvent::OrderCancelled { reason: "changed my mind".into() }
    }

    #[test]
    fn an_order_is_placed_paid_and_shipped() {
        aggregate::<Orders>()
            .when(OrderCommand::PlaceOrder {
                customer: "ada".into(),
                item: "lamp".into(),
                quantity: 1,
                amount_cents: 4900,
            })
            .then([placed()])
            .when(OrderCommand::PayOrder)
            .then([paid()])
            .when(OrderCommand::ShipOrder { carrier: "post".into() })
            .then([shipped()])
            .then_state(json!({ "status": "shipped", "customer": "ada", "amount_cents": 4900 }));
    }

    #[test]
    fn an_order_is_placed_and_paid_once() {
        let place =
            event("PlaceOrder", json!({ "customer": "bob", "item": "pen", "quantity": 2, "amount_cents": 300 }));
        aggregate::<Orders>().given([placed()]).when(place).then_rejected("already-placed");
        aggregate::<Orders>().given([placed(), paid()]).when(OrderCommand::PayOrder).then_rejected("already-paid");
        aggregate::<Orders>().when(OrderCommand::PayOrder).then_rejected("not-placed");
    }

    #[test]
    fn only_a_paid_order_is_shipped() {
        let ship = || OrderCommand::ShipOrder { carrier: "post".into() };
        let refused = aggregate::<Orders>().given([placed()]).when(ship()).then_rejected("not-paid");
        refused.then_details(json!({ "due_cents": 4900 }));
        aggregate::<Orders>().given([placed(), cancelled()]).when(ship()).then_rejected("cancelled");
        aggregate::<Orders>().given([placed(), paid(), shipped()]).when(ship()).then_rejected("already-shipped");
    }

    #[test]
    fn an_order_is_cancelled_until_it_is_shipped() {
        let cancel = || OrderCommand::CancelOrder { reason: "changed my mind".to_owned() };
        aggregate::<Orders>()
            .given([placed(), paid()])
            .when(cancel())
            .then([cancelled()])
            .when(cancel())
            .then_nothing();
        aggregate::<Orders>().given([placed(), paid(), shipped()]).when(cancel()).then_rejected("already-shipped");
    }
}
