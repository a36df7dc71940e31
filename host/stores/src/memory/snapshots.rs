//! The snapshots of aggregates in memory: a map by stream.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lantern_core::{Snapshot, StreamName, snapshot::SnapshotError};

/// The snapshots of a host, in memory.
#[derive(Default)]
pub struct Snapshots {
    snapshots: Mutex<HashMap<StreamName, Snapshot>>,
}

impl Snapshots {
    /// No snapshots yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn snapshots(&self) -> MutexGuard<'_, HashMap<StreamName, Snapshot>> {
        // A map of values is whole at every moment.
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl lantern_core::Snapshots for Snapshots {
    async fn get(&self, stream: &StreamName) -> Result<Option<Snapshot>, SnapshotError> {
        Ok(self.snapshots().get(stream).cloned())
    }

    async fn put(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let mut snapshots = self.snapshots();
        if snapshots.get(&snapshot.stream).is_none_or(|there| there.version <= snapshot.version) {
            snapshots.insert(snapshot.stream.clone(), snapshot);
        }
        Ok(())
    }

    async fn delete(&self, stream: &StreamName) -> Result<bool, SnapshotError> {
        Ok(self.snapshots().remove(stream).is_some())
    }

    async fn delete_category(&self, category: &str) -> Result<u64, SnapshotError> {
        let mut snapshots = self.snapshots();
        let before = snapshots.len();
        snapshots.retain(|stream, _| stream.category() != category);
        Ok((before - snapshots.len()) as u64)
    }
}
