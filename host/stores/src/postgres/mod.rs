//! The backend in PostgreSQL, for several hosts at once: one schema holds the log, the journal, the snapshots, the
//! modules, the registry of hosts and what is known of the read models.
//!
//! ```text
//!  database ─▶ address, connection      one pool a host, the server found by a URL
//!          └─▶ nodelay             what is sent leaves at once
//!          └─▶ migrations ─▶ schema     tables made and brought up to date under a lock
//!
//!  log:         log ─▶ sequencer ─▶ ledger ─▶ arrays    one writer a host, many appends a transaction
//!                   ├▶ reads ─▶ row                     pages, streams, single events
//!                   └▶ listener, head                   what is durable, whoever appended it
//!
//!  read models: read_model ─▶ generation                 a schema each, beside that of the log
//!                         └▶ storage ─▶ commit          one fenced transaction a batch, usually one statement
//!                                   └▶ view, filter     what guests read, remembered
//!                                   └▶ lines            connections for the threads of guests
//!                                   └▶ tables ─▶ work   the transaction of a module's SQL tables
//! ```
//!
//! Positions are given away under a lock of the log's one row, so they are dense, and visible in their order: a hole is
//! damage. The lock is held for a transaction of the writer and by nothing else, so no reader waits for anybody.

mod address;
mod arrays;
mod commit;
mod connection;
mod damage;
mod database;
mod documents;
mod filter;
mod generation;
mod head;
mod hosts;
mod journal;
mod keys;
mod ledger;
mod lines;
mod listener;
mod log;
mod migrations;
mod nodelay;
mod parked;
mod read_model;
mod reads;
mod row;
mod schedules;
mod schema;
mod sequencer;
mod shelf;
mod snapshots;
mod storage;
mod tables;
mod values;
mod view;
mod words;
mod work;

#[cfg(test)]
mod tests;

pub use connection::OpenError;
pub use database::Database;
pub use hosts::Hosts;
pub use journal::Journal;
pub use log::Log;
pub use nodelay::send_at_once;
pub use read_model::ReadModels;
pub use shelf::Shelf;
pub use snapshots::Snapshots;
