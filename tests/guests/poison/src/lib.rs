//! Fails for good on data that says `"poison": true` and for now on `"flaky": true`; counts everything else.

use lantern_guest::prelude::*;

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Marks {
    poison: bool,
    flaky: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Count {
    count: u64,
    positions: Vec<u64>,
}

/// By stream.
const COUNTS: Collection<Count> = Collection::new("counts");

struct Poison;

impl Projection for Poison {
    const NAME: &str = "poison";
    const COLLECTIONS: &[&str] = &[COUNTS.name()];
    type Data = Marks;

    fn handle(event: &Event, data: Marks) -> Result<(), Failure> {
        // Before the failure, so that a test can see that nothing of it stays.
        COUNTS.update(event.stream(), |count| {
            count.count += 1;
            count.positions.push(event.position());
        })?;
        match data {
            Marks { poison: true, .. } => Err(Failure::permanent("the event is poison")),
            Marks { flaky: true, .. } => Err(Failure::transient("the event is flaky")),
            _ => Ok(()),
        }
    }
}

lantern_guest::projection!(Poison);
