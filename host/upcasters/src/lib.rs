//! Older events in the form readers understand.
//!
//! `chain` is the steps of all deployed upcasters as one value: it finds the next step of an event and refuses steps that
//! meet or go round in a circle; `step` takes one and checks what the module made; `upcaster` keeps a module's instances;
//! `upcasters` is the public face. Nothing is written: the log stays as it is, and events are brought to their newer
//! form whenever they are read. Knows no Wasm, no database and no telemetry: only the ports of core.
//!
//! ```text
//! event in the log ─▶ step ─▶ step ─▶ … ─▶ the newest form the reader understands
//!                     └ an upcaster each ┘
//! ```

#![warn(missing_docs)]

mod chain;
mod dry_run;
mod refusal;
mod status;
mod step;
mod upcaster;
mod upcasters;

pub use refusal::Refusal;
pub use status::{Status, Swapped};
pub use upcasters::{Deploy, Ports, Upcasters};
