//! The heart of Lantern: the subscription loop and what serves it.
//!
//! Data goes one way: `read_ahead` takes pages from the log, `handle` turns events into effects on guest threads,
//! `run` commits them batch by batch and obeys commands between two batches, `supervisor` keeps one run for every
//! generation and is the public face. Knows no Wasm, no database and no telemetry: only the ports of core.

#![warn(missing_docs)]

mod backoff;
mod boundary;
mod command;
mod dead_letters;
mod dry_run;
mod guest_threads;
mod handle;
mod held;
mod progress;
mod projection;
mod read_ahead;
mod rebuild;
mod refusal;
mod roster;
mod run;
mod session;
mod status;
mod supervisor;

pub use command::Selection;
pub use refusal::Refusal;
pub use status::{LastError, RebuildStatus, Retried, Status, Swapped};
pub use supervisor::{Deploy, Ports, Start, Supervisor};
