//! One parse, one get and one put for each event: the projection that the benchmarks rebuild.

use lantern_guest::prelude::*;

/// The rest of the data is passed over.
#[derive(Deserialize)]
struct Amount {
    amount: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Count {
    count: u64,
    last_amount: u64,
}

/// By stream.
const COUNTS: Collection<Count> = Collection::new("counts");

struct Counter;

impl Projection for Counter {
    const NAME: &str = "counter";
    const COLLECTIONS: &[&str] = &[COUNTS.name()];
    type Data = Amount;

    fn handle(event: &Event, data: Amount) -> Result<(), Failure> {
        COUNTS.update(event.stream(), |count| {
            count.count += 1;
            count.last_amount = data.amount;
        })
    }
}

lantern_guest::projection!(Counter);
