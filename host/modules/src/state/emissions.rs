//! The events a handler asks for, now and later, and the messages it publishes: kept until the call succeeds.

use std::sync::Arc;

use lantern_core::{
    Destination, Emission, Grants, Publication, Published, StreamName, Timer, Timestamp,
    bus::Form,
    documents::MAX_KEY,
    module::{Failure, FailureKind},
};

use super::{Handed, Room, shown};

/// How many events one call may emit, how many changes to schedules it may ask for, and how many messages it may publish.
const MOST: usize = 1_000;

/// The events a handler asks for. Outside of a call for an event it may not ask for any.
#[derive(Default)]
pub(crate) struct Emissions {
    is_open: bool,
    emitted: Vec<Emission>,
    timers: Vec<Timer>,
    published: Vec<Publication>,
}

impl Emissions {
    /// Begins a call for an event.
    pub(crate) fn begin(&mut self) {
        self.is_open = true;
    }

    /// Ends the call and takes what it asked for.
    pub(crate) fn end(&mut self) -> (Vec<Emission>, Vec<Timer>, Vec<Publication>) {
        self.is_open = false;
        let Self { emitted, timers, published, .. } = self;
        (std::mem::take(emitted), std::mem::take(timers), std::mem::take(published))
    }

    /// Asks for an event.
    pub(crate) fn emit(&mut self, room: &mut Room, stream: Arc<str>, event: Handed) -> Result<(), Failure> {
        self.check(self.emitted.len(), "events")?;
        let emission = emission(room, stream, event)?;
        self.emitted.push(emission);
        Ok(())
    }

    /// Asks for an event at a time, in place of what was asked for under the key before.
    pub(crate) fn set(
        &mut self,
        room: &mut Room,
        key: Arc<str>,
        due: Timestamp,
        stream: Arc<str>,
        event: Handed,
    ) -> Result<(), Failure> {
        self.charge_key(room, &key)?;
        let emission = emission(room, stream, event)?;
        self.timers.push(Timer::Set { key, due, emission });
        Ok(())
    }

    /// Takes back what was asked for under a key.
    pub(crate) fn cancel(&mut self, room: &mut Room, key: Arc<str>) -> Result<(), Failure> {
        self.charge_key(room, &key)?;
        self.timers.push(Timer::Cancel { key });
        Ok(())
    }

    /// Publishes an event to a topic of a bus, if that is granted.
    pub(crate) fn publish(
        &mut self,
        room: &mut Room,
        grants: &Grants,
        (bus, topic): (Arc<str>, Arc<str>),
        stream: Arc<str>,
        event: Handed,
    ) -> Result<(), Failure> {
        self.check(self.published.len(), "messages")?;
        let Some(granted) = grants.topic(&bus, &topic) else {
            let (bus, topic) = (shown(&bus), shown(&topic));
            return Err(limit(format!(
                "the module publishes to `{bus}/{topic}`, which is not granted: deploy it with `--grant \
                 publish={bus}/{topic}`"
            )));
        };
        room.take(topic.len()).map_err(|most| too_much(&format!("the message to `{}`", shown(&topic)), most))?;
        let content = Published::Draft(emission(room, stream, event)?);
        let destination = Destination { topic, form: Form::Binary };
        self.published.push(Publication { bus: granted.bus.clone(), destination, content });
        Ok(())
    }

    fn charge_key(&self, room: &mut Room, key: &str) -> Result<(), Failure> {
        self.check(self.timers.len(), "changes to schedules")?;
        if key.is_empty() || key.len() > MAX_KEY {
            let (key, length) = (shown(key), key.len());
            return Err(limit(format!("the key `{key}` of a schedule has {length} bytes: 1 to {MAX_KEY} are allowed")));
        }
        room.take(key.len()).map_err(|most| too_much(&format!("the schedule `{}`", shown(key)), most))
    }

    fn check(&self, count: usize, what: &str) -> Result<(), Failure> {
        if !self.is_open {
            return Err(limit("the module asked for an event without one in hand: only `handle` may".into()));
        }
        if count == MOST {
            return Err(limit(format!("the module asked for more than {MOST} {what} in one call")));
        }
        Ok(())
    }
}

fn emission(room: &mut Room, stream: Arc<str>, event: Handed) -> Result<Emission, Failure> {
    room.take(stream.len() + event.size())
        .map_err(|most| too_much(&format!("the event `{}`", shown(&event.event_type)), most))?;
    let stream = StreamName::new(stream).map_err(|error| limit(format!("the module asked for an event: {error}")))?;
    let event =
        event.check().map_err(|reason| limit(format!("the module asked for an event of `{stream}`: {reason}")))?;
    Ok(Emission { stream, event })
}

