//! An upcaster in two steps: the amount of `Counted` gets a unit, then becomes text. Bad amounts fail, one traps.

use lantern_guest::prelude::*;

struct Widener;

impl Upcaster for Widener {
    const NAME: &str = "widener";
    const STEPS: &[Step] = &[
        Step::new(("Counted", 1), ("Counted", 2), |mut data| {
            assert!(data["amount"] != "trap", "the amount is a trap");
            data["amount"].as_u64().ok_or("`amount` is missing or no number")?;
            data["unit"] = "cent".into();
            Ok(data)
        }),
        Step::new(("Counted", 2), ("Counted", 3), |mut data| {
            data["amount"] = data["amount"].to_string().into();
            Ok(data)
        }),
    ];
}

lantern_guest::upcaster!(Widener);
