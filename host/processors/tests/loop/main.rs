//! The loop against the memory stores: closures as modules, faults on demand, no engine and no database.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dead_letters;
mod faults;
mod host;
mod life;
mod rebuild;
mod swap;
