//! Sleeps an hour on every event.

use lantern_guest::prelude::*;

struct Sleepy;

impl Projection for Sleepy {
    const NAME: &str = "sleepy";
    const COLLECTIONS: &[&str] = &[];
    type Data = ();

    fn handle(_: &Event, _: ()) -> Result<(), Failure> {
        std::thread::sleep(std::time::Duration::from_secs(3600));
        Ok(())
    }
}

lantern_guest::projection!(Sleepy);
