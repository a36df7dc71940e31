//! The heart of Lantern: the subscription loop and what serves it.
//!
//! Data goes one way: `read_ahead` takes pages from the log, `handle` turns events into effects on guest threads,
//! `run` commits them batch by batch and obeys commands between two batches, `timers` emits what handlers scheduled,
//! `supervisor` keeps one run for every generation and is the public face; `steward` decides which of them are this host's.
//! Projections and handlers take the same way, and so do the relays of `routes`, which publish; inboxes go the other way,
//! from a bus into the log. All of them are spread over the hosts alike.
//! A `feed` is a topic seen as a log, for a projection that reads a bus straight.
//! Knows no Wasm, no database and no telemetry: only the ports of core.

#![warn(missing_docs)]

mod arrivals;
mod backoff;
mod boundary;
mod caller;
mod changes;
mod command;
mod configured;
mod dead_letters;
mod dead_messages;
mod dry_run;
mod elsewhere;
mod emission;
mod fed;
mod feed;
mod generation;
mod handle;
mod held;
mod in_flight;
mod inbox;
mod messages;
mod processor;
mod progress;
mod read_ahead;
mod rebuild;
mod refusal;
mod relay;
mod roster;
mod route;
mod route_table;
mod routes;
mod run;
mod schedules;
mod session;
mod status;
mod steward;
mod supervisor;
mod tenure;
mod timers;

pub use command::Selection;
pub use configured::{Configured, Consume, Direction, Publish};
pub use dead_messages::{DeadMessage, Header};
pub use elsewhere::Place;
pub use messages::Buses;
pub use refusal::Refusal;
pub use routes::{DeadLetter, RouteStatus, Routes};
pub use status::{LastError, RebuildStatus, Retried, Status, Swapped};
pub use steward::Moves;
pub use supervisor::{Deploy, Ports, Start, Supervisor};
