//! The loop against the memory stores: closures as modules, faults on demand, no engine and no database.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crashes;
mod dead_letters;
mod faults;
mod handlers;
mod host;
mod hosts;
mod life;
mod modules;
mod rebuild;
mod storage;
mod swap;
mod tables;
mod timers;
mod upcasting;
