//! Which partitions a consumer has: the thread of the client gives and takes them, the member settles only what it has.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lantern_core::bus::{Partition, Receipt};

/// How often whoever waits looks whether it is to wait on.
const NOW_AND_THEN: Duration = Duration::from_millis(50);

/// The partitions of a consumer.
#[derive(Debug, Default)]
pub(super) struct Shares {
    state: Mutex<State>,
    /// Told when the caller has said something about partitions.
    said: Condvar,
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<i32, Share>,
    /// The number of the last assignment.
    session: u64,
    /// How many revocations the caller was told of, and how many of them it has let go.
    revocations: (u64, u64),
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The assignment by which the consumer has it.
    session: u64,
    /// Whether the caller has yet to say where it goes on.
    waiting: bool,
    /// Whether it was revoked.
    leaving: bool,
    /// Whether records of it have come.
    flowing: bool,
    /// The offset after the last message that was settled, or where the consumer began.
    pub(super) settled: Option<i64>,
}

impl Shares {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The consumer has these partitions from now on.
    pub(super) fn assign(&self, partitions: impl IntoIterator<Item = i32>, waiting: bool) {
        let mut state = self.state();
        state.session += 1;
        let share = Share { session: state.session, waiting, leaving: false, flowing: false, settled: None };
        state.partitions.extend(partitions.into_iter().map(|partition| (partition, share)));
    }

    /// The caller has said where partitions go on.
    pub(super) fn begin(&self, places: &[(i32, Option<i64>)]) {
        let mut state = self.state();
        for (partition, at) in places {
            if let Some(share) = state.partitions.get_mut(partition).filter(|share| share.waiting) {
                (share.waiting, share.settled) = (false, *at);
            }
        }
        drop(state);
        self.said.notify_all();
    }

