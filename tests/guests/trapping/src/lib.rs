//! Panics on every event.

use lantern_guest::prelude::*;

struct Trapping;

impl Projection for Trapping {
    const NAME: &str = "trapping";
    const COLLECTIONS: &[&str] = &[];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        panic!("cannot bear {} at position {}", event.event_type(), event.position());
    }
}

lantern_guest::projection!(Trapping);
