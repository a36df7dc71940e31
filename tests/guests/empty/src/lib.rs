//! Wants every event and does nothing with it: what is left is the cost of a call.

use lantern_guest::prelude::*;

struct Empty;

impl Projection for Empty {
    const NAME: &str = "empty";
    const COLLECTIONS: &[&str] = &[];
    type Data = ();

    fn handle(_: &Event, _: ()) -> Result<(), Failure> {
        Ok(())
    }
}

lantern_guest::projection!(Empty);
