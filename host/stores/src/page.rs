//! How much one read of a log returns: a page ends before it grows large, and before it takes long.

use lantern_core::{Event, Filter, Metadata, Position, log::Direction};

/// A page ends before it holds more than this many bytes, but never before its first event.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A filtered read looks at no more than this many events and then ends its page, maybe an empty one, so that a
/// filter that fits little does not hold a reader for the length of the log.
pub(crate) const STRETCH: u64 = 50_000;

/// The positions `low..=high`, in one direction: what a page may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) direction: Direction,
}

impl Stretch {
    /// The positions after `after`, up to the head; not too many for a filtered read.
    pub(crate) fn forward(after: Position, head: Position, filter: &Filter) -> Self {
        let low = after.0.saturating_add(1);
        let most = if filter.is_all() { u64::MAX } else { STRETCH };
        Self { low, high: head.0.min(after.0.saturating_add(most)), direction: Direction::Forward }
    }

    /// The positions before `before`, from the head at most; not too many for a filtered read.
    pub(crate) fn backward(before: Position, head: Position, filter: &Filter) -> Self {
        let high = head.0.min(before.0.saturating_sub(1));
        let most = if filter.is_all() { u64::MAX } else { STRETCH };
        Self { low: high.saturating_sub(most - 1).max(1), high, direction: Direction::Backward }
    }

    /// Whether it holds no position.
    pub(crate) fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// The position that is read first.
    pub(crate) fn first(self) -> Position {
        Position(if self.direction == Direction::Forward { self.low } else { self.high })
    }

    /// The position that is read last.
    pub(crate) fn last(self) -> Position {
        Position(if self.direction == Direction::Forward { self.high } else { self.low })
    }

    /// The part of the stretch that has been read when the read has come to `end`.
    pub(crate) fn until(self, end: Position) -> Self {
        match self.direction {
            Direction::Forward => Self { high: end.0, ..self },
            Direction::Backward => Self { low: end.0, ..self },
        }
    }
}

/// How many bytes an event takes in memory, about.
pub(crate) fn weight(event: &Event) -> usize {
    let Metadata { source: _, correlation_id, causation_id, tenant, actor, trace, extra } = &event.metadata;
    let texts = [correlation_id, causation_id, tenant, actor].into_iter().flatten().map(|text| text.len());
    let state = trace.as_ref().and_then(|trace| trace.state.as_ref()).map_or(0, |state| state.len());
    let pairs = extra.iter().flat_map(|extra| extra.iter()).map(|(name, value)| name.len() + value.len() + 64);
    size_of::<Event>()
        + event.stream.as_str().len()
        + event.data.as_bytes().len()
        + state
        + texts.sum::<usize>()
        + pairs.sum::<usize>()
}
