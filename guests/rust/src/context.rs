//! What a command carries beside its data.

use crate::bindings::aggregate::exports::lantern::module::aggregates;
use crate::{EventId, Time, TraceContext, event};

/// What a command carries beside its data.
#[derive(Debug)]
pub struct Context {
    stream: String,
    command: aggregates::Command,
    trace: TraceContext,
}

impl Context {
    pub(crate) fn new(stream: &str, command: aggregates::Command, trace: TraceContext) -> Self {
        Self { stream: stream.to_owned(), command, trace }
    }

    pub(crate) fn raw(&self) -> &aggregates::Command {
        &self.command
    }

    /// The identity of the command. Sent a second time it has no second effect.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId::new(self.command.id_high, self.command.id_low)
    }

    /// The name of the kind of command, for example `PlaceOrder`.
    #[must_use]
    pub fn command_type(&self) -> &str {
        &self.command.command_type
    }

    /// The stream of the aggregate, category and id: `Order-42`.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The id of the stream in its category: `42` of `Order-42`.
    #[must_use]
    pub fn stream_id(&self) -> &str {
        event::split(&self.stream).1
    }

    /// When the host received it. The clock shows the same time during the call.
    #[must_use]
    pub fn time(&self) -> Time {
        Time::from_nanoseconds(self.command.time)
    }

    /// What the command carries beside its data, by key: `correlation-id`, `causation-id`, `tenant`, `actor`, and free pairs.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.command.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whose command it is.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.metadata("tenant")
    }

    /// Who sent it.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.metadata("actor")
    }

    /// The trace context of the span around this call.
    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        &self.trace
    }
}
