//! The words of Lantern and its ports: what an event is, what a log promises, what a module returns.
//!
//! Everything else in the workspace stands on this crate. It does no I/O and knows no engine, no database and no
//! telemetry library. Each port lives in the file of its noun: [`log`], [`read_model`], [`module`], [`journal`].

#![warn(missing_docs)]

pub mod batch;
pub mod clock;
pub mod digest;
pub mod documents;
pub mod effects;
pub mod event;
pub mod fate;
pub mod filter;
pub mod journal;
pub mod log;
pub mod metadata;
pub mod module;
pub mod name;
pub mod parked;
pub mod position;
pub mod read_model;
pub mod state;
pub mod stream;
pub mod timestamp;
pub mod trace;
pub mod witness;

pub use batch::{Batch, BatchView};
pub use clock::{Clock, SystemClock};
pub use digest::Digest;
pub use documents::{Document, Documents, Value};
pub use effects::{Effects, Write};
pub use event::{Event, EventId, EventType, NewEvent, Payload};
pub use fate::Fate;
pub use filter::Filter;
pub use journal::{Entry, Happening, Journal};
pub use log::{Append, Appended, Expected, Log, Page};
pub use metadata::Metadata;
pub use module::{Call, Cause, Instance, Library, Module, Outcome};
pub use name::ProjectionName;
pub use parked::Parked;
pub use position::{Position, Version};
pub use read_model::{Checkpoint, Generation, Lease, ReadModel, ReadModels, View};
pub use state::State;
pub use stream::StreamName;
pub use timestamp::Timestamp;
pub use trace::TraceContext;
pub use witness::Witness;
