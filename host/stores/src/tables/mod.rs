//! SQL tables of modules in SQLite: which statements may run, how they are ended, and what they answer. Both backends that
//! keep them in SQLite stand on this, the one with files and the one in memory.
//!
//! ```text
//!  words    what can be told from the text of a statement, for errors people understand
//!  guard    what a connection allows while a statement of somebody else's runs on it
//!  run      one statement: prepared, bound, run within its budget, answered
//!  work     one transaction: migrations, marks, and what remains of them
//!  digest   the tables' part of the digest of a read model
//! ```

mod digest;
mod guard;
mod run;
mod words;
mod work;

#[cfg(test)]
mod tests;

pub(crate) use digest::add;
pub(crate) use guard::Guard;
use guard::Mode;
pub(crate) use run::query;
pub(crate) use work::{Known, Work};

/// How the names of the host's own tables begin. No table of a module's has such a name.
const OURS: &str = "lantern_";

/// The view of all documents, which operators may read.
const DOCUMENTS: &str = "lantern_documents";
