//! The archive: writes snapshots in the background, one after the other, and forgets them.

use std::sync::Arc;

use lantern_core::{Snapshot, Snapshots, snapshot::SnapshotError};
use tokio::sync::{mpsc, oneshot};

use crate::aggregate::Category;

/// A queue of snapshots that are to be written. Never a reason for a command to wait.
pub(crate) struct Archive {
    queue: mpsc::Sender<Task>,
}

enum Task {
    Keep { snapshot: Snapshot, category: Arc<Category> },
    Forget { category: String, reply: oneshot::Sender<Result<u64, SnapshotError>> },
    Tell(oneshot::Sender<()>),
}

/// Room for one snapshot in the queue.
pub(crate) struct Room<'a>(mpsc::Permit<'a, Task>);

impl Room<'_> {
    /// Has a snapshot written.
    pub(crate) fn keep(self, snapshot: Snapshot, category: Arc<Category>) {
        self.0.send(Task::Keep { snapshot, category });
    }
}

impl Archive {
    /// Starts the writer. It ends when it has written everything and the archive is gone.
    pub(crate) fn start(snapshots: Arc<dyn Snapshots>, most: usize) -> Self {
        let (queue, tasks) = mpsc::channel(most.max(1));
        tokio::spawn(write(snapshots, tasks));
        Self { queue }
    }

    /// Room for a snapshot, if there is any.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        self.queue.try_reserve().ok().map(Room)
    }

    /// Forgets the snapshots of a category, those that still wait to be written included.
    pub(crate) async fn forget(&self, category: &str) -> Result<u64, SnapshotError> {
        let (reply, answer) = oneshot::channel();
        let ended = || SnapshotError("their writer has ended".into());
        self.queue.send(Task::Forget { category: category.into(), reply }).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Waits until everything that was to be written is written.
    pub(crate) async fn written(&self) {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Task::Tell(reply)).await.is_ok() {
            // Without an answer the writer is gone, and there is nothing to wait for.
            let _ = answer.await;
        }
    }
}

async fn write(snapshots: Arc<dyn Snapshots>, mut tasks: mpsc::Receiver<Task>) {
    while let Some(task) = tasks.recv().await {
        match task {
            Task::Keep { snapshot, category } => keep(&*snapshots, snapshot, &category).await,
            Task::Forget { category, reply } => drop(reply.send(snapshots.delete_category(&category).await)),
            Task::Tell(reply) => drop(reply.send(())),
        }
    }
}

async fn keep(snapshots: &dyn Snapshots, snapshot: Snapshot, category: &Category) {
    // Whoever is deployed under the name next must not find it.
    if category.is_removed() {
        return;
    }
    let stream = snapshot.stream.clone();
    match snapshots.put(snapshot).await {
        Ok(()) => category.tallies.written.one(),
        Err(error) => {
            category.tallies.unwritten.one();
            tracing::warn!(%stream, "a snapshot could not be written: {error}");
        }
    }
}
