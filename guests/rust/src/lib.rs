//! Write Lantern modules in Rust, without any knowledge of WIT: projections, handlers, aggregates and upcasters.
#![doc = include_str!("../README.md")]

mod aggregate;
pub mod bindings;
mod collection;
pub mod config;
mod context;
mod data;
mod event;
mod failure;
mod handler;
mod host;
pub mod http;
mod loaded;
pub mod log;
mod new_event;
pub mod process;
mod processor;
mod projection;
mod rejection;
pub mod schedule;
mod span;
pub mod sql;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time;
mod trace;
mod upcaster;
mod written;

pub use aggregate::Aggregate;
pub use collection::{Collection, Scan};
pub use context::Context;
pub use event::{Event, EventId};
pub use failure::Failure;
pub use handler::Handler;
pub use new_event::{NewEvent, emit, publish};
pub use process::Process;
pub use projection::Projection;
pub use rejection::Rejection;
pub use serde_json;
pub use span::Span;
pub use time::{InvalidTime, Time};
pub use trace::TraceContext;
pub use upcaster::{Step, Upcaster};

/// What the macros and `lantern-testing` call.
#[doc(hidden)]
pub mod exports {
    pub use crate::loaded::{AggregateModule, Loaded, describe_aggregate};
    pub use crate::processor::{Processor, handler, projection};
    pub use crate::upcaster::{describe_upcaster, upcast};
}

/// All that a module usually needs: `use lantern_guest::prelude::*;`.
pub mod prelude {
    pub use crate::{Aggregate, Context, Handler, Projection, Rejection, Step, Upcaster};
    pub use crate::{Collection, Event, EventId, Failure, NewEvent, Process, Span, Time, TraceContext};
    pub use crate::{config, emit, http, params, process, publish, schedule, sql};
    pub use crate::{debug, error, info, span, trace, warn};
    pub use serde::{Deserialize, Serialize};
}
