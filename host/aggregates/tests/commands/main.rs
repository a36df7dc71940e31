//! Commands on a whole set of aggregates: modules of closures, memory stores, storage that fails on demand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account;
mod capacity;
mod crowd;
mod faults;
mod host;
mod life;
mod model;
mod outside;
mod repeated;
mod show;
mod snapshots;
mod swap;
mod traps;
