//! The queue of an exporter: bounded, and what finds it full is dropped and counted.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    metrics::Metrics,
    record::{Block, SpanRef, bytes},
};

/// About how many bytes one batch may have; most collectors take 4 MiB.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// About how many bytes a span has without a guest's texts.
const USUAL_BYTES: usize = 600;

/// How an exporter batches: the `OTEL_BSP_*` variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// How many spans may wait.
    pub(crate) queue: usize,
    /// How many spans one batch has at most.
    pub(crate) batch: usize,
    /// How long a span waits for its batch to fill.
    pub(crate) delay: Duration,
    /// How long the delivery of a batch may take, all attempts together.
    pub(crate) timeout: Duration,
}

/// What waits for an exporter.
#[derive(Debug)]
pub(crate) struct Queue {
    exporter: &'static str,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    parts: VecDeque<Part>,
    /// What the parts count for.
    weight: usize,
    /// How many spans they have.
    spans: usize,
    closed: bool,
    /// Whether spans were lost after the queue was closed.
    lost: bool,
}

/// Some spans of a block.
#[derive(Debug)]
struct Part {
    block: Arc<Block>,
    spans: Range<usize>,
    weight: usize,
}

/// Some spans, to be delivered together.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    parts: Vec<(Arc<Block>, Range<usize>)>,
}

impl Queue {
    pub(crate) fn new(exporter: &'static str, bounds: Bounds, metrics: Arc<Metrics>) -> Self {
        Self { exporter, bounds, metrics, waiting: Mutex::default(), changed: Notify::new() }
    }

    /// Adds as many spans of a block as there is room for, drops the rest and counts it.
    pub(crate) fn push(&self, block: Arc<Block>) {
        let (spans, weight) = (block.len(), block.weight().max(1));
        let mut waiting = self.waiting();
        let free = if waiting.closed { 0 } else { self.bounds.queue.saturating_sub(waiting.weight) };
        let taken = if weight <= free { spans } else { spans * free / weight };
        let first = waiting.spans == 0;
        if taken > 0 {
            let part = Part { block, spans: 0..taken, weight: (weight * taken).div_ceil(spans) };
            waiting.weight += part.weight;
            waiting.spans += taken;
            waiting.parts.push_back(part);
        }
        let wake = first || waiting.spans >= self.bounds.batch;
        drop(waiting);
        if taken < spans {
            self.metrics.dropped(self.exporter, spans - taken);
        }
        if wake {
            self.changed.notify_one();
        }
    }

    /// The next batch, once it is full, old enough or the last. `None` when the queue is closed and empty.
    pub(crate) async fn next(&self) -> Option<Chunk> {
        loop {
            let (empty, closed) = {
                let waiting = self.waiting();
                (waiting.spans == 0, waiting.closed)
            };
            match (empty, closed) {
                (false, _) => break,
                (true, true) => return None,
                (true, false) => self.changed.notified().await,
            }
        }
        let until = Instant::now() + self.bounds.delay;
        while !self.is_ready() && tokio::time::timeout_at(until, self.changed.notified()).await.is_ok() {}
        Some(self.waiting().take(self.bounds.batch))
    }

    /// Takes nothing more; what waits is still delivered.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.waiting().closed
    }

    /// Counts spans that could not be delivered. Once the queue is closed, what waits is given up with them: it would
    /// fail alike, and the host wants to end.
    pub(crate) fn give_up(&self, spans: usize) {
        let mut waiting = self.waiting();
        let mut lost = spans;
        if waiting.closed {
            lost += waiting.spans;
            *waiting = Waiting { closed: true, lost: waiting.lost || lost > 0, ..Waiting::default() };
        }
        drop(waiting);
        self.metrics.dropped(self.exporter, lost);
        self.changed.notify_one();
    }

    /// Whether spans were lost after the queue was closed.
    pub(crate) fn has_lost(&self) -> bool {
        self.waiting().lost
    }

    fn is_ready(&self) -> bool {
        let waiting = self.waiting();
        waiting.spans >= self.bounds.batch || waiting.closed
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Takes up to so many spans, at least one where there is one.
    fn take(&mut self, most: usize) -> Chunk {
        let (mut chunk, mut count, mut size) = (Chunk::default(), 0, 0);
        while let Some(part) = self.parts.front_mut() {
            let from = part.spans.start;
            while !part.spans.is_empty() && count < most {
                let more = part.block.span(part.spans.start).map_or(0, |span| span_bytes(&span));
                if count > 0 && size + more > MAX_BYTES {
                    break;
                }
                part.spans.start += 1;
                (count, size) = (count + 1, size + more);
            }
            if part.spans.start > from {
                chunk.parts.push((part.block.clone(), from..part.spans.start));
            }
            if !part.spans.is_empty() {
                break;
            }
            self.weight -= part.weight;
            self.parts.pop_front();
        }
        self.spans -= count;
        chunk
    }
}

