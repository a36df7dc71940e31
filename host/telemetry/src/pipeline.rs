//! The way of spans from those who record them to those who read them: instances gather, one thread collects.
//!
//! ```text
//!  instance ─▶ slot (up to 256 spans) ──┐
//!  instance ─▶ slot ────────────────────┼─▶ intake (bounded) ─▶ the telemetry thread ─▶ recent spans
//!  host spans ──────────────────────────┘                                            └▶ queue of each exporter
//! ```
//!
//! Recording takes a lock that nobody else wants and never waits. The telemetry thread sleeps while there is nothing;
//! after the first span it lingers [`LINGER`], so that a busy host wakes it some forty times a second and not for
//! every span. What finds the intake full is dropped and counted.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lantern_core::witness::GuestSpan;

use crate::{
    export::Queue,
    messages::{Channel, MessageSpan},
    metrics::{Metrics, Tally},
    recent::Recent,
    record::{BLOCK, Block, HandleSpan, Labels, Span, bytes},
};

/// How long the telemetry thread waits for more after the first span.
const LINGER: Duration = Duration::from_millis(25);

/// How much may wait for the telemetry thread.
const MAX_WAITING: usize = 65_536;

/// How much wakes the telemetry thread before it has lingered.
const URGENT: usize = 8_192;

/// What an instance has gathered and not handed over yet.
#[derive(Debug)]
pub(crate) struct Slot {
    labels: Arc<Labels>,
    pending: Mutex<Pending>,
}

/// What is gathered, while one call is added.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    handles: Vec<HandleSpan>,
    guests: Vec<GuestSpan>,
    /// About how many bytes the guests' spans hold.
    bytes: usize,
    tally: Tally,
    /// Whether the telemetry thread knows that there is something here.
    announced: bool,
    /// How many spans were handed over last, which tells how many will come.
    last: usize,
}

#[derive(Debug, Default)]
struct Intake {
    blocks: Vec<Block>,
    spans: Vec<Span>,
    /// What blocks and spans count for together.
    weight: usize,
    /// Slots that have something.
    slots: Vec<Arc<Slot>>,
    /// Spans that were dropped and not counted in the metrics yet.
    dropped: usize,
    /// Whether the telemetry thread sleeps without an end.
    idle: bool,
    closed: bool,
}

/// The way of all spans.
#[derive(Debug)]
pub(crate) struct Pipeline {
    intake: Mutex<Intake>,
    arrived: Condvar,
    /// Held while spans are moved on, so that who reads after a collection sees all of it.
    recent: Mutex<Recent>,
    queues: Vec<Arc<Queue>>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Slot {
    pub(crate) fn new(labels: Arc<Labels>) -> Arc<Self> {
        Arc::new(Self { labels, pending: Mutex::default() })
    }

    pub(crate) fn labels(&self) -> &Arc<Labels> {
        &self.labels
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Adds a handle span.
    pub(crate) fn handle(&mut self, span: HandleSpan) {
        if self.handles.capacity() == 0 {
            // A busy instance fills its block without growing it; an idle one holds no memory.
            self.handles.reserve_exact(self.last.next_power_of_two().min(BLOCK));
        }
        self.handles.push(span);
    }

    /// Adds the guest's spans.
    pub(crate) fn guests(&mut self, spans: Vec<GuestSpan>) {
        self.bytes += spans.iter().map(bytes).sum::<usize>();
        self.guests.extend(spans);
    }

    /// What is counted of the calls.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn is_full(&self) -> bool {
        self.handles.len() >= BLOCK || self.guests.len() >= BLOCK || self.bytes > BLOCK * 1024
    }

    /// Takes the spans as a block, if there are any.
    fn take(&mut self, labels: &Arc<Labels>) -> Option<Block> {
        let (handles, guests) = (mem::take(&mut self.handles), mem::take(&mut self.guests));
        let bytes = mem::take(&mut self.bytes);
        if handles.is_empty() && guests.is_empty() {
            return None;
        }
        self.last = handles.len();
        Some(Block::Calls { labels: labels.clone(), handles, guests, bytes })
    }
}

impl Pipeline {
    pub(crate) fn new(recent: usize, queues: Vec<Arc<Queue>>, metrics: Arc<Metrics>) -> Arc<Self> {
        let recent = Mutex::new(Recent::new(recent));
        Arc::new(Self { intake: Mutex::default(), arrived: Condvar::new(), recent, queues, metrics })
    }

    /// Takes a call in: whatever `add` adds.
    pub(crate) fn gather(&self, slot: &Arc<Slot>, add: impl FnOnce(&mut Pending)) {
        let mut pending = slot.pending();
        add(&mut pending);
        let announce = !mem::replace(&mut pending.announced, true);
        let block = if pending.is_full() { pending.take(&slot.labels) } else { None };
        drop(pending);
        if let Some(block) = block {
            self.offer(block);
        }
        if announce {
            self.announce(slot);
        }
    }

    /// Takes a span of the host's cold paths in.
    pub(crate) fn span(&self, span: Span) {
        let mut intake = self.intake();
        if intake.fits(1) {
            intake.spans.push(span);
            self.wake(intake);
        }
    }

    /// Takes spans of messages in.
    pub(crate) fn messages(&self, channel: &Arc<Channel>, spans: Vec<MessageSpan>) {
        if !spans.is_empty() {
            self.offer(Block::Messages { channel: channel.clone(), spans });
        }
    }

