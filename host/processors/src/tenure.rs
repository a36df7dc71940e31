//! The right of this host to run a processor, as the run sees it: a lease with its end by this host's own clock.
//!
//! The end is counted from before the lease was asked for, so that it comes here no later than in the store. A host that
//! was stopped for a while, or hears nothing from the store, knows by itself that its time is over.

use tokio::{
    sync::watch,
    time::{self, Instant},
};

/// The lease of a processor, kept by the steward.
pub(crate) struct Term(watch::Sender<State>);

/// The lease of a processor, watched by its runs.
#[derive(Clone)]
pub(crate) struct Tenure(watch::Receiver<State>);

#[derive(Clone, Copy)]
struct State {
    until: Instant,
    /// Whether the host is to give it back.
    is_to_end: bool,
}

impl Term {
    /// A lease that lasts until a time.
    pub(crate) fn new(until: Instant) -> (Self, Tenure) {
        let (term, tenure) = watch::channel(State { until, is_to_end: false });
        (Self(term), Tenure(tenure))
    }

    /// Prolongs it. One that was over for a moment stays over: its runs may have ended already.
    pub(crate) fn extend(&self, until: Instant) {
        self.0.send_if_modified(|state| {
            if Instant::now() < state.until {
                state.until = until;
            } else {
                state.is_to_end = true;
            }
            true
        });
    }

    /// Has its runs end in good order.
    pub(crate) fn end(&self) {
        self.0.send_if_modified(|state| !std::mem::replace(&mut state.is_to_end, true));
    }

    /// Somebody else has it.
    pub(crate) fn lose(&self) {
        self.0.send_modify(|state| state.until = Instant::now());
    }

    /// Whether it is to be kept.
    pub(crate) fn is_kept(&self) -> bool {
        let state = *self.0.borrow();
        !state.is_to_end && Instant::now() < state.until
    }
}

impl Tenure {
    /// Whether this host may still write.
    pub(crate) fn holds(&self) -> bool {
        Instant::now() < self.0.borrow().until
    }

    /// Waits until its runs have to end.
    pub(crate) async fn ended(&mut self) {
        loop {
            let State { until, is_to_end } = *self.0.borrow_and_update();
            if is_to_end || Instant::now() >= until {
                return;
            }
            tokio::select! {
                () = time::sleep_until(until) => {}
                changed = self.0.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_ends_by_itself() {
        let (term, mut tenure) = Term::new(Instant::now() + Duration::from_secs(5));
        time::advance(Duration::from_secs(4)).await;
        term.extend(Instant::now() + Duration::from_secs(5));
        time::advance(Duration::from_secs(4)).await;
        assert!(tenure.holds());
        time::advance(Duration::from_secs(1)).await;
        assert!(!tenure.holds());
        tenure.ended().await;
        term.extend(Instant::now() + Duration::from_secs(5));
        assert!(!tenure.holds() && !term.is_kept(), "what is over stays over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_to_give_back_holds_until_its_runs_have_ended() {
        let (term, mut tenure) = Term::new(Instant::now() + Duration::from_secs(5));
        term.end();
        tenure.ended().await;
        assert!(tenure.holds() && !term.is_kept());
        term.lose();
        assert!(!tenure.holds());
    }
}
