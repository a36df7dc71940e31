//! The loop against the memory stores: closures as modules, faults on demand, no engine and no database.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bus;
mod crashes;
mod dead_letters;
mod faults;
mod feeds;
mod handlers;
mod host;
mod hosts;
mod inboxes;
mod life;
mod modules;
mod moving_routes;
mod rebuild;
mod relays;
mod routes;
mod storage;
mod swap;
mod tables;
mod timers;
mod upcasting;