fn too_much(what: &str, most: u64) -> Failure {
    limit(format!("with {what} the call hands over more than {most} bytes (`host_call_bytes`)"))
}

fn limit(message: String) -> Failure {
    Failure::new(FailureKind::Limit, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Content;

    fn event(data: &str) -> Handed {
        let content = Content::Json(data.into());
        Handed { event_type: "A".into(), schema_version: 1, content_type: None, content, metadata: Vec::new() }
    }

    fn open() -> (Emissions, Room) {
        let mut emissions = Emissions::default();
        emissions.begin();
        (emissions, Room::new(10_000))
    }

    #[test]
    fn what_is_asked_for_comes_out_in_order() {
        let (mut emissions, mut room) = open();
        emissions.emit(&mut room, "Order-1".into(), event("1")).unwrap();
        emissions.set(&mut room, "k".into(), Timestamp(7), "Order-2".into(), event("2")).unwrap();
        emissions.emit(&mut room, "Order-3".into(), event("3")).unwrap();
        emissions.cancel(&mut room, "k".into()).unwrap();
        let (emitted, timers, _) = emissions.end();
        assert_eq!(emitted.iter().map(|emission| emission.stream.as_str()).collect::<Vec<_>>(), ["Order-1", "Order-3"]);
        let [Timer::Set { key, due: Timestamp(7), emission }, Timer::Cancel { key: cancelled }] = &timers[..] else {
            panic!("two timers: {timers:?}")
        };
        assert_eq!((&**key, emission.stream.as_str(), &**cancelled), ("k", "Order-2", "k"));
        emissions.begin();
        assert_eq!(emissions.end(), (Vec::new(), Vec::new(), Vec::new()), "the next call begins anew");
    }

    #[test]
    fn only_a_topic_that_is_granted_is_published_to() {
        let (mut emissions, mut room) = open();
        let grants = Grants { publish: vec!["main/orders".parse().unwrap()], ..Grants::default() };
        let mut publish = |bus: &str, topic: &str| {
            emissions.publish(&mut room, &grants, (bus.into(), topic.into()), "Order-1".into(), event("1"))
        };
        publish("main", "orders").unwrap();
        for (bus, topic) in [("main", "other"), ("other", "orders"), ("main", "")] {
            let refused = publish(bus, topic).unwrap_err();
            assert!(refused.message.contains(&format!("`--grant publish={bus}/{topic}`")), "{refused}");
        }
        let (_, _, published) = emissions.end();
        let [Publication { bus, destination, content: Published::Draft(emission) }] = &published[..] else {
            panic!("one message: {published:?}")
        };
        assert_eq!((bus.as_str(), &*destination.topic, emission.stream.as_str()), ("main", "orders", "Order-1"));
    }

    #[test]
    fn outside_of_a_call_nothing_is_asked_for() {
        let (mut emissions, mut room) = open();
        emissions.end();
        let refused = emissions.emit(&mut room, "Order-1".into(), event("1")).unwrap_err();
        assert!(refused.message.contains("only `handle` may"), "{refused}");
        assert!(emissions.cancel(&mut room, "k".into()).is_err());
    }

    #[test]
    fn rules_are_named() {
        let (mut emissions, mut room) = open();
        let refused = emissions.emit(&mut room, "Order".into(), event("1")).unwrap_err();
        assert!(refused.message.contains("`Order` is no stream name"), "{refused}");
        let refused = emissions.emit(&mut room, "Order-1".into(), event("{")).unwrap_err();
        assert!(refused.message.contains("`Order-1`") && refused.message.contains("no JSON"), "{refused}");
        for key in ["", &"k".repeat(MAX_KEY + 1)] {
            let refused = emissions.cancel(&mut room, key.into()).unwrap_err();
            assert!(refused.message.contains("1 to 1024"), "{refused}");
        }
        let refused = emissions.emit(&mut room, "Order-1".into(), event(&"1".repeat(10_000))).unwrap_err();
        assert!(refused.message.contains("`host_call_bytes`"), "{refused}");
        assert_eq!(refused.kind, FailureKind::Limit);
    }

    #[test]
    fn so_many_and_no_more() {
        let (mut emissions, mut room) = (open().0, Room::new(u64::MAX));
        for _ in 0..MOST {
            emissions.emit(&mut room, "Order-1".into(), event("1")).unwrap();
            emissions.cancel(&mut room, "k".into()).unwrap();
        }
        let refused = emissions.emit(&mut room, "Order-1".into(), event("1")).unwrap_err();
        assert!(refused.message.contains("more than 1000 events"), "{refused}");
        assert!(emissions.cancel(&mut room, "k".into()).unwrap_err().message.contains("changes to schedules"));
    }
}
