//! Overflows its stack.

use lantern_guest::prelude::*;

/// Small frames, so that the engine's stack ends before that of the module; the addition after the call keeps it from
/// becoming a loop.
#[allow(unconditional_recursion, reason = "it is what this module is for")]
fn depth(level: u64) -> u64 {
    depth(std::hint::black_box(level) + 1) + level
}

struct Recursive;

impl Projection for Recursive {
    const NAME: &str = "recursive";
    const COLLECTIONS: &[&str] = &[];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        Err(Failure::permanent(depth(event.position())))
    }
}

lantern_guest::projection!(Recursive);
