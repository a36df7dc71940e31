//! Allocates without end, and touches what it gets.

use lantern_guest::prelude::*;

struct Hungry;

impl Projection for Hungry {
    const NAME: &str = "hungry";
    const COLLECTIONS: &[&str] = &[];
    type Data = ();

    fn handle(_: &Event, _: ()) -> Result<(), Failure> {
        let mut eaten = Vec::new();
        loop {
            eaten.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
}

lantern_guest::projection!(Hungry);
