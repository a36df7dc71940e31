//! The threads on which guests run: never tokio's workers, so that a busy guest delays nobody.
//!
//! Threads are started when there is work and end when there is none, so idle projections hold none. The operating
//! system shares the processors between busy guests; the deadline of each call ends those that never stop.

use tokio::runtime::{Builder, Runtime};

/// How many guests may run at once; more wait for their turn.
const MOST_THREADS: usize = 512;

/// The threads on which guests run.
pub struct GuestThreads {
    // A runtime of its own for its pool of blocking threads only; `None` after the drop has taken it.
    runtime: Option<Runtime>,
}

/// A guest's work panicked; what it held is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host panicked while a guest ran")]
pub struct Panicked;

impl GuestThreads {
    /// Makes ready; no thread is started yet.
    pub fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().max_blocking_threads(MOST_THREADS).thread_name("guest").build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs work on a guest thread and waits for it without blocking.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
        let Some(runtime) = &self.runtime else { return Err(Panicked) };
        runtime.spawn_blocking(work).await.map_err(|_| Panicked)
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // The usual drop of a runtime waits for its threads, which is not allowed on a tokio worker.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
