//! The words of Lantern and its ports: what an event is, what a log promises, what a module returns.
//!
//! Everything else in the workspace stands on this crate. It does no I/O and knows no engine, no database and no
//! telemetry library. Each port lives in the file of its noun: [`log`], [`read_model`], [`snapshot`],
//! [`sql`], [`module`], [`aggregate`], [`upcasting`], [`journal`], [`bus`], [`hosts`].

#![warn(missing_docs)]

pub mod aggregate;
pub mod batch;
pub mod bus;
pub mod clock;
pub mod digest;
pub mod documents;
pub mod effect_id;
pub mod effects;
pub mod event;
pub mod fate;
pub mod filter;
pub mod grants;
pub mod guest_threads;
pub mod hosts;
pub mod journal;
pub mod kind;
pub mod log;
pub mod metadata;
pub mod module;
pub mod name;
pub mod parked;
pub mod position;
pub mod read_model;
pub mod schedule;
pub mod snapshot;
pub mod sql;
pub mod standing;
pub mod state;
pub mod stream;
pub mod timestamp;
pub mod trace;
pub mod upcasting;
pub mod witness;

pub use aggregate::{AggregateInstance, AggregateModule, Command, Decision, Rejection};
pub use batch::{Batch, BatchView};
pub use bus::{Bus, BusError, Consumer, Delivery, Destination, Message, Subscription};
pub use clock::{Clock, SystemClock};
pub use digest::Digest;
pub use documents::{Document, Documents, Value};
pub use effect_id::{Effect, command_event_id, effect_id};
pub use effects::{Draft, Effects, Emission, Publication, Published, Timer, Write};
pub use event::{Event, EventId, EventType, NewEvent, Payload};
pub use fate::Fate;
pub use filter::Filter;
pub use grants::Grants;
pub use guest_threads::GuestThreads;
pub use hosts::{Hosts, Identity};
pub use journal::{Entry, Happening, Journal, Subject};
pub use kind::Kind;
pub use log::{Append, Appended, Expected, Incarnation, Log, Page};
pub use metadata::Metadata;
pub use module::{Call, Cause, Instance, Library, Module, Outcome, Shelf};
pub use name::Name;
pub use parked::Parked;
pub use position::{Position, Version};
pub use read_model::{Checkpoint, Generation, Lease, ReadModel, ReadModelError, ReadModels, View};
pub use schedule::{ScheduleChange, Scheduled};
pub use snapshot::{Snapshot, Snapshots};
pub use sql::{Migration, SqlError, SqlValue, Tables, TablesError};
pub use state::State;
pub use stream::StreamName;
pub use timestamp::Timestamp;
pub use trace::TraceContext;
pub use upcasting::Upcasting;
pub use witness::Witness;
