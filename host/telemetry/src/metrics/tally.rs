//! What one instance counts between two hand-overs, so that the hot path touches no shared counter.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use lantern_core::{EventType, module::FailureKind};

use super::histogram::Durations;

/// The most event types one tally holds; further ones are counted together.
const MAX_TYPES: usize = 1000;

/// What one instance counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Calls that ended well and calls that failed, by event type.
    pub(crate) calls: HashMap<EventType, Calls, RandomState>,
    /// Calls of event types beyond [`MAX_TYPES`].
    pub(crate) others: Calls,
    /// Failed calls by kind.
    pub(crate) failures: Vec<(FailureKind, u64)>,
    /// How long the calls took.
    pub(crate) durations: Durations,
    /// Guests' spans over the limit of a call.
    pub(crate) dropped_spans: u64,
    /// Guests' log lines over a limit.
    pub(crate) dropped_logs: u64,
    /// Whether there is anything to hand over.
    pub(crate) counted: bool,
}

/// Calls by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Counts a call.
    pub(crate) fn call(&mut self, event_type: &EventType, failure: Option<FailureKind>, duration: Duration) {
        self.counted = true;
        self.durations.add(duration);
        let full = self.calls.len() >= MAX_TYPES;
        let calls = match self.calls.get_mut(event_type) {
            Some(calls) => calls,
            None if full => &mut self.others,
            None => self.calls.entry(event_type.clone()).or_default(),
        };
        let Some(kind) = failure else {
            calls.succeeded += 1;
            return;
        };
        calls.failed += 1;
        match self.failures.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.failures.push((kind, 1)),
        }
    }

    /// Counts a decision of an aggregate.
    pub(crate) fn decision(&mut self, duration: Duration) {
        self.counted = true;
        self.durations.add(duration);
    }

    /// Counts what a guest said too much.
    pub(crate) fn dropped(&mut self, spans: u64, logs: u64) {
        self.counted |= spans + logs > 0;
        self.dropped_spans += spans;
        self.dropped_logs += logs;
    }
}
