//! Waiting for an answer or an alarm on the thread of the guest, no longer than the call may take.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

thread_local! {
    /// The next alarm of what the thread waits for.
    static NEXT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Until a point in time. Only [`until`] wakes who waits for this.
pub(super) async fn at(due: Instant) {
    poll_fn(|_| {
        if Instant::now() >= due {
            return Poll::Ready(());
        }
        NEXT.set(Some(NEXT.get().map_or(due, |next| next.min(due))));
        Poll::Pending
    })
    .await;
}

/// The outcome of a future; nothing when it is not there at the deadline. The thread sleeps meanwhile, and it may be any
/// thread: what is waited for is driven by another one, or is an alarm.
pub(super) fn until<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Alarm(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        NEXT.set(None);
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return Some(outcome);
        }
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let alarm = NEXT.get().map(|next| next.saturating_duration_since(Instant::now()));
        thread::park_timeout(alarm.map_or(left, |alarm| alarm.min(left)));
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
    fn alarms_come_in_their_order_and_not_before_their_time() {
        let (now, far) = (Instant::now(), Instant::now() + Duration::from_secs(600));
        let alarms = [40, 20, 60].map(|milliseconds| now + Duration::from_millis(milliseconds));
        assert_eq!(until(far, at(alarms[1])), Some(()));
        assert!(Instant::now() >= alarms[1]);
        let all = async {
            // Both are asked each time, as a list of alarms is.
            let (mut first, mut last) = (pin!(at(alarms[0])), pin!(at(alarms[2])));
            poll_fn(|context| {
                let first = first.as_mut().poll(context).is_ready();
                if first || last.as_mut().poll(context).is_ready() { Poll::Ready(first) } else { Poll::Pending }
            })
            .await
        };
        assert_eq!(until(far, all), Some(true));
        assert!(Instant::now() >= alarms[0]);
        assert_eq!(until(now, at(far)), None, "no longer than the deadline");
    }

    #[test]
    fn what_is_there_is_taken_even_after_the_deadline() {
        assert_eq!(until(Instant::now(), std::future::ready(7)), Some(7));
    }
}
