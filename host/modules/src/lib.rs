//! Modules as Wasm components: the engine, the library by digest, and what the host serves to the code inside.
//!
//! [`Library`] is the whole face of this crate; everything else is reached through the ports of `lantern_core`. Calls are
//! synchronous and belong on threads where blocking is allowed. A projection finds nothing here that differs between two
//! runs over the same log: its clocks show the time of the event, its random numbers are seeded by the event's id, there
//! are no files, no arguments and no network.
//!
//! Inside, one direction: `library` uses `compile`, `check` and `instance`; these use `imports`; `imports` maps the
//! generated `bindings` onto `state`, and `state` knows core only.

#![warn(missing_docs)]

mod bindings;
mod check;
mod compile;
mod engine;
mod guest;
mod imports;
mod instance;
mod library;
mod limits;
mod module;
mod state;
mod trap;

pub use library::{Library, OpenError};
