//! The write side: commands become events.
//!
//! `send` decides a command on a loaded aggregate and appends what was decided; `load` brings an aggregate up to date,
//! from a snapshot where there is one; `warm` keeps the loaded ones, the least recently used go first; `crew` is the few
//! threads their guests run on; `aggregates` is the public face. Knows no Wasm, no database and no telemetry: only the
//! ports of core.
//!
//! ```text
//! command ─▶ [ queue of its stream ] ─▶ fold what is new, decide ─▶ append at the exact version ─▶ answer
//!                                       └─ one guest thread ─────┘   └ changed meanwhile: again ┘
//! ```

#![warn(missing_docs)]

mod aggregate;
mod aggregates;
mod answer;
mod archive;
mod counters;
mod crew;
mod deployed;
mod drafts;
mod dry_run;
mod load;
mod loaded;
mod means;
mod refusal;
mod repeated;
mod send;
mod show;
mod status;
mod turn;
mod warm;

pub use aggregates::{Aggregates, Deploy};
pub use answer::{Answer, CommandError, Crowd};
pub use counters::{Commands, Counters, Misses, SnapshotCounts};
pub use means::{Capacity, Ports};
pub use refusal::Refusal;
pub use show::{Shown, Taken};
pub use status::{Status, Swapped};
