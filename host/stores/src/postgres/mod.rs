//! The backend in PostgreSQL, for several hosts at once: one schema holds the log, the journal, the snapshots and what is
//! known of the read models.
//!
//! ```text
//!  database ─▶ address, connection      one pool a host, the server found by a URL
//!          └─▶ migrations ─▶ schema     tables made and brought up to date under a lock
//!
//!  read models: read_model ─▶ generation                 a schema each, beside that of the log
//!                         └▶ storage ─▶ commit          one fenced transaction a batch, usually one statement
//!                                   └▶ view, filter     what guests read, remembered
//!                                   └▶ lines            connections for the threads of guests
//!                                   └▶ tables ─▶ work   the transaction of a module's SQL tables
//! ```

mod address;
mod commit;
mod connection;
mod database;
mod documents;
mod filter;
mod generation;
mod keys;
mod lines;
mod migrations;
mod parked;
mod read_model;
mod schedules;
mod schema;
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
pub use read_model::ReadModels;
