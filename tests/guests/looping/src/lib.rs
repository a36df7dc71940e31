//! Never comes back from an event.

use lantern_guest::prelude::*;

struct Looping;

impl Projection for Looping {
    const NAME: &str = "looping";
    const COLLECTIONS: &[&str] = &[];
    type Data = ();

    fn handle(_: &Event, _: ()) -> Result<(), Failure> {
        loop {
            std::hint::spin_loop();
        }
    }
}

lantern_guest::projection!(Looping);
