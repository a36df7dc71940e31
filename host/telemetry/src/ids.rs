//! Random trace and span ids, never zero.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
};

thread_local! {
    // Seeded from the operating system and not from the clock, so that hosts started together do not share ids.
    static RANDOM: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::with_seed(RandomState::new().hash_one(0)));
}

/// A new span id.
pub(crate) fn span_id() -> u64 {
    RANDOM.with_borrow_mut(|random| random.u64(1..))
}

/// A new trace id.
pub(crate) fn trace_id() -> u128 {
    RANDOM.with_borrow_mut(|random| random.u128(1..))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn threads_do_not_share_ids() {
        let draw = || (0..1000).map(|_| trace_id()).collect::<Vec<_>>();
        let drawn: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let ids: HashSet<_> = drawn.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 4000);
    }
}
