//! Tests of aggregates: given events, when a command, then events or a rejection.

use crate::{BEGIN, Sample, diff, switch};
use lantern_guest::bindings::aggregate::exports::lantern::module::aggregates::{self, Refusal, Rejection};
use lantern_guest::bindings::lantern::module::types::{self, Payload};
use lantern_guest::exports::{AggregateModule, Loaded};
use lantern_guest::{Aggregate, Time};
use serde::Serialize;
use serde_json::{Value, json};
use std::marker::PhantomData;

/// An aggregate that a test can run.
pub(crate) trait Decider {
    /// Folds an event into the state.
    fn evolve(&mut self, event: &Sample, schema_version: u32, version: u64, time: Time) -> Result<(), String>;

    /// Decides on a command.
    fn decide(&mut self, command: &Sample, time: Time) -> Result<Vec<Sample>, Rejection>;

    /// The state.
    fn state(&mut self) -> Value;
}

/// A test of an aggregate. Its stream is its name and `1`, for example `Order-1`.
pub fn aggregate<A: Aggregate + 'static>() -> AggregateTest {
    AggregateTest { decider: decider::<A>(), versions: A::SCHEMA_VERSIONS, time: BEGIN, version: 0 }
}

#[track_caller]
fn decider<A: Aggregate + 'static>() -> Box<dyn Decider> {
    match switch::component() {
        #[cfg(feature = "component")]
        Some(path) => Box::new(crate::component::decider(&path, &stream::<A>())),
        _ => Box::new(Native { stream: stream::<A>(), loaded: Loaded::<Tested<A>>::empty(stream::<A>()) }),
    }
}

fn stream<A: Aggregate>() -> String {
    format!("{}-1", A::NAME)
}

/// What is given before a command.
#[must_use = "nothing happens before `when`"]
pub struct AggregateTest {
    decider: Box<dyn Decider>,
    versions: &'static [(&'static str, u32)],
    time: Time,
    version: u64,
}

impl AggregateTest {
    /// What follows happens at this time, as in `2026-03-02T09:15:00Z`; before, it is 2026-01-01T00:00:00Z.
    #[track_caller]
    pub fn at(mut self, time: &str) -> Self {
        self.time = time.parse().unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// These events have happened.
    #[track_caller]
    pub fn given<S: Into<Sample>>(mut self, events: impl IntoIterator<Item = S>) -> Self {
        for event in events {
            self.evolve(&event.into());
        }
        self
    }

    /// A command comes. The events decided on happen, so that the next command finds them.
    #[must_use = "nothing is checked before `then_…`"]
    #[track_caller]
    pub fn when(mut self, command: impl Into<Sample>) -> Decided {
        let result = self.decider.decide(&command.into(), self.time);
        for event in result.iter().flatten() {
            self.evolve(event);
        }
        Decided { test: self, result }
    }

    #[track_caller]
    fn evolve(&mut self, event: &Sample) {
        self.version += 1;
        let evolved = self.decider.evolve(event, event.resolved(self.versions), self.version, self.time);
        if let Err(reason) = evolved {
            panic!("the event {} does not fit: {reason}", event.name);
        }
    }
}

/// What came of a command.
pub struct Decided {
    test: AggregateTest,
    result: Result<Vec<Sample>, Rejection>,
}

impl Decided {
    /// Another command comes afterwards.
    #[must_use = "nothing is checked before `then_…`"]
    #[track_caller]
    pub fn when(self, command: impl Into<Sample>) -> Self {
        self.test.when(command)
    }

    /// These events happen, in this order, and no others.
    #[track_caller]
    pub fn then<S: Into<Sample>>(self, expected: impl IntoIterator<Item = S>) -> Self {
        let versions = self.test.versions;
        let expected = expected.into_iter().map(|event| event.into().shown(versions)).collect();
        let actual = match &self.result {
            Ok(events) => events.iter().map(|event| event.shown(versions)).collect(),
            Err(rejection) => shown(rejection),
        };
        diff::check("the events decided on", &expected, &actual);
        self
    }

    /// There is nothing to do.
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then::<Sample>([])
    }

    /// The command is rejected with this code.
    #[track_caller]
    pub fn then_rejected(self, code: &str) -> Self {
        let actual = match &self.result {
            Ok(events) => events.iter().map(|event| event.shown(self.test.versions)).collect(),
            Err(rejection) if rejection.code == code => return self,
            Err(rejection) => shown(rejection),
        };
        diff::check("the rejection", &json!({ "rejected": code }), &actual);
        self
    }

    /// The command is rejected with these details.
    #[track_caller]
    pub fn then_details(self, expected: impl Serialize) -> Self {
        let details = self.result.as_ref().err().and_then(|rejection| rejection.details.as_deref());
        let actual = details.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
        diff::check("the details of the rejection", &json!(expected), &actual);
        self
    }

    /// The state is this now.
    #[track_caller]
    pub fn then_state(mut self, expected: impl Serialize) -> Self {
        let actual = self.test.decider.state();
        diff::check("the state", &json!(expected), &actual);
        self
    }
}

fn shown(rejection: &Rejection) -> Value {
    json!({ "rejected": rejection.code, "message": rejection.message, "details": rejection.details })
}

/// An aggregate as a module without a version.
struct Tested<A>(PhantomData<A>);

impl<A: Aggregate + 'static> AggregateModule for Tested<A> {
    type Aggregate = A;

    const VERSION: &'static str = "0.0.0";
}

/// An aggregate in this process.
struct Native<A: Aggregate + 'static> {
    stream: String,
    loaded: Loaded<Tested<A>>,
}

impl<A: Aggregate + 'static> Decider for Native<A> {
    fn evolve(&mut self, event: &Sample, schema_version: u32, version: u64, time: Time) -> Result<(), String> {
        let event = types::Event {
            id_high: 0,
            id_low: version,
            event_type: event.name.clone(),
            schema_version,
            stream: self.stream.clone(),
            version,
            position: version,
            time: time.nanoseconds(),
            content_type: None,
            data: Payload::Json(event.data.to_string()),
            metadata: event.metadata.clone(),
        };
        self.loaded.fold(vec![event])
    }

    fn decide(&mut self, command: &Sample, time: Time) -> Result<Vec<Sample>, Rejection> {
        // As on the host, which may have thrown the aggregate away meanwhile: the state has to survive a snapshot.
        let restored = Loaded::<Tested<A>>::restored(self.stream.clone(), &self.loaded.state());
        self.loaded = restored.unwrap_or_else(|reason| panic!("{reason}"));
        let command = aggregates::Command {
            id_high: 0,
            id_low: 1,
            command_type: command.name.clone(),
            time: time.nanoseconds(),
            content_type: None,
            data: Payload::Json(command.data.to_string()),
            metadata: command.metadata.clone(),
        };
        let context = types::TraceContext { trace_id_high: 0, trace_id_low: 1, span_id: 1, flags: 1, state: None };
        match self.loaded.answer(context, Vec::new(), command) {
            Ok(events) => Ok(events.into_iter().map(Sample::asked).collect()),
            Err(Refusal::Rejected(rejection)) => Err(rejection),
            Err(Refusal::Unfolded(reason)) => panic!("{reason}"),
        }
    }

    fn state(&mut self) -> Value {
        serde_json::from_slice(&self.loaded.state()).unwrap_or(Value::Null)
    }
}
