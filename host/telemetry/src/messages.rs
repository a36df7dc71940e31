//! Spans of messages on their way over a bus: small records of a kind, and the attributes they have.

use std::sync::Arc;

use lantern_core::{
    EventId, EventType, NewEvent, StreamName, Timestamp, TraceContext,
    bus::{Offset, Partition, Receipt},
    witness::SpanKind,
};

use crate::{names, record::Link};

/// The variable that says which keys are used, and the word in it that adds the old ones.
pub(crate) const OPT_IN: &str = "OTEL_SEMCONV_STABILITY_OPT_IN";
const BOTH: &str = "messaging/dup";

/// Whether attributes carry the old keys as well as those of today.
pub(crate) fn has_old_keys(opt_in: Option<&str>) -> bool {
    opt_in.is_some_and(|text| text.split(',').any(|word| word.trim() == BOTH))
}

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the bus.
    Publish,
    /// From the bus.
    Consume,
}

impl Way {
    /// The name of its spans.
    pub(crate) fn span(self) -> &'static str {
        match self {
            Self::Publish => names::PUBLISH,
            Self::Consume => names::CONSUME,
        }
    }

    /// The kind of its spans.
    pub(crate) fn kind(self) -> SpanKind {
        match self {
            Self::Publish => SpanKind::Producer,
            Self::Consume => SpanKind::Consumer,
        }
    }

    /// What is done, in a word of ours.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }

    /// What is done, in a word of the conventions.
    pub(crate) fn operation_type(self) -> &'static str {
        match self {
            Self::Publish => "send",
            Self::Consume => "process",
        }
    }

    /// What is done, in a word of the systems before this one.
    fn old_operation(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "receive",
        }
    }
}

/// What all spans of one topic have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) way: Way,
    /// `kafka`, `rabbitmq`, `redis` or `memory`.
    pub(crate) system: &'static str,
    pub(crate) topic: Arc<str>,
    /// The consumer group.
    pub(crate) group: Option<Arc<str>>,
    /// Whether the old keys are told as well.
    pub(crate) old_keys: bool,
}

/// The event a message carries.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) id: EventId,
    pub(crate) event_type: EventType,
    pub(crate) stream: StreamName,
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) correlation: Option<Arc<str>>,
}

impl Carried {
    pub(crate) fn of(stream: &StreamName, event: &NewEvent) -> Self {
        Self {
            id: event.id,
            event_type: event.event_type.clone(),
            stream: stream.clone(),
            tenant: event.metadata.tenant.clone(),
            correlation: event.metadata.correlation_id.clone(),
        }
    }
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(crate) struct MessageSpan {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// The span around it; 0 for a root.
    pub(crate) parent: u64,
    pub(crate) flags: u8,
    pub(crate) state: Option<Arc<str>>,
    pub(crate) link: Option<Link>,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// `None` for a message that is no event.
    pub(crate) carried: Option<Carried>,
    /// Where it stands in its topic, once it came from there.
    pub(crate) place: Option<(Partition, Offset)>,
    /// The kind of a failure, and what was said of it.
    pub(crate) failure: Option<(&'static str, Arc<str>)>,
}

impl MessageSpan {
    /// The span of a context, which begins and ends now.
    pub(crate) fn at(context: &TraceContext, now: Timestamp, carried: Option<Carried>) -> Self {
        Self {
            trace_id: context.trace_id,
            span_id: context.span_id,
            parent: 0,
            flags: context.flags,
            state: context.state.clone(),
            link: None,
            start: now,
            end: now,
            carried,
            place: None,
            failure: None,
        }
    }

    /// As it is for a message that came from this place.
    pub(crate) fn from(mut self, receipt: Receipt) -> Self {
        self.place = Some((receipt.partition, receipt.offset));
        self
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    Text(&'a str),
    Number(u64),
}

/// Tells the attributes of a span, one by one.
pub(crate) fn attributes(channel: &Channel, span: &MessageSpan, mut tell: impl FnMut(&'static str, Told<'_>)) {
    use Told::{Number, Text};
    let old = channel.old_keys;
    let is = |system| channel.system == system;
    tell(names::MESSAGING_SYSTEM, Text(channel.system));
    tell(names::MESSAGING_DESTINATION, Text(&channel.topic));
    tell(names::MESSAGING_OPERATION, Text(channel.way.operation()));
    tell(names::MESSAGING_OPERATION_TYPE, Text(channel.way.operation_type()));
    if old {
        let destination = if channel.way == Way::Publish { "messaging.destination" } else { "messaging.source" };
        tell(destination, Text(&channel.topic));
        let kind = if channel.way == Way::Publish { "messaging.destination_kind" } else { "messaging.source_kind" };
        tell(kind, Text("topic"));
        tell("messaging.operation", Text(channel.way.old_operation()));
    }
    if let Some(group) = &channel.group {
        tell(names::MESSAGING_GROUP, Text(group));
        if old && is("kafka") {
            tell("messaging.kafka.consumer_group", Text(group));
        }
    }
    if let Some(carried) = &span.carried {
        let mut buffer = [0; 36];
        let id: &str = carried.id.hyphenated().encode_lower(&mut buffer);
        tell(names::MESSAGING_ID, Text(id));
        tell(names::EVENT_ID, Text(id));
        tell(names::EVENT_TYPE, Text(carried.event_type.as_str()));
        tell(names::AGGREGATE_ID, Text(carried.stream.id()));
        tell(names::AGGREGATE_TYPE, Text(carried.stream.category()));
        tell(names::STREAM, Text(carried.stream.as_str()));
        if let Some(tenant) = &carried.tenant {
            tell(names::TENANT, Text(tenant));
        }
        if let Some(correlation) = &carried.correlation {
            tell(names::MESSAGING_CONVERSATION, Text(correlation));
        }
        if old {
            tell("messaging.message_id", Text(id));
        }
        if is("kafka") {
            tell(names::MESSAGING_KAFKA_KEY, Text(carried.stream.as_str()));
        }
        if is("rabbitmq") {
            let key = format!("{}.{}", carried.stream.category(), carried.event_type);
            tell(names::MESSAGING_RABBITMQ_KEY, Text(&key));
            if old {
                tell("messaging.rabbitmq.routing_key", Text(&key));
            }
        }
    }
    if let Some((partition, offset)) = span.place {
        if is("kafka") || is("memory") {
            tell(names::MESSAGING_PARTITION, Text(&partition.to_string()));
        }
        match offset {
            Offset::Number(offset) if is("kafka") => {
                tell(names::MESSAGING_KAFKA_OFFSET, Number(offset));
                if old {
                    tell("messaging.kafka.partition", Number(partition.0.into()));
                    tell("messaging.kafka.message.offset", Number(offset));
                }
            }
            Offset::Number(tag) if is("rabbitmq") => tell(names::MESSAGING_RABBITMQ_TAG, Number(tag)),
            _ => {}
        }
    }
    if let Some((kind, _)) = span.failure {
        tell(names::ERROR_TYPE, Text(kind));
        tell(names::EVENTSOURCE_ERROR_TYPE, Text(kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_keys_are_asked_for_by_a_word_of_their_own() {
        for (text, both) in [
            (None, false),
            (Some("messaging"), false),
            (Some("messaging/dup"), true),
            (Some("http, messaging/dup"), true),
            (Some("messaging/duplicate"), false),
        ] {
            assert_eq!(has_old_keys(text), both, "{text:?}");
        }
    }
}
