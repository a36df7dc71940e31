//! Logs a million lines for each event, every thousandth of them a megabyte long.

use lantern_guest::prelude::*;

struct Flooding;

impl Projection for Flooding {
    const NAME: &str = "flooding";
    const COLLECTIONS: &[&str] = &[];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        let long = "flood ".repeat(1 << 20 >> 2);
        for line in 0..1_000_000 {
            if line % 1000 == 0 { info!("{long}") } else { info!("line {line} of event {}", event.position()) }
        }
        Ok(())
    }
}

lantern_guest::projection!(Flooding);
