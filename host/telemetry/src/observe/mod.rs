//! The ports of core, watched from outside: each wrapped once, where the host is put together.
//!
//! An observer calls what it wraps with the same arguments and returns the same answer. It adds the trace context, and
//! nothing it does can fail, block or change an outcome.

mod aggregates;
mod buses;
mod library;
mod log;
mod read_models;
mod snapshots;
mod upcasters;
mod witness;

pub use buses::bus;
pub use library::library;
pub use log::log;
pub use read_models::read_models;
pub use snapshots::snapshots;
