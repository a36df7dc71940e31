//! What the tests stand on: built artefacts, a running host, its clients, events to append and a trace collector.

mod aggregates;
pub mod artefacts;
pub mod buses;
pub mod cli;
pub mod client;
pub mod collector;
pub mod events;
pub mod guests;
pub mod host;
pub mod ledger;
pub mod metrics;
pub mod orders;
pub mod output;
pub mod processors;
mod projections;
pub mod python;
pub mod servers;
pub mod sites;
pub mod wait;

pub use client::Answer;
pub use host::{Host, HostOptions};
