//! What handlers ask for beyond documents: made ready for the log, the buses and their schedules, and put into the log.

use std::sync::Arc;

use lantern_core::{
    Append, Clock, Draft, Effect, Effects, Emission, Event, EventId, Expected, Log, Message, Metadata, Name, NewEvent,
    Publication, Published, ScheduleChange, Scheduled, StreamName, Timer, TraceContext, effect_id,
    log::AppendError,
    module::{Failure, FailureKind},
};

use crate::messages::{self, Oversized, Post};

/// How many events are appended at once, and how many one call may emit. The events of one call are never divided.
const MOST_AT_ONCE: usize = 4_000;

/// How many bytes an event is counted with beside its data and names: ids, times, trace.
const OVERHEAD: usize = 200;

/// The events one call emitted, or one event that came due: all of them are appended, or none.
pub(crate) type Group = Vec<Append>;

/// What leaves with a batch, before it commits.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// The events its calls emitted, call by call; calls that emitted none are left out.
    pub(crate) emitted: Vec<Group>,
    /// The messages they published.
    pub(crate) posts: Vec<Post>,
}

/// What the calls of a batch asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// What they sent out.
    pub(crate) outbound: Outbound,
    /// Changes to schedules, in order.
    pub(crate) schedules: Vec<ScheduleChange>,
    /// How many bytes all of it takes, about.
    pub(crate) bytes: usize,
}

/// Gives what a handler asks for its identity and its metadata.
pub(crate) struct Emitter {
    handler: Name,
    /// The source of its events: `/handlers/NAME`.
    source: Arc<str>,
    clock: Arc<dyn Clock>,
    oversized: Arc<Oversized>,
}

impl Emitter {
    pub(crate) fn new(handler: Name, clock: Arc<dyn Clock>, oversized: Arc<Oversized>) -> Self {
        let source = format!("/handlers/{handler}").into();
        Self { handler, source, clock, oversized }
    }

    /// Why what the handler asks for at an event cannot be done, as far as that is known.
    pub(crate) fn refusal(&self, event: &Event, effects: &Effects) -> Option<Failure> {
        if effects.published.is_empty() {
            return None;
        }
        let ids = effects.published.iter().enumerate().map(|(index, published)| match published.content {
            Published::Source => event.id,
            Published::Draft(_) => effect_id(&self.handler, event.id, Effect::Published, index),
        });
        self.oversized.failure(ids)
    }

    /// Takes up what the handler asks for at an event. `trace` is the span of the call.
    pub(crate) fn take(
        &self,
        event: &Event,
        (emitted, timers, published): (Vec<Emission>, Vec<Timer>, Vec<Publication>),
        trace: Option<TraceContext>,
        asked: &mut Asked,
    ) {
        let metadata = self.metadata(event, trace);
        let id = |effect, index| effect_id(&self.handler, event.id, effect, index);
        let mut group = Group::with_capacity(emitted.len());
        for (index, Emission { stream, event: draft }) in emitted.into_iter().enumerate() {
            asked.bytes += weight(&stream, &draft);
            let event = self.event(id(Effect::Emitted, index), draft, &metadata);
            match group.last_mut() {
                Some(append) if append.stream == stream => append.events.push(event),
                _ => group.push(append(stream, event)),
            }
        }
        if !group.is_empty() {
            asked.outbound.emitted.push(group);
        }
        for (index, timer) in timers.into_iter().enumerate() {
            let change = match timer {
                Timer::Cancel { key } => ScheduleChange::Cancel(key),
                Timer::Set { key, due, emission: Emission { stream, event: draft } } => {
                    asked.bytes += weight(&stream, &draft);
                    let event = self.event(id(Effect::Scheduled, index), draft, &metadata);
                    ScheduleChange::Set(Box::new(Scheduled { key, due, stream, event }))
                }
            };
            asked.bytes += OVERHEAD;
            asked.schedules.push(change);
        }
        for (index, Publication { bus, destination, content }) in published.into_iter().enumerate() {
            let (from_log, message) = match content {
                Published::Source => {
                    asked.bytes += OVERHEAD + event.data.as_bytes().len();
                    (true, messages::as_it_is(event))
                }
                Published::Draft(Emission { stream, event: draft }) => {
                    asked.bytes += weight(&stream, &draft);
                    let event = self.event(id(Effect::Published, index), draft, &metadata);
                    (false, Message { stream, event })
                }
            };
            messages::push(&mut asked.outbound.posts, bus, destination, from_log, message);
        }
    }

