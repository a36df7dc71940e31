//! Spans as they are recorded: small, raw, and in blocks. Nothing is formatted before somebody asks.

use std::{borrow::Cow, sync::Arc};

use lantern_core::{
    Digest, EventId, EventType, Kind, Name, Position, StreamName, Timestamp, Version,
    module::Failure,
    witness::{Attribute, GuestSpan, SpanKind, SpanStatus},
};
use serde_json::Value;

use crate::{
    messages::{Channel, MessageSpan},
    names,
};

/// How many spans an instance gathers before it hands them over.
pub(crate) const BLOCK: usize = 256;

/// The longest text of a failure that is kept, in bytes.
const MAX_FAILURE: usize = 8 * 1024;

/// What all spans of one loaded module have in common.
#[derive(Debug)]
pub(crate) struct Labels {
    /// What it is deployed as.
    pub(crate) kind: Kind,
    /// The name it is deployed under.
    pub(crate) name: Name,
    /// The digest of the module, as spans show it.
    pub(crate) module: String,
}

impl Labels {
    pub(crate) fn new(kind: Kind, name: Name, module: Digest) -> Self {
        Self { kind, name, module: module.to_string() }
    }

    /// The name of its handle spans.
    pub(crate) fn handle(&self) -> &'static str {
        if self.kind == Kind::Handler { names::HANDLE_BY_HANDLER } else { names::HANDLE }
    }

    /// The key under which its spans carry its name.
    pub(crate) fn key(&self) -> &'static str {
        match self.kind {
            Kind::Projection => names::PROJECTION,
            Kind::Handler => names::HANDLER,
            Kind::Aggregate => names::AGGREGATE_TYPE,
            Kind::Upcaster => names::UPCASTER,
        }
    }

    /// Its name, where it is of this kind.
    pub(crate) fn named(&self, kind: Kind) -> Option<&str> {
        (self.kind == kind).then(|| self.name.as_str())
    }
}

/// A span of another trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
}

/// One call of a module.
#[derive(Debug)]
pub(crate) struct HandleSpan {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// The span around it; 0 for a root.
    pub(crate) parent: u64,
    pub(crate) flags: u8,
    pub(crate) dry_run: bool,
    /// Events it asks for, counted no further than a small number goes.
    pub(crate) emitted: u16,
    /// Changes to schedules it asks for, likewise.
    pub(crate) timers: u16,
    /// SQL statements it ran, likewise.
    pub(crate) statements: u16,
    /// How long these took together, in microseconds.
    pub(crate) statement_time: u32,
    /// 1 for the first.
    pub(crate) attempt: u32,
    pub(crate) state: Option<Arc<str>>,
    pub(crate) link: Option<Link>,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) event_id: EventId,
    pub(crate) event_type: EventType,
    pub(crate) stream: StreamName,
    pub(crate) version: Version,
    pub(crate) position: Position,
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) failure: Option<Box<Failure>>,
}

/// Something that happened during a span.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) name: Cow<'static, str>,
    pub(crate) at: Timestamp,
    pub(crate) attributes: Vec<(Cow<'static, str>, Value)>,
}

/// A span of the host's cold paths.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// The span around it; 0 for a root.
    pub(crate) parent: u64,
    pub(crate) flags: u8,
    pub(crate) state: Option<Arc<str>>,
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: SpanKind,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) status: SpanStatus,
    pub(crate) attributes: Vec<(Cow<'static, str>, Value)>,
    pub(crate) events: Vec<Moment>,
    pub(crate) links: Vec<Link>,
}

/// Spans on their way through the pipeline, shared by everything that reads them.
#[derive(Debug)]
pub(crate) enum Block {
    /// Of one instance: its handle spans and what the guest opened inside.
    Calls {
        labels: Arc<Labels>,
        handles: Vec<HandleSpan>,
        guests: Vec<GuestSpan>,
        /// About how many bytes the guests' spans hold.
        bytes: usize,
    },
    /// Of messages of one topic.
    Messages { channel: Arc<Channel>, spans: Vec<MessageSpan> },
    /// Of the host's cold paths.
    Spans(Vec<Span>),
}

/// One span of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SpanRef<'a> {
    Handle(&'a Labels, &'a HandleSpan),
    Guest(&'a Labels, &'a GuestSpan),
    Message(&'a Channel, &'a MessageSpan),
    Host(&'a Span),
}

impl Block {
    /// How many spans it has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Calls { handles, guests, .. } => handles.len() + guests.len(),
            Self::Messages { spans, .. } => spans.len(),
            Self::Spans(spans) => spans.len(),
        }
    }

    /// What it counts for where memory is bounded: a span for each span, and one for each further KiB of guests'
    /// texts, since nothing but that can make a span large.
    pub(crate) fn weight(&self) -> usize {
        let bytes = if let Self::Calls { bytes, .. } = self { *bytes } else { 0 };
        self.len() + bytes / 1024
    }

    /// One of its spans.
    pub(crate) fn span(&self, index: usize) -> Option<SpanRef<'_>> {
        match self {
            Self::Calls { labels, handles, guests, .. } => match handles.get(index) {
                Some(handle) => Some(SpanRef::Handle(labels, handle)),
                None => guests.get(index - handles.len()).map(|guest| SpanRef::Guest(labels, guest)),
            },
            Self::Messages { channel, spans } => spans.get(index).map(|span| SpanRef::Message(channel, span)),
            Self::Spans(spans) => spans.get(index).map(SpanRef::Host),
        }
    }

    /// All its spans.
    pub(crate) fn spans(&self) -> impl Iterator<Item = SpanRef<'_>> {
        (0..self.len()).filter_map(|index| self.span(index))
    }
}

impl SpanRef<'_> {
    pub(crate) fn trace_id(&self) -> u128 {
        match self {
            Self::Handle(_, span) => span.trace_id,
            Self::Guest(_, span) => span.trace_id,
            Self::Message(_, span) => span.trace_id,
            Self::Host(span) => span.trace_id,
        }
    }
}

/// A failure as a span keeps it: long texts are cut.
pub(crate) fn kept(failure: &Failure) -> Box<Failure> {
    Box::new(Failure {
        kind: failure.kind,
        message: cut(&failure.message, MAX_FAILURE).into(),
        backtrace: failure.backtrace.as_deref().map(|text| cut(text, MAX_FAILURE).into()),
    })
}

/// The beginning of a text, at most so many bytes.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// About how many bytes a guest's span holds.
pub(crate) fn bytes(span: &GuestSpan) -> usize {
    let attributes = |list: &[Attribute]| list.iter().map(|(key, value)| key.len() + value.len() + 48).sum::<usize>();
    let events = span.events.iter().map(|(name, _, list)| name.len() + attributes(list) + 64).sum::<usize>();
    let links = span.links.iter().map(|(_, _, list)| attributes(list) + 64).sum::<usize>();
    let status = if let SpanStatus::Error(text) = &span.status { text.len() } else { 0 };
    span.name.len() + span.scope.len() + status + attributes(&span.attributes) + events + links
}

/// The name of a kind of failure in spans and metrics.
pub(crate) fn kind_name(kind: lantern_core::module::FailureKind) -> &'static str {
    use lantern_core::module::FailureKind;
    match kind {
        FailureKind::Transient => "transient",
        FailureKind::Permanent => "permanent",
        FailureKind::Trap => "trap",
        FailureKind::Deadline => "deadline",
        FailureKind::Limit => "limit",
        FailureKind::Host => "host",
    }
}