fn span_bytes(span: &SpanRef<'_>) -> usize {
    USUAL_BYTES + if let SpanRef::Guest(_, guest) = span { bytes(guest) } else { 0 }
}

impl Chunk {
    /// All spans of some blocks.
    #[cfg(test)]
    pub(crate) fn of(blocks: &[Arc<Block>]) -> Self {
        Self { parts: blocks.iter().map(|block| (block.clone(), 0..block.len())).collect() }
    }

    /// The spans.
    pub(crate) fn spans(&self) -> impl Iterator<Item = SpanRef<'_>> {
        self.parts.iter().flat_map(|(block, range)| range.clone().filter_map(|index| block.span(index)))
    }

    /// How many spans.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|(_, range)| range.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn queue(queue: usize, batch: usize) -> (Queue, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let bounds = Bounds { queue, batch, delay: Duration::from_secs(60), timeout: Duration::from_secs(1) };
        (Queue::new("otlp", bounds, metrics.clone()), metrics)
    }

    fn block(spans: usize) -> Arc<Block> {
        Arc::new(Block::Spans((0..spans).map(|_| fixture::span(1, "s")).collect()))
    }

    #[tokio::test]
    async fn batches_are_full_and_blocks_are_divided() {
        let (queue, _) = queue(100, 4);
        queue.push(block(7));
        queue.push(block(3));
        assert_eq!(queue.next().await.unwrap().len(), 4);
        assert_eq!(queue.next().await.unwrap().len(), 4);
        queue.close();
        assert_eq!(queue.next().await.unwrap().len(), 2);
        assert!(queue.next().await.is_none());
    }

    #[tokio::test]
    async fn a_batch_that_does_not_fill_goes_when_it_is_old_enough() {
        let (mut queue, _) = queue(100, 4);
        queue.bounds.delay = Duration::from_millis(30);
        queue.push(block(1));
        let began = Instant::now();
        assert_eq!(queue.next().await.unwrap().len(), 1);
        assert!(began.elapsed() >= Duration::from_millis(30));
    }

    #[tokio::test]
    async fn what_finds_the_queue_full_or_is_given_up_is_counted() {
        let (queue, metrics) = queue(5, 100);
        let dropped = |spans: u64| {
            let line = format!("telemetry_spans_dropped_total{{stage=\"otlp\"}} {spans}\n");
            assert!(metrics.text().contains(&line), "{line} is missing in\n{}", metrics.text());
        };
        queue.push(block(4));
        queue.push(block(3));
        dropped(2);
        queue.give_up(10);
        dropped(12);
        assert!(!queue.has_lost(), "what is lost on the way is no loss of the end");
        queue.close();
        queue.push(block(1));
        dropped(13);
        queue.give_up(0);
        dropped(18);
        assert!(queue.has_lost());
        assert!(queue.next().await.is_none());
    }

    #[tokio::test]
    async fn large_spans_travel_in_small_batches() {
        let (queue, _) = queue(100_000, 1000);
        for trace in 0..4 {
            queue.push(Arc::new(fixture::guests(trace, 1024 * 1024)));
        }
        queue.close();
        assert_eq!(queue.next().await.unwrap().len(), 1);
    }
}
