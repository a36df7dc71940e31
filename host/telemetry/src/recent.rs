//! The recent spans in memory, so that a host without a collector can show a trace.

use std::{collections::VecDeque, sync::Arc};

use crate::{record::Block, view::SpanView};

/// A ring of blocks: the oldest leave when there is too much. There is no index, since keeping one for every span
/// would cost more than the rare search.
#[derive(Debug)]
pub(crate) struct Recent {
    blocks: VecDeque<Arc<Block>>,
    weight: usize,
    limit: usize,
}

impl Recent {
    /// A ring of so many spans; 0 keeps none.
    pub(crate) fn new(limit: usize) -> Self {
        Self { blocks: VecDeque::new(), weight: 0, limit }
    }

    /// Adds a block.
    pub(crate) fn push(&mut self, block: Arc<Block>) {
        self.weight += block.weight();
        self.blocks.push_back(block);
        while self.weight > self.limit {
            let Some(oldest) = self.blocks.pop_front() else { return };
            self.weight -= oldest.weight();
        }
    }

    /// The blocks, oldest first, to be searched without holding anything up.
    pub(crate) fn blocks(&self) -> Vec<Arc<Block>> {
        self.blocks.iter().cloned().collect()
    }
}

/// The spans of a trace in some blocks, in the order they began.
pub(crate) fn trace(blocks: &[Arc<Block>], trace_id: u128) -> Vec<SpanView> {
    let spans = blocks.iter().flat_map(|block| block.spans()).filter(|span| span.trace_id() == trace_id);
    let mut spans: Vec<SpanView> = spans.map(SpanView::from).collect();
    spans.sort_by_key(|span| (span.start, span.parent_span_id.is_some(), std::cmp::Reverse(span.end)));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_oldest_spans_leave_and_a_trace_is_found() {
        let mut recent = Recent::new(3);
        for trace_id in 1..=5 {
            recent.push(Arc::new(Block::Spans(vec![fixture::span(trace_id, "s")])));
        }
        let found = |id| trace(&recent.blocks(), id).len();
        assert_eq!([found(1), found(2), found(3), found(4), found(5)], [0, 0, 1, 1, 1]);
    }

    #[test]
    fn large_spans_of_guests_count_for_more() {
        let mut recent = Recent::new(100);
        recent.push(Arc::new(Block::Spans(vec![fixture::span(1, "s")])));
        recent.push(Arc::new(fixture::guests(2, 64 * 1024)));
        recent.push(Arc::new(fixture::guests(3, 64 * 1024)));
        let found = |id| trace(&recent.blocks(), id).len();
        assert_eq!([found(1), found(2), found(3)], [0, 0, 1]);
    }
}
