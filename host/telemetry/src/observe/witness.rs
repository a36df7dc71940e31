//! What guests say: their spans, put under the handle span, and their log lines, told as the host's own.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use lantern_core::{
    Kind, TraceContext,
    witness::{Attribute, GuestLog, GuestSpan, Level},
};
use tracing::{debug, error, info, trace, warn};

use crate::{
    ids,
    record::{Labels, cut},
    view,
};

/// The target of guests' log lines, for filters such as `lantern::guest=debug`.
macro_rules! target {
    () => {
        "lantern::guest"
    };
}

/// How many log lines of one instance are told in one [`WINDOW`]; further ones are counted.
const MAX_LINES: usize = 1000;

/// The longest line that is told, in bytes.
const MAX_LINE: usize = 8 * 1024;

/// The time in which lines are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// How many lines may still be told, so that a guest that floods logs does not flood the host's.
#[derive(Debug, Default)]
pub(super) struct LogBudget {
    window: Option<Instant>,
    told: usize,
}

impl LogBudget {
    /// How many of these lines may be told now, when at most so many are in one [`WINDOW`].
    pub(super) fn take(&mut self, lines: usize, most: usize) -> usize {
        let now = Instant::now();
        if self.window.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            (self.window, self.told) = (Some(now), 0);
        }
        let taken = lines.min(most.saturating_sub(self.told));
        self.told += taken;
        taken
    }

    /// Tells the lines, and says how many went over the limit.
    pub(super) fn tell(&mut self, lines: &[GuestLog], labels: &Labels, handle: Option<&TraceContext>) -> u64 {
        if lines.is_empty() {
            return 0;
        }
        let told = self.take(lines.len(), MAX_LINES);
        lines.iter().take(told).for_each(|line| tell(line, labels, handle));
        (lines.len() - told) as u64
    }
}

fn tell(line: &GuestLog, labels: &Labels, handle: Option<&TraceContext>) {
    // The macros need a level that is known at compile time. They build their arguments only when somebody listens.
    macro_rules! tell {
        ($level:ident) => {
            $level!(
                target: target!(),
                trace_id = handle.map(|handle| view::trace_id(handle.trace_id)),
                span_id = handle.map(|handle| view::span_id(line.span_id.unwrap_or(handle.span_id))),
                projection = labels.named(Kind::Projection),
                handler = labels.named(Kind::Handler),
                aggregate = labels.named(Kind::Aggregate),
                module = &labels.module[..12],
                context = line.context.as_str(),
                attributes = json(&line.attributes),
                "{}",
                cut(&line.message, MAX_LINE)
            )
        };
    }
    match line.level {
        Level::Trace => tell!(trace),
        Level::Debug => tell!(debug),
        Level::Info => tell!(info),
        Level::Warn => tell!(warn),
        Level::Error | Level::Critical => tell!(error),
    }
}

/// Attributes as a JSON object; `None` when there are none.
fn json(attributes: &[Attribute]) -> Option<String> {
    let values = || attributes.iter().map(|(key, value)| (key.clone(), view::guest_value(value)));
    (!attributes.is_empty()).then(|| serde_json::Value::Object(values().collect()).to_string())
}

/// A guest's spans inside the handle span: in its trace, and never a root. A guest that does not know the context it
/// was given begins a trace of its own, which is grafted on: spans whose parent is not among its own hang under the
/// handle span.
pub(super) fn rooted(mut spans: Vec<GuestSpan>, handle: &TraceContext) -> Vec<GuestSpan> {
    let foreign = |span: &GuestSpan| span.trace_id != handle.trace_id;
    let own: HashSet<u64> = match spans.iter().any(foreign) {
        true => spans.iter().map(|span| span.span_id).collect(),
        false => HashSet::new(),
    };
    for span in &mut spans {
        if span.span_id == 0 {
            span.span_id = ids::span_id();
        }
        if span.parent_span_id == 0 || (foreign(span) && !own.contains(&span.parent_span_id)) {
            span.parent_span_id = handle.span_id;
        }
        span.trace_id = handle.trace_id;
        span.end = span.end.max(span.start);
    }
    spans
}
