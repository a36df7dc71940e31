//! The backend in SQLite files, the default: one file for the log, one for each generation, one for the journal, one for
//! the snapshots.
//!
//! ```text
//!  log:         log ─▶ sequencer ─▶ ledger         one writer, many appends a transaction
//!                   └▶ readers ─▶ reads ─▶ row     pages, streams, single events
//!  read models: read_model ─▶ storage ─▶ commit    one fenced transaction a batch
//!                                    ├▶ view       what the guest reads, cached
//!                                    ├▶ tables     the transaction of a module's SQL tables
//!                                    └▶ readers    queries
//! ```
//!
//! No thread of an async runtime is ever blocked: the log's writer has a thread of its own, everything else runs where
//! blocking is allowed.

mod answers;
mod blocking;
mod commit;
mod connection;
mod damage;
mod documents;
mod idle;
mod ids;
mod journal;
mod ledger;
mod log;
mod names;
mod parked;
mod read_model;
mod readers;
mod reads;
mod row;
mod schedules;
mod schema;
mod sequencer;
mod snapshots;
mod storage;
mod tables;
mod view;

#[cfg(test)]
mod tests;

pub use connection::OpenError;
pub use journal::Journal;
pub use log::Log;
pub use read_model::ReadModels;
pub use snapshots::Snapshots;
