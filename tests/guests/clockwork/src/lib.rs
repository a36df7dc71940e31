//! Writes down everything a projection could get from outside the log: clocks and random numbers.

use lantern_guest::prelude::*;
use std::time::{SystemTime, UNIX_EPOCH};
use wasip2::{clocks, random};

#[derive(Serialize, Deserialize)]
struct Readings {
    event_time: Time,
    system_time: Time,
    wall_clock: Time,
    monotonic_clock: u64,
    random: u64,
    random_bytes: Vec<u8>,
    insecure_random: u64,
}

/// By event id.
const READINGS: Collection<Readings> = Collection::new("readings");

struct Clockwork;

impl Projection for Clockwork {
    const NAME: &str = "clockwork";
    const COLLECTIONS: &[&str] = &[READINGS.name()];
    type Data = ();

    fn handle(event: &Event, _: ()) -> Result<(), Failure> {
        let (system, wall) = (SystemTime::now().duration_since(UNIX_EPOCH)?, clocks::wall_clock::now());
        let readings = Readings {
            event_time: event.time(),
            system_time: Time::from_nanoseconds(system.as_nanos() as i64),
            wall_clock: Time::from_nanoseconds(wall.seconds as i64 * 1_000_000_000 + i64::from(wall.nanoseconds)),
            monotonic_clock: clocks::monotonic_clock::now(),
            random: random::random::get_random_u64(),
            random_bytes: random::random::get_random_bytes(16),
            insecure_random: random::insecure::get_insecure_random_u64(),
        };
        READINGS.put(event.id().to_string(), &readings)
    }
}

lantern_guest::projection!(Clockwork);
