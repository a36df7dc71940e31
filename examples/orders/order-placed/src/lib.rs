//! Orders of an older shop: version 1 of `OrderPlaced` had its amount in euros, version 2 has it in cents.

use lantern_guest::prelude::*;
use lantern_guest::serde_json::Value;
use std::error::Error;

struct OrderPlaced;

impl Upcaster for OrderPlaced {
    const NAME: &str = "order-placed";
    const STEPS: &[Step] = &[Step::new(("OrderPlaced", 1), ("OrderPlaced", 2), in_cents)];
}

fn in_cents(mut data: Value) -> Result<Value, Box<dyn Error>> {
    let fields = data.as_object_mut().ok_or("it is no object")?;
    // Some shops counted in cents before they said so.
    if !fields.contains_key("amount_cents") {
        let euros = fields.remove("amount").and_then(|amount| amount.as_f64()).filter(|euros| *euros >= 0.0);
        let cents = euros.ok_or("`amount` is missing or no amount in euros")? * 100.0;
        fields.insert("amount_cents".to_owned(), (cents.round() as u64).into());
    }
    Ok(data)
}

lantern_guest::upcaster!(OrderPlaced);

#[cfg(test)]
mod tests {
    use super::*;
    use lantern_testing::prelude::*;

    #[test]
    fn euros_become_cents() {
        upcaster::<OrderPlaced>()
            .when(event("OrderPlaced", json!({ "customer": "ada", "item": "lamp", "amount": 19.99 })))
            .then(event("OrderPlaced", json!({ "customer": "ada", "item": "lamp", "amount_cents": 1999 })).version(2));
    }

    #[test]
    fn cents_stay() {
        upcaster::<OrderPlaced>()
            .when(event("OrderPlaced", json!({ "customer": "ada", "amount_cents": 1999 })))
            .then(event("OrderPlaced", json!({ "customer": "ada", "amount_cents": 1999 })).version(2));
        let today = event("OrderPlaced", json!({ "amount_cents": 5 })).version(2);
        upcaster::<OrderPlaced>().when(today.clone()).then(today);
    }

    #[test]
    fn an_order_without_an_amount_cannot_be_read() {
        for data in [json!({ "customer": "ada" }), json!({ "amount": "much" }), json!({ "amount": -1 })] {
            upcaster::<OrderPlaced>().when(event("OrderPlaced", data)).then_failed("`amount` is missing or no amount");
        }
    }
}
