//! A model of the log, as simple as its promises can be said, and random scripts that a log and its model must agree on.

use lantern_core::{
    Append, Appended, Event, EventId, EventType, Expected, Filter, Log, Metadata, NewEvent, Page, Payload, Position,
    StreamName, Timestamp, Version,
    log::{AppendError, Direction, Range},
};
use proptest::{collection::vec, prelude::*};

/// A step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Append(Vec<Append>),
    Read { after: u64, filter: Filter, limit: usize },
    ReadBackward { before: u64, filter: Filter, limit: usize },
    ReadStream { stream: StreamName, range: Range },
}

/// Scripts with so few names and ids that they often meet.
pub(crate) fn scripts() -> impl Strategy<Value = Vec<Step>> {
    let read = || (0..40_u64, filters(), 1..8_usize);
    let append = vec(appends(), 1..3).prop_map(Step::Append);
    let forward = read().prop_map(|(after, filter, limit)| Step::Read { after, filter, limit });
    let backward = read().prop_map(|(before, filter, limit)| Step::ReadBackward { before, filter, limit });
    let range = (0..8_u64, 0..8_u64, any::<bool>(), 0..8_usize).prop_map(|(from, to, forward, limit)| Range {
        from: Version(from),
        to: Version(to),
        direction: if forward { Direction::Forward } else { Direction::Backward },
        limit,
    });
    let stream = (streams(), range).prop_map(|(stream, range)| Step::ReadStream { stream, range });
    vec(prop_oneof![5 => append, 1 => forward, 1 => backward, 1 => stream], 1..30)
}

fn streams() -> impl Strategy<Value = StreamName> {
    proptest::sample::select(vec!["A-1", "A-2", "B-1"]).prop_map(|name| StreamName::new(name).unwrap())
}

fn appends() -> impl Strategy<Value = Append> {
    let expected = prop_oneof![
        6 => Just(Expected::Any),
        1 => Just(Expected::NoStream),
        1 => Just(Expected::StreamExists),
        3 => (0..4_u64).prop_map(|version| Expected::Exact(Version(version))),
    ];
    (streams(), expected, vec(events(), 1..4)).prop_map(|(stream, expected, events)| Append {
        stream,
        expected,
        events,
    })
}

fn events() -> impl Strategy<Value = NewEvent> {
    let names = proptest::sample::select(vec!["One", "One", "One", "Two"]);
    let tenant = proptest::option::of(proptest::sample::select(vec!["acme", "globex"]));
    (0..60_u128, names, tenant, any::<i64>()).prop_map(|(id, name, tenant, time)| NewEvent {
        id: EventId::from_u128(id),
        event_type: EventType::new(name).unwrap(),
        schema_version: 1,
        time: Timestamp(time),
        data: Payload::Json("{}".into()),
        metadata: Metadata { tenant: tenant.map(Into::into), ..Metadata::default() },
    })
}

fn filters() -> impl Strategy<Value = Filter> {
    let some = |names: &[&'static str]| {
        proptest::sample::subsequence(names.to_vec(), 0..=names.len())
            .prop_map(|names| names.into_iter().map(String::from).collect())
    };
    (some(&["A", "B"]), some(&["One", "Two"]), some(&["acme"])).prop_map(|(categories, event_types, tenants)| Filter {
        categories,
        event_types,
        tenants,
    })
}

/// Runs a script against an empty log.
pub(crate) async fn agree(log: &dyn Log, script: Vec<Step>) {
    let mut model = Vec::new();
    for step in script {
        match step {
            Step::Append(appends) => {
                let told = append(&mut model, &appends);
                assert_eq!(log.append(appends).await, told);
            }
            Step::Read { after, filter, limit } => {
                let wanted = page(model.iter().filter(|event| event.position.0 > after), after, &filter, limit);
                assert_eq!(log.read(Position(after), &filter, limit).await, Ok(wanted));
            }
            Step::ReadBackward { before, filter, limit } => {
                let earlier = model.iter().rev().filter(|event| event.position.0 < before);
                let wanted = page(earlier, before, &filter, limit);
                assert_eq!(log.read_backward(Position(before), &filter, limit).await, Ok(wanted));
            }
            Step::ReadStream { stream, range } => {
                let fits = |event: &&Event| event.stream == stream && (range.from..=range.to).contains(&event.version);
                let mut wanted: Vec<Event> = model.iter().filter(fits).cloned().collect();
                if range.direction == Direction::Backward {
                    wanted.reverse();
                }
                wanted.truncate(range.limit);
                assert_eq!(log.read_stream(&stream, range).await, Ok(wanted));
            }
        }
    }
    let all = page(model.iter(), 0, &Filter::all(), usize::MAX);
    assert_eq!(log.read(Position::START, &Filter::all(), usize::MAX).await, Ok(all));
}

/// What an append does, said step by step.
fn append(model: &mut Vec<Event>, appends: &[Append]) -> Result<Vec<Appended>, AppendError> {
    let all: Vec<_> =
        appends.iter().flat_map(|append| append.events.iter().map(|event| (&append.stream, event))).collect();
    let find = |events: &[Event], id| events.iter().find(|event| event.id == id).cloned();
    for (stream, event) in &all {
        if let Some(there) = find(model, event.id).filter(|there| !same(there, stream, event)) {
            return Err(AppendError::DuplicateEvent { id: event.id, position: there.position });
        }
    }
    if all.iter().all(|(_, event)| find(model, event.id).is_some()) {
        return Ok(all.iter().filter_map(|(_, event)| find(model, event.id)).map(|there| place(&there)).collect());
    }
    let (mut trial, mut places) = (model.clone(), Vec::new());
    for Append { stream, expected, events } in appends {
        let version = |trial: &[Event]| Version(trial.iter().filter(|event| event.stream == *stream).count() as u64);
        let actual = version(&trial);
        if !expected.fits(actual) {
            return Err(AppendError::WrongExpectedVersion { stream: stream.clone(), expected: *expected, actual });
        }
        for event in events {
            let there = match find(&trial, event.id) {
                Some(there) if *expected == Expected::Any && same(&there, stream, event) => there,
                Some(there) => return Err(AppendError::DuplicateEvent { id: event.id, position: there.position }),
                None => {
                    trial.push(Event {
                        id: event.id,
                        event_type: event.event_type.clone(),
                        schema_version: event.schema_version,
                        stream: stream.clone(),
                        version: version(&trial).next(),
                        position: Position(trial.len() as u64 + 1),
                        time: event.time,
                        data: event.data.clone(),
                        metadata: event.metadata.clone(),
                    });
                    trial[trial.len() - 1].clone()
                }
            };
            places.push(place(&there));
        }
    }
    *model = trial;
    Ok(places)
}

fn same(there: &Event, stream: &StreamName, event: &NewEvent) -> bool {
    let parts = (&there.stream, &there.event_type, there.schema_version, &there.data);
    parts == (stream, &event.event_type, event.schema_version, &event.data)
}

fn place(event: &Event) -> Appended {
    Appended { id: event.id, version: event.version, position: event.position }
}

/// The events that fit, up to the limit; the page ends at the last of them when that is reached, otherwise where the
/// events do.
fn page<'a>(events: impl Iterator<Item = &'a Event>, start: u64, filter: &Filter, limit: usize) -> Page {
    let mut page = Page { events: Vec::new(), end: Position(start) };
    for event in events {
        if page.events.len() == limit {
            break;
        }
        page.end = event.position;
        page.events.extend(filter.fits(event).then(|| event.clone()));
    }
    page
}
