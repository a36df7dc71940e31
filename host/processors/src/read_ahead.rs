//! Reading ahead: pages are taken from the log while earlier ones are handled.

use std::{sync::Arc, time::Duration};

use lantern_core::{Filter, Log, Page, Position, log::LogError};
use tokio::{sync::mpsc, task::JoinHandle, time};

/// How many events one page holds at most: large enough that a commit's cost is shared by many.
pub(crate) const PAGE: usize = 4_000;

/// How many pages are read ahead.
const AHEAD: usize = 2;

/// How often the log is read although nothing said that it has grown: the net under a lost wake-up.
const POLL: Duration = Duration::from_secs(5);

/// A page, and whether it reached the head of the log.
pub(crate) struct Read {
    pub(crate) page: Page,
    pub(crate) at_head: bool,
}

/// Reads pages ahead of their use, following the head. Dropping it stops the reading.
pub(crate) struct ReadAhead {
    pages: mpsc::Receiver<Result<Read, LogError>>,
    task: JoinHandle<()>,
}

impl ReadAhead {
    /// Starts reading after a position.
    pub(crate) fn start(log: Arc<dyn Log>, after: Position, filter: Filter) -> Self {
        let (sender, pages) = mpsc::channel(AHEAD);
        Self { pages, task: tokio::spawn(read(log, after, filter, sender)) }
    }

    /// The next page. Empty when no event of a stretch fits, and once when the head is reached. `None` after an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Read, LogError>> {
        self.pages.recv().await
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(log: Arc<dyn Log>, mut after: Position, filter: Filter, pages: mpsc::Sender<Result<Read, LogError>>) {
    let mut head = log.head();
    let mut told = false;
    loop {
        // The head is noted before the read: what is appended meanwhile wakes the wait below.
        let known = *head.borrow_and_update();
        match log.read(after, &filter, PAGE).await {
            Ok(page) if page.end == after && told => {
                if let Ok(Err(_)) = time::timeout(POLL, head.changed()).await {
                    return;
                }
            }
            Ok(page) => {
                after = page.end;
                told = page.end >= known;
                if pages.send(Ok(Read { page, at_head: told })).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // When nobody listens any more there is nobody to tell.
                let _ = pages.send(Err(error)).await;
                return;
            }
        }
    }
}