    fn event(&self, id: EventId, draft: Draft, metadata: &Metadata) -> NewEvent {
        let Draft { event_type, schema_version, data, extra } = draft;
        let metadata = Metadata { extra, ..metadata.clone() };
        NewEvent { id, event_type, schema_version, time: self.clock.now(), data, metadata }
    }

    /// What travels with everything a handler asks for at an event.
    fn metadata(&self, event: &Event, trace: Option<TraceContext>) -> Metadata {
        let cause: Arc<str> = event.id.to_string().into();
        let of = &event.metadata;
        Metadata {
            source: Some(self.source.clone()),
            correlation_id: of.correlation_id.clone().or_else(|| Some(cause.clone())),
            causation_id: Some(cause),
            tenant: of.tenant.clone(),
            actor: of.actor.clone(),
            trace: trace.or_else(|| of.trace.clone()),
            extra: None,
        }
    }
}

/// Refuses what asks for more events than one append takes, or for as many messages.
pub(crate) fn bounded(effects: Effects) -> Result<Effects, Failure> {
    let told = |what| {
        let message = format!("it {what} in one call: at most {MOST_AT_ONCE} are allowed");
        Err(Failure::new(FailureKind::Limit, message))
    };
    match (effects.emitted.len(), effects.published.len()) {
        (events, _) if events > MOST_AT_ONCE => told(format!("emitted {events} events")),
        (_, messages) if messages > MOST_AT_ONCE => told(format!("published {messages} messages")),
        _ => Ok(effects),
    }
}

/// One event for a stream.
pub(crate) fn append(stream: StreamName, event: NewEvent) -> Append {
    Append { stream, expected: Expected::Any, events: vec![event] }
}

fn weight(stream: &StreamName, draft: &Draft) -> usize {
    OVERHEAD + stream.as_str().len() + draft.event_type.as_str().len() + draft.data.as_bytes().len()
}

/// Appends groups in order and says how many events they have, those left out that are in the log with other content.
/// Done again it has no further effect: the ids are known.
pub(crate) async fn emit(log: &dyn Log, groups: &[Group]) -> Result<u64, AppendError> {
    let (mut rest, mut emitted) = (groups, 0);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(fitting(rest));
        emitted += match appended(log, now).await {
            Err(AppendError::DuplicateEvent { .. }) => emit_apart(log, now).await?,
            result => result?,
        };
        rest = later;
    }
    Ok(emitted)
}

/// Appends groups one by one. One that is in the log with other content was emitted before, by another module or at
/// another time: what is there stays as it is.
async fn emit_apart(log: &dyn Log, groups: &[Group]) -> Result<u64, AppendError> {
    let mut emitted = 0;
    for group in groups {
        emitted += match appended(log, std::slice::from_ref(group)).await {
            Err(AppendError::DuplicateEvent { .. }) => 0,
            result => result?,
        };
    }
    Ok(emitted)
}

async fn appended(log: &dyn Log, groups: &[Group]) -> Result<u64, AppendError> {
    let places = log.append(groups.iter().flatten().cloned().collect()).await?;
    Ok(places.len() as u64)
}

/// How many of some groups fit into one append; the first one always does.
fn fitting(groups: &[Group]) -> usize {
    let mut events = 0;
    let fits = |group: &&Group| {
        events += group.iter().map(|append| append.events.len()).sum::<usize>();
        events <= MOST_AT_ONCE
    };
    groups.iter().take_while(fits).count().max(1)
}
