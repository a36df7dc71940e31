//! Logs, read models, journals and snapshots: one set in memory, one in SQLite files, one in PostgreSQL, and the contract
//! that all keep.
//!
//! Every backend is a folder with the same file names: `log`, `read_model`, `journal` and `snapshots` implement the
//! port of that name in `lantern-core`. What follows from the promises of the ports and not from a backend stands beside
//! the folders: `contract` (a feature) proves the promises, `decide` says what becomes of an append, `waiting` how many one
//! transaction takes, `page` how much one read returns, `scan` which keys a scan covers; `cache` remembers documents for
//! guests, and `tables` keeps the SQL tables of modules in SQLite, for memory and SQLite. A backend knows no other.

#![warn(missing_docs)]

mod cache;
mod decide;
mod page;
mod scan;
mod tables;
mod waiting;

#[cfg(any(test, feature = "contract"))]
pub mod contract;
#[cfg(test)]
mod model;

pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;
