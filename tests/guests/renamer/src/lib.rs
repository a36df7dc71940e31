//! An upcaster that renames: `Raised` became `Counted`.

use lantern_guest::prelude::*;

struct Renamer;

impl Upcaster for Renamer {
    const NAME: &str = "renamer";
    const STEPS: &[Step] = &[Step::new(("Raised", 1), ("Counted", 1), Ok)];
}

lantern_guest::upcaster!(Renamer);
