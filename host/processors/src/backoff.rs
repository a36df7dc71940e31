//! How long to wait before trying again.

use std::time::Duration;

use lantern_core::journal::FailurePolicy;

/// The pause before attempt `attempt + 1`: it doubles with every attempt up to the policy's longest, and varies by a
/// tenth so that many that failed together do not come back together.
pub(crate) fn pause(policy: &FailurePolicy, attempt: u32) -> Duration {
    let doubled = policy.backoff_ms.saturating_mul(1 << attempt.saturating_sub(1).min(32));
    let bounded = doubled.min(policy.max_backoff_ms.max(policy.backoff_ms));
    Duration::from_millis(bounded).mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = FailurePolicy { backoff_ms: 100, max_backoff_ms: 1_000, ..FailurePolicy::default() };
        let near = |attempt, expected: f64| {
            let pause = pause(&policy, attempt).as_secs_f64() * 1_000.0;
            assert!((expected * 0.9..=expected * 1.1).contains(&pause), "attempt {attempt}: {pause} ms");
        };
        near(1, 100.0);
        near(2, 200.0);
        near(4, 800.0);
        near(5, 1_000.0);
        near(u32::MAX, 1_000.0);
    }
}
