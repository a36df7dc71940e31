//! The crew: the few threads on which all loaded aggregates work.
//!
//! A thread takes one piece of work after the other, so that under load a hop to it costs no more than a place in a
//! queue. There is one for every two processors: the log's writer and the host itself need the others. When none of
//! them comes free for a while, because guests are busy or never stop, another one joins: a busy guest delays nobody for
//! long. Threads without work end.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use lantern_core::{GuestThreads, guest_threads::Panicked};
use tokio::sync::oneshot;

/// How long a thread waits for work before it ends.
const LINGER: Duration = Duration::from_secs(1);

/// How long work waits, at most twice this, before another thread joins.
const PATIENCE: Duration = Duration::from_millis(5);

/// How many threads there are at most.
const MOST_WORKERS: usize = 256;

type Work = Box<dyn FnOnce() + Send>;

/// The threads on which loaded aggregates work.
pub(crate) struct Crew {
    threads: Arc<GuestThreads>,
    queue: Arc<Queue>,
}

/// The work that waits. Bounded by the number of commands the host takes at once.
struct Queue {
    usual: usize,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    workers: usize,
    idle: usize,
    /// How many pieces of work were ever taken: while it stands still, no worker comes free.
    taken: u64,
    is_watched: bool,
    is_closed: bool,
}

impl Crew {
    pub(crate) fn new(threads: Arc<GuestThreads>) -> Self {
        let usual = available_parallelism().map_or(1, NonZeroUsize::get).div_ceil(2);
        let queue = Queue { usual, state: Mutex::default(), wake: Condvar::new() };
        Self { threads, queue: Arc::new(queue) }
    }

    /// Has work done and waits for it without blocking. When nobody waits for it any more, its result is dropped where
    /// it was made.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (reply, answer) = oneshot::channel();
        self.give(Box::new(move || drop(reply.send(work()))));
        answer.await.map_err(|_| Panicked)
    }

    /// Drops something a guest holds, where blocking is allowed.
    pub(crate) fn dismiss<T: Send + 'static>(&self, gone: T) {
        self.give(Box::new(move || drop(gone)));
    }

    fn give(&self, work: Work) {
        let mut state = self.queue.state();
        state.waiting.push_back(work);
        if state.idle > 0 {
            drop(state);
            self.queue.wake.notify_one();
            return;
        }
        if state.workers >= self.queue.usual {
            return;
        }
        state.workers += 1;
        let is_watched = std::mem::replace(&mut state.is_watched, true);
        drop(state);
        join(&self.threads, &self.queue);
        if !is_watched {
            tokio::spawn(watch(self.threads.clone(), self.queue.clone()));
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.queue.state().is_closed = true;
        self.queue.wake.notify_all();
    }
}

/// Starts a thread that has been counted already.
fn join(threads: &Arc<GuestThreads>, queue: &Arc<Queue>) {
    let (threads, queue) = (threads.clone(), queue.clone());
    tokio::spawn(async move { threads.run(move || queue.work()).await });
}

/// Has another thread join whenever work waits and no worker comes free. Ends with the last worker.
async fn watch(threads: Arc<GuestThreads>, queue: Arc<Queue>) {
    let mut seen = 0;
    loop {
        tokio::time::sleep(PATIENCE).await;
        let mut state = queue.state();
        if state.workers == 0 {
            state.is_watched = false;
            return;
        }
        let stands_still = std::mem::replace(&mut seen, state.taken) == state.taken;
        if stands_still && !state.waiting.is_empty() && state.workers < MOST_WORKERS {
            state.workers += 1;
            drop(state);
            join(&threads, &queue);
        }
    }
}

impl Queue {
    fn work(&self) {
        while let Some(work) = self.next() {
            // The work owns what it changes, and whoever waits for it learns that it is lost.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("the host panicked while an aggregate worked");
            }
        }
    }

    /// The next piece of work; none when this worker is not needed any more.
    fn next(&self) -> Option<Work> {
        let mut state = self.state();
        let mut rested = false;
        loop {
            if let Some(work) = state.waiting.pop_front() {
                state.taken += 1;
                return Some(work);
            }
            if rested || state.is_closed || state.workers > self.usual {
                state.workers -= 1;
                return None;
            }
            state.idle += 1;
            let (woken, timeout) = self.wake.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            rested = timeout.timed_out();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while the state is half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn crew() -> Crew {
        Crew::new(Arc::new(GuestThreads::new().unwrap()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_is_done_and_answered() {
        let crew = Arc::new(crew());
        let mut all = tokio::task::JoinSet::new();
        for number in 0..1_000_u64 {
            let crew = crew.clone();
            all.spawn(async move { crew.run(move || number).await.unwrap() });
        }
        assert_eq!(all.join_all().await.into_iter().sum::<u64>(), 499_500);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_told_and_the_others_go_on() {
        let crew = crew();
        assert_eq!(crew.run(|| panic!("on purpose")).await, Err::<(), _>(Panicked));
        assert_eq!(crew.run(|| 7).await, Ok(7));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn busy_work_delays_nobody_for_long() {
        let crew = Arc::new(crew());
        let mut busy = tokio::task::JoinSet::new();
        let mut ends = Vec::new();
        for _ in 0..crew.queue.usual * 4 {
            let (end, ended) = mpsc::channel::<()>();
            ends.push(end);
            let crew = crew.clone();
            busy.spawn(async move { crew.run(move || ended.recv().is_err()).await });
        }
        // The others end only after this one has been answered.
        assert_eq!(crew.run(|| 7).await, Ok(7));
        drop(ends);
        assert!(busy.join_all().await.iter().all(|released| *released == Ok(true)));
    }
}
