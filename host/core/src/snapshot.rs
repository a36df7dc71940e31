//! The port of snapshots: the state of an aggregate at a version, kept so that the events before need not be read again.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Digest, StreamName, Timestamp, Version};

/// The state of an aggregate at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The aggregate's stream.
    pub stream: StreamName,
    /// The last event folded into the state.
    pub version: Version,
    /// The state, as the module wrote it.
    pub state: Bytes,
    /// The version of the state's form, as the module declared it.
    pub state_version: u32,
    /// The module that wrote it.
    pub module: Digest,
    /// When it was taken.
    pub taken_at: Timestamp,
}

/// The storage of snapshots failed. Never a reason for a command to fail: the events are the truth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the snapshots could not be reached: {0}")]
pub struct SnapshotError(pub String);

/// The snapshots of all aggregates, at most one a stream.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// The snapshot of a stream.
    async fn get(&self, stream: &StreamName) -> Result<Option<Snapshot>, SnapshotError>;

    /// Keeps a snapshot. One of a later version of the stream that is there already stays.
    async fn put(&self, snapshot: Snapshot) -> Result<(), SnapshotError>;

    /// Forgets the snapshot of a stream and says whether there was one.
    async fn delete(&self, stream: &StreamName) -> Result<bool, SnapshotError>;

    /// Forgets the snapshots of a category and says how many there were.
    async fn delete_category(&self, category: &str) -> Result<u64, SnapshotError>;
}
