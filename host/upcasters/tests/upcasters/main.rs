//! Upcasters from outside: chains of closures on memory stores.

mod chains;
mod changes;
mod failures;
mod host;
mod refusals;
