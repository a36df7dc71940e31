//! How much one read of a log returns: a page ends before it grows large, and before it takes long.

use lantern_core::{Event, Metadata};

/// A page ends before it holds more than this many bytes, but never before its first event.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A filtered read looks at no more than this many events and then ends its page, maybe an empty one, so that a
/// filter that fits little does not hold a reader for the length of the log.
pub(crate) const STRETCH: u64 = 50_000;

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