    fn offer(&self, block: Block) {
        let mut intake = self.intake();
        if intake.fits(block.weight()) {
            intake.blocks.push(block);
            self.wake(intake);
        } else {
            intake.dropped += block.len().saturating_sub(1);
        }
    }

    fn announce(&self, slot: &Arc<Slot>) {
        let mut intake = self.intake();
        if !intake.closed {
            intake.slots.push(slot.clone());
            self.wake(intake);
        }
    }

    /// Wakes the telemetry thread where it would sleep for too long.
    fn wake(&self, intake: MutexGuard<'_, Intake>) {
        let needed = intake.idle || intake.weight >= URGENT;
        drop(intake);
        if needed {
            self.arrived.notify_one();
        }
    }

    /// Moves on everything that was recorded before the call.
    pub(crate) fn collect(&self) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut blocks, spans, slots, dropped) = self.intake().take();
        blocks.extend((!spans.is_empty()).then_some(Block::Spans(spans)));
        for slot in slots {
            let mut pending = slot.pending();
            pending.announced = false;
            self.metrics.add(&slot.labels, &mut pending.tally);
            blocks.extend(pending.take(&slot.labels));
        }
        if dropped > 0 {
            self.metrics.dropped("intake", dropped);
        }
        for block in blocks {
            self.metrics.recorded(block.len());
            let block = Arc::new(block);
            for queue in &self.queues {
                queue.push(block.clone());
            }
            recent.push(block);
        }
    }

    /// The recent spans, up to now.
    pub(crate) fn recent(&self) -> Vec<Arc<Block>> {
        self.collect();
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).blocks()
    }

    /// What the telemetry thread does until the pipeline is closed.
    pub(crate) fn run(&self) {
        while self.wait() {
            self.collect();
        }
        self.collect();
    }

    /// Waits until there is something to collect. False once the pipeline is closed.
    fn wait(&self) -> bool {
        let mut intake = self.intake();
        while intake.is_empty() && !intake.closed {
            intake.idle = true;
            intake = self.arrived.wait(intake).unwrap_or_else(PoisonError::into_inner);
        }
        intake.idle = false;
        let until = Instant::now() + LINGER;
        while !intake.closed && intake.weight < URGENT {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            intake = self.arrived.wait_timeout(intake, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        !intake.closed
    }

    /// Takes in nothing more. What comes later is dropped and counted.
    pub(crate) fn close(&self) {
        self.intake().closed = true;
        self.arrived.notify_all();
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intake {
    /// Makes room for something, or counts one span as dropped.
    fn fits(&mut self, weight: usize) -> bool {
        let fits = !self.closed && self.weight + weight <= MAX_WAITING;
        self.weight += if fits { weight } else { 0 };
        self.dropped += usize::from(!fits);
        fits
    }

    fn is_empty(&self) -> bool {
        self.weight == 0 && self.slots.is_empty()
    }

    fn take(&mut self) -> (Vec<Block>, Vec<Span>, Vec<Arc<Slot>>, usize) {
        self.weight = 0;
        (
            mem::take(&mut self.blocks),
            mem::take(&mut self.spans),
            mem::take(&mut self.slots),
            mem::take(&mut self.dropped),
        )
    }
}

#[cfg(test)]
mod tests {
    use lantern_core::Kind;

    use super::*;
    use crate::fixture;

    fn pipeline() -> Arc<Pipeline> {
        Pipeline::new(10, Vec::new(), Arc::new(Metrics::new()))
    }

    #[track_caller]
    fn counts(pipeline: &Pipeline, line: &str) {
        let text = pipeline.metrics.text();
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }

    #[test]
    fn what_finds_the_intake_full_or_closed_is_counted() {
        let pipeline = pipeline();
        for _ in 0..MAX_WAITING + 7 {
            pipeline.span(fixture::span(1, "s"));
        }
        pipeline.offer(fixture::guests(1, 10));
        pipeline.collect();
        counts(&pipeline, &format!("telemetry_spans_recorded_total {MAX_WAITING}\n"));
        counts(&pipeline, "telemetry_spans_dropped_total{stage=\"intake\"} 8\n");
        pipeline.close();
        pipeline.span(fixture::span(1, "s"));
        pipeline.collect();
        counts(&pipeline, "telemetry_spans_dropped_total{stage=\"intake\"} 9\n");
    }

    #[test]
    fn guests_that_say_much_do_not_fill_the_memory() {
        let pipeline = pipeline();
        let slot =
            Slot::new(Arc::new(Labels::new(Kind::Projection, "p".parse().unwrap(), lantern_core::Digest([1; 32]))));
        let mut guest = fixture::guest(1, 2, 3);
        guest.attributes.push(("text".into(), "x".repeat(1024 * 1024)));
        for _ in 0..100 {
            pipeline.gather(&slot, |pending| pending.guests(vec![guest.clone()]));
        }
        // Each is handed over at once and counts for a thousand spans, so that some sixty fill the intake.
        let weight = pipeline.intake().weight;
        assert!((MAX_WAITING - 1100..=MAX_WAITING).contains(&weight), "{weight}");
        assert!(slot.pending().guests.is_empty());
        pipeline.collect();
        let recent = pipeline.recent().iter().map(|block| block.weight()).sum::<usize>();
        assert!(recent <= 10, "{recent}");
    }
}
