//! The module `poison`, mended: it counts every event.

use lantern_guest::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Count {
    count: u64,
    positions: Vec<u64>,
}

/// By stream.
const COUNTS: Collection<Count> = Collection::new("counts");

struct Mended;

impl Projection for Mended {
    const NAME: &str = "mended";
    const COLLECTIONS: &[&str] = &[COUNTS.name()];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        COUNTS.update(event.stream(), |count| {
            count.count += 1;
            count.positions.push(event.position());
        })
    }
}

lantern_guest::projection!(Mended);
