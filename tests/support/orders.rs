//! Orders without end for `examples/orders`, and whether its read model is what the log says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Host,
    events::{order_placed, order_shipped},
    guests,
};

/// Makes orders, some of which are shipped at once and some later, the same each time.
#[derive(Default)]
pub struct Orders {
    event: u64,
    order: u64,
}

impl Orders {
    /// The events of the next orders.
    pub fn next(&mut self, orders: u64) -> Vec<Value> {
        let mut events = Vec::new();
        for _ in 0..orders {
            (self.event, self.order) = (self.event + 1, self.order + 1);
            events.push(order_placed(self.event, self.order));
            let shipped = match self.order {
                order if order % 10 == 0 => order,
                order if order % 3 == 0 && order > 50 => order - 50,
                _ => continue,
            };
            self.event += 1;
            events.push(order_shipped(self.event, shipped));
        }
        events
    }
}

impl Host {
    /// Checks the read model of a projection of orders against the log and the projection's history: no event lost or
    /// handled twice, and each by the version whose turn it was.
    #[track_caller]
    pub fn check_orders(&self, name: &str) {
        let turns = self.turns(name);
        let mut last_position = BTreeMap::new();
        let (mut placed, mut shipped, mut amount) = (0_u64, 0_u64, 0_u64);
        for (line, position) in self.exported().lines().zip(1_u64..) {
            let event: Value = serde_json::from_str(line).unwrap();
            let order = event["subject"].as_str().unwrap().strip_prefix("Order-").unwrap().to_owned();
            last_position.insert(order, position);
            match event["data"]["amount_cents"].as_u64() {
                Some(cents) => (placed, amount) = (placed + 1, amount + cents),
                None => shipped += 1,
            }
        }
        assert_eq!(placed + shipped, self.head());
        let totals = json!({ "placed": placed, "shipped": shipped, "amount": amount });
        assert_eq!(self.document(name, "totals", "all"), Some(totals));

        let orders = self.documents(name, "orders");
        assert_eq!(orders.len(), last_position.len());
        for (order, document) in &orders {
            let position = last_position[order];
            assert_eq!(document["position"], position, "order {order}");
            // The version whose turn began last before this event.
            let (begin, version) = turns.range(..position).next_back().unwrap();
            assert_eq!(document["handled_by"], *version, "order {order} at {position}, after the change at {begin}");
        }
    }

    /// After which position which version handles events, as the history says.
    #[track_caller]
    fn turns(&self, name: &str) -> BTreeMap<u64, &'static str> {
        let versions =
            BTreeMap::from([(self.push(guests::ORDERS_V1), "1.0.0"), (self.push(guests::ORDERS_V2), "2.0.0")]);
        let version = |digest: &Value| versions[digest.as_str().unwrap()];
        let turn = |entry: Value| match entry["what"].as_str().unwrap() {
            "deployed" => Some((0, version(&entry["module"]))),
            "swapped" | "rolled-back" => Some((entry["position"].as_u64().unwrap(), version(&entry["to"]))),
            _ => None,
        };
        // Of two changes at one position the later one counts.
        self.history(name).into_iter().filter_map(turn).collect()
    }
}
