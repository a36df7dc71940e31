//! What a module decided becomes events: with ids that follow from the command's, and what travels with it.

use std::{collections::BTreeMap, sync::Arc};

use lantern_core::{
    Command, Draft, Event, Metadata, NewEvent, StreamName, Timestamp, TraceContext, command_event_id, log::Appended,
};

/// Makes events of drafts. `source` is where they come from unless the command says so.
pub(crate) fn events(
    command: &Command,
    drafts: Vec<Draft>,
    trace: Option<TraceContext>,
    source: &Arc<str>,
    time: Timestamp,
) -> Vec<NewEvent> {
    let sent = &command.metadata;
    let id: Arc<str> = command.id.to_string().into();
    let common = Metadata {
        source: Some(sent.source.as_ref().unwrap_or(source).clone()),
        correlation_id: Some(sent.correlation_id.as_ref().unwrap_or(&id).clone()),
        causation_id: Some(id),
        tenant: sent.tenant.clone(),
        actor: sent.actor.clone(),
        trace: trace.or_else(|| sent.trace.clone()),
        extra: None,
    };
    let event = |(index, draft): (usize, Draft)| NewEvent {
        id: command_event_id(command.id, index),
        event_type: draft.event_type,
        schema_version: draft.schema_version,
        time,
        data: draft.data,
        metadata: Metadata { extra: merged(sent.extra.as_ref(), draft.extra), ..common.clone() },
    };
    drafts.into_iter().enumerate().map(event).collect()
}

/// The pairs of the command and those of the draft, which count more.
fn merged(
    sent: Option<&Arc<BTreeMap<String, String>>>,
    own: Option<Arc<BTreeMap<String, String>>>,
) -> Option<Arc<BTreeMap<String, String>>> {
    let (Some(sent), Some(own)) = (sent, &own) else { return own.or_else(|| sent.cloned()) };
    let pairs = sent.iter().chain(own.iter()).map(|(key, value)| (key.clone(), value.clone()));
    Some(Arc::new(pairs.collect()))
}

/// The events as they now are in the log.
pub(crate) fn recorded(stream: &StreamName, events: Vec<NewEvent>, places: &[Appended]) -> Vec<Event> {
    let event = |(event, place): (NewEvent, &Appended)| Event {
        id: event.id,
        event_type: event.event_type,
        schema_version: event.schema_version,
        stream: stream.clone(),
        version: place.version,
        position: place.position,
        time: event.time,
        data: event.data,
        metadata: event.metadata,
    };
    events.into_iter().zip(places).map(event).collect()
}

#[cfg(test)]
mod tests {
    use lantern_core::{EventType, Payload};
    use uuid::Uuid;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Option<Arc<BTreeMap<String, String>>> {
        Some(Arc::new(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()))
    }

    fn made(metadata: Metadata, trace: Option<TraceContext>) -> Vec<NewEvent> {
        let command = Command {
            id: Uuid::from_u128(7),
            stream: "Order-1".parse().unwrap(),
            command_type: EventType::new("Place").unwrap(),
            data: Payload::Json("{}".into()),
            received_at: Timestamp(1),
            metadata,
        };
        let draft = |extra| Draft {
            event_type: EventType::new("Placed").unwrap(),
            schema_version: 2,
            data: Payload::Json("1".into()),
            extra,
        };
        let drafts = vec![draft(None), draft(pairs(&[("a", "own"), ("c", "3")]))];
        events(&command, drafts, trace, &"/aggregates/Order".into(), Timestamp(5))
    }

    #[test]
    fn what_the_command_does_not_say_follows_from_it() {
        let events = made(Metadata::default(), None);
        let id: Arc<str> = Uuid::from_u128(7).to_string().into();
        assert_eq!(events[1].id, command_event_id(Uuid::from_u128(7), 1));
        assert_eq!((events[0].schema_version, events[0].time), (2, Timestamp(5)));
        let metadata = &events[0].metadata;
        assert_eq!((&metadata.correlation_id, &metadata.causation_id), (&Some(id.clone()), &Some(id)));
        assert_eq!(metadata.source.as_deref(), Some("/aggregates/Order"));
        assert_eq!((&metadata.extra, &metadata.trace), (&None, &None));
    }

    #[test]
    fn what_the_command_says_travels_on() {
        let trace = |span_id| TraceContext { trace_id: 1, span_id, flags: 1, state: None };
        let sent = Metadata {
            source: Some("/shop".into()),
            correlation_id: Some("c".into()),
            causation_id: Some("not this one".into()),
            tenant: Some("t".into()),
            actor: Some("a".into()),
            trace: Some(trace(2)),
            extra: pairs(&[("a", "sent"), ("b", "2")]),
        };
        let events = made(sent.clone(), None);
        let id: Arc<str> = Uuid::from_u128(7).to_string().into();
        assert_eq!(events[0].metadata, Metadata { causation_id: Some(id), ..sent.clone() });
        assert_eq!(events[1].metadata.extra, pairs(&[("a", "own"), ("b", "2"), ("c", "3")]));
        assert_eq!(made(sent, Some(trace(3)))[0].metadata.trace, Some(trace(3)), "the span of the decision");
    }
}
