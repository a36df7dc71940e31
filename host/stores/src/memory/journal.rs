//! The journal in memory: a list of entries.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lantern_core::{Clock, Entry, Happening, Subject, SystemClock, journal::JournalError};

/// A journal in memory. Its entries carry the machine's time.
#[derive(Default)]
pub struct Journal {
    entries: Mutex<Vec<Entry>>,
}

impl Journal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn list(&self) -> MutexGuard<'_, Vec<Entry>> {
        // A list is whole before and after a push.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl lantern_core::Journal for Journal {
    async fn append(&self, subject: &Subject, happening: Happening) -> Result<Entry, JournalError> {
        let mut entries = self.list();
        let sequence = entries.len() as u64 + 1;
        let entry = Entry { sequence, at: SystemClock.now(), subject: subject.clone(), happening };
        entries.push(entry.clone());
        Ok(entry)
    }

    async fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        Ok(self.list().clone())
    }
}
