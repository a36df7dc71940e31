//! Good neighbours: misbehaving modules beside a healthy one do not hold it up.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Host, events::amounts, guests, turn};

/// The promise: lag is 0 again within this time of the last append.
const BAR: Duration = Duration::from_secs(2);

#[test]
fn a_healthy_projection_keeps_up_beside_misbehaving_ones() {
    let _alone = turn::alone();
    let host = Host::start();
    host.deploy("healthy", guests::COUNTER);
    for bad in [guests::LOOPING, guests::TRAPPING, guests::HUNGRY, guests::RECURSIVE, guests::FLOODING, guests::SLEEPY]
    {
        // Skipping makes them fail at every event, not only at the first of each stream.
        host.deploy_with(bad, bad, json!({ "failure_policy": { "then": "skip" } }));
    }
    for round in 0..100 {
        host.append(&amounts(round * 50, 50, 100));
    }
    let acknowledged = Instant::now();
    let status = host.wait("healthy");
    let took = acknowledged.elapsed();
    assert_eq!((&status["lag"], &status["handled"]), (&0.into(), &5000.into()), "{status}");
    assert!(took <= BAR, "the healthy projection needed {took:?} after the last append");

    // The others were at work all the while: at least one event of each has failed by then or soon after.
    for bad in [guests::LOOPING, guests::TRAPPING, guests::HUNGRY, guests::RECURSIVE, guests::FLOODING] {
        host.wait_until(bad, "to have failed", |status| status["failed"].as_u64() > Some(0));
    }
    assert_eq!(host.wait("healthy")["lag"], 0);
}
