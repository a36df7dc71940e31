//! A handler that writes down the clocks and random numbers it gets: the real ones only where they are granted.

use lantern_guest::prelude::*;
use std::time::{SystemTime, UNIX_EPOCH};
use wasip2::{clocks, random};

#[derive(Serialize, Deserialize)]
struct Readings {
    event_time: Time,
    system_time: Time,
    monotonic_clock: u64,
    random: u64,
}

/// By event id.
const READINGS: Collection<Readings> = Collection::new("readings");

struct Timekeeper;

impl Handler for Timekeeper {
    const NAME: &str = "timekeeper";
    const COLLECTIONS: &[&str] = &[READINGS.name()];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        let system = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let readings = Readings {
            event_time: event.time(),
            system_time: Time::from_nanoseconds(system.as_nanos() as i64),
            monotonic_clock: clocks::monotonic_clock::now(),
            random: random::random::get_random_u64(),
        };
        READINGS.put(event.id().to_string(), &readings)
    }
}

lantern_guest::handler!(Timekeeper);
