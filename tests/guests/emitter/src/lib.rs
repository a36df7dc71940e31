//! Emits as many events as the data says, one otherwise; fails afterwards where the data says so.

use lantern_guest::prelude::*;

#[derive(Deserialize)]
#[serde(default)]
struct Trigger {
    count: u64,
    fail: bool,
    trap: bool,
}

impl Default for Trigger {
    fn default() -> Self {
        Self { count: 1, fail: false, trap: false }
    }
}

#[derive(Serialize)]
struct Emitted {
    of: u64,
    index: u64,
}

struct Emitter;

impl Handler for Emitter {
    const NAME: &str = "emitter";
    // Not its own.
    const CATEGORIES: &[&str] = &["Order", "Trigger"];
    type Data = Trigger;

    fn handle(event: &Event, data: Trigger) -> Result<(), Failure> {
        for index in 0..data.count {
            emit(format!("Emitted-{}", event.stream_id()), &Emitted { of: event.position(), index })?;
        }
        // After the effects, so that a test can see that nothing of them stays.
        assert!(!data.trap, "the trigger is a trap");
        if data.fail { Err(Failure::permanent("the trigger fails")) } else { Ok(()) }
    }
}

lantern_guest::handler!(Emitter);