    /// Waits until the caller has said where partitions go on, and not when `over` says so. Answers where.
    pub(super) fn wait_for_places(&self, partitions: &[i32], over: impl Fn() -> bool) -> Vec<(i32, Option<i64>)> {
        let mut state = self.state();
        loop {
            let shares: Vec<_> = partitions.iter().filter_map(|it| Some((*it, *state.partitions.get(it)?))).collect();
            if over() || !shares.iter().any(|(_, share)| share.waiting) {
                return shares.into_iter().map(|(partition, share)| (partition, share.settled)).collect();
            }
            let waited = self.said.wait_timeout(state, NOW_AND_THEN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Records of a partition have come.
    pub(super) fn flows(&self, partition: i32) {
        if let Some(share) = self.state().partitions.get_mut(&partition) {
            share.flowing = true;
        }
    }

    /// By which assignment messages of a partition are delivered; `None` when they are not.
    pub(super) fn session(&self, partition: i32) -> Option<u64> {
        let state = self.state();
        let share = state.partitions.get(&partition).filter(|share| !share.waiting && !share.leaving);
        share.map(|share| share.session)
    }

    /// The partitions of which records have come.
    pub(super) fn flowing(&self) -> Vec<i32> {
        let state = self.state();
        state
            .partitions
            .iter()
            .filter(|(_, share)| share.flowing && !share.leaving)
            .map(|(partition, _)| *partition)
            .collect()
    }

    /// These partitions are revoked: nothing more of them is delivered. Answers the number of the revocation.
    pub(super) fn revoke(&self, partitions: &[i32]) -> u64 {
        let mut state = self.state();
        for partition in partitions {
            if let Some(share) = state.partitions.get_mut(partition) {
                share.leaving = true;
            }
        }
        state.revocations.0 += 1;
        state.revocations.0
    }

    /// The caller has let go what it was told of longest ago.
    pub(super) fn let_go(&self) {
        self.state().revocations.1 += 1;
        self.said.notify_all();
    }

    /// Waits until the caller has let go a revocation, at most so long, and not when `over` says so.
    pub(super) fn wait(&self, revocation: u64, most: Duration, over: impl Fn() -> bool) {
        let begun = Instant::now();
        let mut state = self.state();
        while state.revocations.1 < revocation && begun.elapsed() < most && !over() {
            let waited = self.said.wait_timeout(state, NOW_AND_THEN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// These partitions are somebody else's.
    pub(super) fn remove(&self, partitions: &[i32]) {
        let mut state = self.state();
        state.partitions.retain(|partition, _| !partitions.contains(partition));
    }

    /// No partition is the consumer's, and no revocation is waited for.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.partitions.clear();
        state.revocations = (0, 0);
    }

    /// The partitions whose messages are delivered.
    pub(super) fn list(&self) -> Vec<(i32, Share)> {
        let state = self.state();
        state
            .partitions
            .iter()
            .filter(|(_, share)| !share.leaving)
            .map(|(partition, share)| (*partition, *share))
            .collect()
    }

    /// Settles. `commit` gets the offsets to commit; no partition is given away before it has answered, since a commit
    /// that comes late would put the next owner back.
    pub(super) fn settle<E>(
        &self,
        receipts: &[(Receipt, i64)],
        commit: impl FnOnce(&BTreeMap<i32, i64>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.state();
        let mut through: BTreeMap<i32, i64> = BTreeMap::new();
        for (receipt, offset) in receipts {
            let Ok(partition) = i32::try_from(receipt.partition.0) else { continue };
            let own = state.partitions.get(&partition).filter(|share| share.session == receipt.session);
            if own.is_some_and(|share| share.settled.is_none_or(|settled| settled <= *offset)) {
                let next = through.entry(partition).or_default();
                *next = (*next).max(offset + 1);
            }
        }
        if through.is_empty() {
            return Ok(());
        }
        commit(&through)?;
        for (partition, offset) in through {
            if let Some(share) = state.partitions.get_mut(&partition) {
                share.settled = Some(offset);
            }
        }
        Ok(())
    }
}

/// A partition in the words of the port. The broker counts from 0.
pub(super) fn named(partition: i32) -> Partition {
    Partition(u32::try_from(partition).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use lantern_core::bus::Offset;

    use super::*;

    fn receipt(partition: u32, offset: i64, session: u64) -> (Receipt, i64) {
        let place = Offset::Number(offset.unsigned_abs());
        (Receipt { partition: Partition(partition), offset: place, session }, offset)
    }

    fn settled(shares: &Shares, receipts: &[(Receipt, i64)]) -> BTreeMap<i32, i64> {
        let mut committed = BTreeMap::new();
        let settled: Result<(), ()> = shares.settle(receipts, |offsets| {
            committed.clone_from(offsets);
            Ok(())
        });
        settled.unwrap();
        committed
    }

    #[test]
    fn only_what_the_consumer_has_is_settled() {
        let shares = Shares::default();
        shares.assign([0, 1], false);
        assert_eq!(settled(&shares, &[receipt(0, 4, 1), receipt(0, 3, 1), receipt(2, 9, 1)]), BTreeMap::from([(0, 5)]));
        assert_eq!(settled(&shares, &[receipt(0, 3, 1)]), BTreeMap::new(), "it goes forward only");
        shares.revoke(&[1]);
        assert_eq!(shares.session(1), None, "nothing more is delivered");
        assert_eq!(settled(&shares, &[receipt(1, 7, 1)]), BTreeMap::from([(1, 8)]), "what was delivered is settled");
        shares.remove(&[1]);
        assert_eq!(settled(&shares, &[receipt(1, 8, 1)]), BTreeMap::new());
        shares.assign([1], false);
        assert_eq!(settled(&shares, &[receipt(1, 8, 1)]), BTreeMap::new(), "it was settled in an earlier session");
        assert_eq!(shares.session(1), Some(2));
    }

    #[test]
    fn nothing_is_delivered_before_the_caller_said_where() {
        let shares = Shares::default();
        shares.assign([0, 1], true);
        assert_eq!(shares.session(0), None);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| shares.wait_for_places(&[0, 1], || false));
            shares.begin(&[(0, Some(5)), (7, None)]);
            shares.begin(&[(1, None)]);
            assert_eq!(waiting.join().unwrap(), [(0, Some(5)), (1, None)]);
        });
        assert_eq!(shares.session(0), Some(1));
    }

    #[test]
    fn a_revocation_is_waited_for() {
        let shares = Shares::default();
        shares.assign([0], false);
        let revocation = shares.revoke(&[0]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| shares.wait(revocation, Duration::from_secs(60), || false));
            shares.let_go();
            waiting.join().unwrap();
        });
        shares.wait(revocation + 1, Duration::from_secs(60), || true);
    }
}
