//! The journal in memory: a list of entries.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lantern_core::{Clock, Entry, Happening, Subject, SystemClock, journal::JournalError};
use tokio::sync::watch;

/// A journal in memory. Its entries carry the machine's time.
#[derive(Default)]
pub struct Journal {
    entries: Mutex<Vec<Entry>>,
    end: watch::Sender<u64>,
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

    fn push(&self, entries: &mut Vec<Entry>, subject: &Subject, happening: Happening) -> Entry {
        let sequence = entries.len() as u64 + 1;
        let entry = Entry { sequence, at: SystemClock.now(), subject: subject.clone(), happening };
        entries.push(entry.clone());
        self.end.send_replace(sequence);
        entry
    }
}

#[async_trait]
impl lantern_core::Journal for Journal {
    async fn append(&self, subject: &Subject, happening: Happening) -> Result<Entry, JournalError> {
        Ok(self.push(&mut self.list(), subject, happening))
    }

    async fn append_after(
        &self,
        last: u64,
        subject: &Subject,
        happening: Happening,
    ) -> Result<Option<Entry>, JournalError> {
        let mut entries = self.list();
        let is_last = entries.len() as u64 == last;
        Ok(is_last.then(|| self.push(&mut entries, subject, happening)))
    }

    async fn entries_after(&self, after: u64) -> Result<Vec<Entry>, JournalError> {
        let entries = self.list();
        let first = usize::try_from(after).unwrap_or(usize::MAX).min(entries.len());
        Ok(entries[first..].to_vec())
    }

    fn end(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }
}
