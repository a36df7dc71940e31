//! Good neighbours: misbehaving modules beside a healthy one do not hold it up.

use serde_json::json;

use crate::support::{Host, events::amounts, guests};

#[test]
fn a_healthy_projection_keeps_up_beside_misbehaving_ones() {
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
    let healthy = host.wait("healthy");
    assert_eq!((&healthy["lag"], &healthy["handled"]), (&0.into(), &5000.into()), "{healthy}");
    // It did not stand in line with the one that takes until its deadline at every event, and has hardly begun.
    let looping = host.status(guests::LOOPING);
    assert!(looping["lag"].as_u64() > Some(4000), "it is not held up by what it does: {looping}");
    // The others were at work all the while: at least one event of each has failed by then or soon after.
    for bad in [guests::LOOPING, guests::TRAPPING, guests::HUNGRY, guests::RECURSIVE, guests::SLEEPY] {
        host.wait_until(bad, "to have failed", |status| status["failed"].as_u64() > Some(0));
    }
    // A fast machine gets through a flood before the deadline; what is too much of it is dropped.
    host.wait_until(guests::FLOODING, "to have begun", |status| status["position"].as_u64() > Some(0));
    assert_eq!(host.wait("healthy")["lag"], 0);
}
