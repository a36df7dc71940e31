//! Write Lantern projections in Rust, without any knowledge of WIT.
#![doc = include_str!("../README.md")]

pub mod bindings;
mod collection;
pub mod config;
mod data;
mod event;
mod failure;
mod host;
pub mod log;
mod projection;
mod span;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time;
mod trace;

pub use collection::{Collection, Scan};
pub use event::{Event, EventId};
pub use failure::Failure;
pub use projection::{Projection, exports};
pub use span::Span;
pub use time::{InvalidTime, Time};
pub use trace::TraceContext;

/// All that a projection usually needs: `use lantern_guest::prelude::*;`.
pub mod prelude {
    pub use crate::{Collection, Event, EventId, Failure, Projection, Span, Time, TraceContext, config};
    pub use crate::{debug, error, info, span, trace, warn};
    pub use serde::{Deserialize, Serialize};
}
