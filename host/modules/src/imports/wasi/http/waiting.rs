//! Waiting for an answer on the thread of the guest, no longer than the call may take.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

/// The outcome of a future; nothing when it is not there at the deadline. The thread sleeps meanwhile, and it may be any
/// thread: what is waited for is driven by another one.
pub(crate) fn until<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Alarm(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return Some(outcome);
        }
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        thread::park_timeout(left);
    }
}

struct Alarm(Thread);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn what_another_thread_gives_is_waited_for() {
        let (give, take) = oneshot::channel();
        let giver = thread::spawn(move || give.send(7));
        let far = Instant::now() + Duration::from_secs(600);
        assert_eq!(until(far, take), Some(Ok(7)));
        giver.join().unwrap().unwrap();
    }

    #[test]
    fn nothing_is_waited_for_beyond_the_deadline() {
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(until(soon, std::future::pending::<()>()), None);
        assert!(Instant::now() >= soon);
    }

    #[test]
    fn what_is_there_is_taken_even_after_the_deadline() {
        assert_eq!(until(Instant::now(), std::future::ready(7)), Some(7));
    }
}
