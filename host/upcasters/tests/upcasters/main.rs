//! Upcasters from outside: chains of closures on memory stores.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chains;
mod changes;
mod failures;
mod host;
mod refusals;
