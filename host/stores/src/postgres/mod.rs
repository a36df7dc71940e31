//! The backend in PostgreSQL, for several hosts at once: one schema holds the log, the journal, the snapshots and what is
//! known of the read models.
//!
//! ```text
//!  database ─▶ address, connection      one pool a host, the server found by a URL
//!          └─▶ migrations ─▶ schema     tables made and brought up to date under a lock
//! ```

mod address;
mod connection;
mod database;
mod migrations;
mod schema;

#[cfg(test)]
mod tests;

pub use connection::OpenError;
pub use database::Database;
