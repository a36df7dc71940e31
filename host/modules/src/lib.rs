//! Modules as Wasm components: the engine, the library by digest, and what the host serves to the code inside.
//!
//! [`Library`] is the whole face of this crate; everything else is reached through the ports of `lantern_core`. Calls are
//! synchronous and belong on threads where blocking is allowed. A module finds nothing here that differs between two runs
//! over the same log: its clocks show the time of what is in hand, its random numbers are seeded by its id, there are no
//! files, no arguments and no network. Only a handler may be granted more.
//!
//! Inside, one direction: `library` uses `compile`, `check` and the modules of each world, `processor`, `aggregate` and
//! `upcaster`; these use `running` and `imports`; `imports` maps the generated `bindings` onto `state`, and `state` knows
//! core only.

#![warn(missing_docs)]

mod aggregate;
mod bindings;
mod check;
mod compile;
mod described;
mod engine;
mod guest;
mod imports;
mod library;
mod lifted;
mod limits;
mod lowered;
mod processor;
mod ready;
mod running;
mod state;
mod trap;
mod upcaster;

pub use library::{Library, OpenError};
