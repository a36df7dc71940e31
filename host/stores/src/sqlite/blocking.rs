//! Runs work on threads where blocking is allowed, so that no thread of the async runtime waits for a disk.

use std::sync::Arc;

use tokio::{sync::Semaphore, task};

/// Runs work with a permit that is held until it is done, also when nobody waits for the answer any more. The error says
/// why it could not run.
pub(super) async fn blocking<T: Send + 'static>(
    permits: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let permit = permits.acquire_owned().await.map_err(|error| error.to_string())?;
    let work = move || {
        let _permit = permit;
        work()
    };
    task::spawn_blocking(work).await.map_err(|error| error.to_string())
}
