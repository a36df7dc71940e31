//! Spans and log lines of one call, bounded. Nothing here can make a call fail: what goes over is dropped and counted.

use std::sync::Arc;

use lantern_core::{
    Timestamp, TraceContext, Witness,
    witness::{Attribute, GuestLog, GuestSpan, Level},
};

use super::{Console, Deployment, console::Pipe};

/// The longest text that is kept of a log line, a name or an attribute, in bytes.
const LINE: usize = 8 << 10;

/// Spans and log lines of one call.
pub(crate) struct Telemetry {
    deployment: Arc<Deployment>,
    trace: Option<TraceContext>,
    witness: Witness,
    // The spans that were started and not yet ended, the innermost last.
    open: Vec<(u64, Timestamp)>,
    kept: u64,
}

/// A line as the module hands it over.
pub(crate) struct Line {
    /// How severe it is.
    pub(crate) level: Level,
    /// Which part of the module speaks.
    pub(crate) context: String,
    /// The text.
    pub(crate) message: String,
    /// The span it belongs to; the innermost open one of the module when it is not said.
    pub(crate) span: Option<u64>,
    /// Details.
    pub(crate) attributes: Vec<Attribute>,
}

impl Telemetry {
    /// No call yet.
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        Self { deployment, trace: None, witness: Witness::default(), open: Vec::new(), kept: 0 }
    }

    /// Begins a call inside a handle span.
    pub(crate) fn begin(&mut self, trace: Option<&TraceContext>) {
        self.trace = trace.cloned();
        self.open.clear();
        self.kept = 0;
    }

    /// Ends the call and takes what was said.
    pub(crate) fn end(&mut self) -> Witness {
        std::mem::take(&mut self.witness)
    }

    /// The handle span, where the call is traced.
    pub(crate) fn handle_span(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// The innermost span of the module that is open.
    pub(crate) fn innermost(&self) -> Option<u64> {
        self.open.last().map(|(span, _)| *span)
    }

    /// The span that encloses what the module does now: its innermost open one, else the handle span.
    pub(crate) fn around(&self) -> Option<TraceContext> {
        let handle = self.trace.as_ref()?;
        Some(TraceContext { span_id: self.innermost().unwrap_or(handle.span_id), ..handle.clone() })
    }

    /// Whether spans are of any use: they are not when the trace is not recorded.
    pub(crate) fn is_recording(&self) -> bool {
        self.trace.as_ref().is_some_and(TraceContext::is_sampled)
    }

    /// Notes that a span was started. One beyond the limit is forgotten here and counted when it ends.
    pub(crate) fn start_span(&mut self, span: u64) {
        if self.open.len() < self.deployment.settings.limits.spans as usize {
            self.open.push((span, self.deployment.clock.now()));
        }
    }

    /// Keeps a span that ended, from when the host saw it start until now. The times the module gives are of no meaning:
    /// its clock stands still.
    pub(crate) fn end_span(&mut self, mut span: GuestSpan) {
        let Some(place) = self.open.iter().rposition(|(open, _)| *open == span.span_id) else {
            return self.drop_span();
        };
        (_, span.start) = self.open.remove(place);
        span.end = self.deployment.clock.now();
        for (_, at, _) in &mut span.events {
            *at = span.end;
        }
        self.keep_span(span);
    }

    /// Keeps a span whose times are the host's: of a module, or of what the host did for it.
    pub(crate) fn keep_span(&mut self, span: GuestSpan) {
        if !self.is_recording() {
            return;
        }
        let full = self.witness.spans.len() >= self.deployment.settings.limits.spans as usize;
        if full || !self.has_room(size(&span)) {
            return self.drop_span();
        }
        self.witness.spans.push(span);
    }

    /// Counts a span that cannot be kept.
    pub(crate) fn drop_span(&mut self) {
        self.witness.dropped_spans += 1;
    }

    /// Whether another line would be kept. Where it would not, it is counted, and the caller need not look at it.
    pub(crate) fn wants_line(&mut self) -> bool {
        let wants = self.witness.logs.len() < self.deployment.settings.limits.log_lines as usize;
        self.witness.dropped_logs += u64::from(!wants);
        wants
    }

    /// Keeps a line.
    pub(crate) fn log(&mut self, line: Line) {
        if !self.wants_line() {
            return;
        }
        let Line { level, context, message, span, attributes } = line;
        if !self.has_room((context.len() + message.len()) as u64 + attributes_size(&attributes)) {
            self.witness.dropped_logs += 1;
            return;
        }
        // A line that names the handle span itself stands in no span of the module.
        let handle = self.trace.as_ref().map(|trace| trace.span_id);
        let span_id = span.or_else(|| self.innermost()).filter(|span| Some(*span) != handle);
        let at = self.deployment.clock.now();
        self.witness.logs.push(GuestLog { at, level, context, message, span_id, attributes });
    }

    /// Keeps what the module wrote to its standard output and error, line by line.
    pub(crate) fn take_lines(&mut self, console: &mut Console) {
        self.take_pipe(Level::Info, "stdout", &console.out);
        self.take_pipe(Level::Error, "stderr", &console.err);
    }

    fn take_pipe(&mut self, level: Level, context: &str, pipe: &Pipe) {
        let Some((text, lost)) = pipe.take() else { return };
        self.witness.dropped_logs += lost;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (context, message) = (context.into(), cut(line));
            self.log(Line { level, context, message, span: None, attributes: Vec::new() });
        }
    }

    /// Documents have as much room again: what is said never takes away from what is written.
    fn has_room(&mut self, bytes: u64) -> bool {
        let room = self.deployment.settings.limits.host_call_bytes;
        let fits = self.kept.saturating_add(bytes) <= room;
        self.kept += if fits { bytes } else { 0 };
        fits
    }
}

