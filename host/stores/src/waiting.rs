//! Appends that wait for the one who writes a log, and how many of them one transaction takes.

use lantern_core::{Append, Appended, log::AppendError};
use tokio::sync::oneshot;

/// How many appends may wait.
pub(crate) const MOST: usize = 1024;

/// A transaction takes no further append once it has this many events or bytes.
const FULL_EVENTS: usize = 4096;
const FULL_BYTES: usize = 8 * 1024 * 1024;

/// What becomes of an append.
pub(crate) type Answer = Result<Vec<Appended>, AppendError>;

/// An append and who waits for it.
pub(crate) struct Request<A = Answer> {
    pub(crate) appends: Vec<Append>,
    pub(crate) answer: oneshot::Sender<A>,
}

/// How much a transaction carries.
#[derive(Default)]
pub(crate) struct Size {
    events: usize,
    bytes: usize,
}

impl Size {
    pub(crate) fn add<A>(&mut self, request: &Request<A>) {
        for append in &request.appends {
            self.events += append.events.len();
            self.bytes += append.events.iter().map(|event| event.data.as_bytes().len()).sum::<usize>();
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.events < FULL_EVENTS && self.bytes < FULL_BYTES
    }
}