/// A text at most [`LINE`] bytes long; one that was longer says so at its end.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= LINE {
        return text.into();
    }
    format!("{}… (cut: {} bytes)", &text[..text.floor_char_boundary(LINE)], text.len())
}

fn size(span: &GuestSpan) -> u64 {
    let events = span.events.iter().map(|(name, _, attributes)| name.len() as u64 + attributes_size(attributes));
    let links = span.links.iter().map(|(_, _, attributes)| 24 + attributes_size(attributes));
    (span.name.len() + span.scope.len()) as u64 + attributes_size(&span.attributes) + events.chain(links).sum::<u64>()
}

fn attributes_size(attributes: &[Attribute]) -> u64 {
    attributes.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lantern_core::{
        Grants, Kind, Name, SystemClock,
        module::{Limits, Settings},
        witness::{SpanKind, SpanStatus},
    };

    use super::*;

    fn telemetry(limits: Limits) -> Telemetry {
        let (name, config) = (Name::new("p").unwrap(), BTreeMap::new());
        let settings = Settings { kind: Kind::Projection, name, limits, config, grants: Grants::default() };
        let mut telemetry = Telemetry::new(Arc::new(Deployment::new(settings, &[], Arc::new(SystemClock))));
        let trace = TraceContext { trace_id: 1, span_id: 7, flags: TraceContext::SAMPLED, state: None };
        telemetry.begin(Some(&trace));
        telemetry
    }

    fn span(span_id: u64, name: &str) -> GuestSpan {
        let none = Timestamp(0);
        GuestSpan {
            trace_id: 1,
            span_id,
            parent_span_id: 7,
            kind: SpanKind::Internal,
            name: name.into(),
            start: none,
            end: none,
            status: SpanStatus::Unset,
            attributes: Vec::new(),
            events: vec![("sent".into(), none, Vec::new())],
            links: Vec::new(),
            scope: String::new(),
        }
    }

    fn line(span: Option<u64>, message: &str) -> Line {
        Line { level: Level::Info, context: String::new(), message: message.into(), span, attributes: Vec::new() }
    }

    #[test]
    fn times_are_the_hosts() {
        let mut telemetry = telemetry(Limits::default());
        telemetry.start_span(8);
        telemetry.end_span(span(8, "work"));
        let spans = telemetry.end().spans;
        assert!(spans[0].start > Timestamp(0) && spans[0].start <= spans[0].end);
        assert_eq!(spans[0].events[0].1, spans[0].end);
    }

    #[test]
    fn a_span_that_never_started_is_counted() {
        let mut telemetry = telemetry(Limits::default());
        telemetry.end_span(span(8, "work"));
        let witness = telemetry.end();
        assert_eq!((witness.spans.len(), witness.dropped_spans), (0, 1));
    }

    #[test]
    fn spans_may_end_in_any_order() {
        let mut telemetry = telemetry(Limits::default());
        telemetry.start_span(8);
        telemetry.start_span(9);
        assert_eq!(telemetry.innermost(), Some(9));
        telemetry.end_span(span(8, "outer"));
        assert_eq!(telemetry.innermost(), Some(9));
        telemetry.end_span(span(9, "inner"));
        assert_eq!(telemetry.innermost(), None);
    }

    #[test]
    fn what_the_host_does_for_a_module_stands_in_its_innermost_span() {
        let mut telemetry = telemetry(Limits::default());
        let around = |telemetry: &Telemetry| telemetry.around().map(|around| (around.trace_id, around.span_id));
        assert_eq!(around(&telemetry), Some((1, 7)), "the handle span");
        telemetry.start_span(8);
        assert_eq!(around(&telemetry), Some((1, 8)));
        telemetry.end_span(span(8, "work"));
        telemetry.keep_span(span(9, "GET"));
        telemetry.begin(None);
        telemetry.keep_span(span(10, "GET"));
        assert_eq!(around(&telemetry), None);
        let kept = telemetry.end().spans.iter().map(|span| span.span_id).collect::<Vec<_>>();
        assert_eq!(kept, [8, 9], "nothing of a call that is not traced");
    }

    #[test]
    fn a_line_says_its_span_or_stands_in_the_innermost_one() {
        let mut telemetry = telemetry(Limits::default());
        telemetry.start_span(8);
        telemetry.log(line(None, "innermost"));
        telemetry.log(line(Some(9), "its own"));
        telemetry.log(line(Some(7), "the handle span"));
        let spans = telemetry.end().logs.into_iter().map(|line| line.span_id).collect::<Vec<_>>();
        assert_eq!(spans, [Some(8), Some(9), None]);
    }

    #[test]
    fn what_is_kept_has_a_size() {
        let mut telemetry = telemetry(Limits { host_call_bytes: 100, ..Limits::default() });
        telemetry.log(line(None, &"x".repeat(60)));
        telemetry.log(line(None, &"x".repeat(60)));
        telemetry.start_span(8);
        telemetry.end_span(span(8, &"x".repeat(60)));
        telemetry.log(line(None, &"x".repeat(40)));
        let witness = telemetry.end();
        assert_eq!((witness.logs.len(), witness.dropped_logs), (2, 1));
        assert_eq!((witness.spans.len(), witness.dropped_spans), (0, 1));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = format!("x{}", "é".repeat(LINE));
        let cut = cut(&long);
        assert!(cut.ends_with(&format!("… (cut: {} bytes)", long.len())) && cut.len() < LINE + 40);
    }

    #[test]
    fn what_a_module_prints_becomes_lines() {
        let mut telemetry = telemetry(Limits { log_lines: 3, ..Limits::default() });
        let mut console = Console::default();
        console.err.write(b"bad\n\n");
        console.out.write(b"one\ntwo\nthree");
        telemetry.take_lines(&mut console);
        let witness = telemetry.end();
        let lines = witness.logs.iter().map(|line| (line.level, line.context.as_str(), line.message.as_str()));
        let expected =
            [(Level::Info, "stdout", "one"), (Level::Info, "stdout", "two"), (Level::Info, "stdout", "three")];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
        assert_eq!(witness.dropped_logs, 1);
    }
}
