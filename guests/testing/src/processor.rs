//! Tests of projections and handlers: given documents and events, when an event, then documents and effects.

use crate::effects::Effects;
use crate::native::{Answer, Native, Processor, Setup};
use crate::{BEGIN, Sample, diff, switch};
use lantern_guest::http::Request;
use lantern_guest::testing::TestHost;
use lantern_guest::{Failure, Handler, Projection, Time};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A test of a projection.
pub fn projection<P: Projection + 'static>() -> ProcessorTest {
    ProcessorTest::new(P::SCHEMA_VERSIONS, "projection", |setup| Box::new(Native::new(TestHost::<P>::new(), setup)))
}

/// A test of a handler.
pub fn handler<H: Handler + 'static>() -> ProcessorTest {
    ProcessorTest::new(H::SCHEMA_VERSIONS, "handler", |setup| Box::new(Native::new(TestHost::<H>::handler(), setup)))
}

/// What is given before something happens.
#[must_use = "nothing happens before `when`"]
pub struct ProcessorTest {
    versions: &'static [(&'static str, u32)],
    #[cfg_attr(not(feature = "component"), allow(dead_code, reason = "only a component has to be told"))]
    kind: &'static str,
    native: fn(&Setup) -> Box<dyn Processor>,
    setup: Setup,
    given: Vec<Given>,
    time: Time,
}

/// One thing that is given.
enum Given {
    Document { collection: String, key: String, document: Value },
    Event { stream: String, event: Sample, time: Time },
}

impl ProcessorTest {
    fn new(
        versions: &'static [(&'static str, u32)],
        kind: &'static str,
        native: fn(&Setup) -> Box<dyn Processor>,
    ) -> Self {
        Self { versions, kind, native, setup: Setup::default(), given: Vec::new(), time: BEGIN }
    }

    /// The module is deployed with `--config key=value`.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.setup.config.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The module is deployed with `--grant publish=bus/topic`. Needed where the component is tested; elsewhere everything is
    /// granted.
    pub fn topic(mut self, bus: &str, topic: &str) -> Self {
        self.setup.topics.push(format!("{bus}/{topic}"));
        self
    }

    /// The events from here on happen at this time, as in `2026-03-02T09:15:00Z`; before, it is 2026-01-01T00:00:00Z.
    #[track_caller]
    pub fn at(mut self, time: &str) -> Self {
        self.time = read(time);
        self
    }

    /// A document is there.
    #[track_caller]
    pub fn given_document(mut self, collection: &str, key: &str, document: impl Serialize) -> Self {
        let document = value(&document);
        self.given.push(Given::Document { collection: collection.to_owned(), key: key.to_owned(), document });
        self
    }

    /// An event was handled. What it asked for is not looked at.
    #[track_caller]
    pub fn given(mut self, stream: &str, event: impl Into<Sample>) -> Self {
        self.given.push(Given::Event { stream: stream.to_owned(), event: event.into(), time: self.time });
        self
    }

    /// The next request of this method to this address is answered. A request without an answer is refused.
    ///
    /// Only a module in this process can be given answers: such a test stays there when the others run against the
    /// component.
    #[track_caller]
    pub fn given_answer(mut self, method: &str, url: &str, status: u16, body: impl Serialize) -> Self {
        let body = value(&body).to_string().into_bytes();
        self.setup.answers.push(Answer { method: method.to_owned(), url: url.to_owned(), status, body });
        self
    }

    /// An event happens.
    #[must_use = "nothing is checked before `then_…`"]
    #[track_caller]
    pub fn when(self, stream: &str, event: impl Into<Sample>) -> Handled {
        let mut processor = self.processor();
        for given in &self.given {
            match given {
                Given::Document { collection, key, document } => processor.put(collection, key, document),
                Given::Event { stream, event, time } => {
                    let handled = processor.handle(stream, event, event.resolved(self.versions), *time);
                    if let Err(failure) = handled {
                        panic!("the given event {} of {stream} failed: {failure:?}", event.name);
                    }
                }
            }
        }
        Handled { processor, versions: self.versions, time: self.time, result: Ok(()) }.when(stream, event)
    }

    #[track_caller]
    fn processor(&self) -> Box<dyn Processor> {
        let native = || (self.native)(&self.setup);
        match switch::component() {
            Some(_) if !self.setup.answers.is_empty() => {
                eprintln!("this test gives answers to requests: it runs in this process, not against the component");
                native()
            }
            #[cfg(feature = "component")]
            Some(path) => Box::new(crate::component::processor(&path, self.kind, &self.setup)),
            _ => native(),
        }
    }
}

/// What came of an event.
pub struct Handled {
    processor: Box<dyn Processor>,
    versions: &'static [(&'static str, u32)],
    time: Time,
    result: Result<(), Failure>,
}

impl Handled {
    /// Another event happens afterwards; what is checked from here on is what it asked for.
    #[must_use = "nothing is checked before `then_…`"]
    #[track_caller]
    pub fn when(mut self, stream: &str, event: impl Into<Sample>) -> Self {
        self.expect_success();
        let event = event.into();
        self.result = self.processor.handle(stream, &event, event.resolved(self.versions), self.time);
        self
    }

    /// The events from here on happen at this time, as in `2026-03-02T09:15:00Z`.
    #[track_caller]
    pub fn at(mut self, time: &str) -> Self {
        self.time = read(time);
        self
    }

    /// The collection has these documents, by key, and no others.
    #[track_caller]
    pub fn then_documents(self, collection: &str, expected: impl Serialize) -> Self {
        self.expect_success();
        let actual = json!(self.processor.documents(collection));
        diff::check(&format!("the documents of `{collection}`"), &value(&expected), &actual);
        self
    }

    /// The collection has this document at a key.
    #[track_caller]
    pub fn then_document(self, collection: &str, key: &str, expected: impl Serialize) -> Self {
        self.expect_success();
        let actual = self.processor.documents(collection).remove(key).unwrap_or(Value::Null);
        diff::check(&format!("the document `{key}` of `{collection}`"), &value(&expected), &actual);
        self
    }

    /// These events were emitted, each with its stream, in this order, and no others.
    #[track_caller]
    pub fn then_emitted<'a, S: Into<Sample>>(self, expected: impl IntoIterator<Item = (&'a str, S)>) -> Self {
        let shown = |stream: &str, event: &Sample| json!({ "stream": stream, "event": event.shown(self.versions) });
        let expected = expected.into_iter().map(|(stream, event)| shown(stream, &event.into())).collect();
        let emitted = self.effects().emitted;
        let actual = emitted.iter().map(|(stream, event)| shown(stream, event)).collect();
        diff::check("the events emitted", &expected, &actual);
        self
    }

    /// These events were scheduled, each with its key, time and stream, in this order, and no others.
    #[track_caller]
    pub fn then_scheduled<'a, S: Into<Sample>>(
        self,
        expected: impl IntoIterator<Item = (&'a str, &'a str, &'a str, S)>,
    ) -> Self {
        let shown = |key: &str, time: Time, stream: &str, event: &Sample| json!({ "key": key, "time": time, "stream": stream, "event": event.shown(self.versions) });
        let expected = expected
            .into_iter()
            .map(|(key, time, stream, event)| shown(key, read(time), stream, &event.into()))
            .collect();
        let scheduled = self.effects().scheduled;
        let actual = scheduled.iter().map(|own| shown(&own.key, own.time, &own.stream, &own.event)).collect();
        diff::check("the events scheduled", &expected, &actual);
        self
    }

    /// The schedules of these keys were taken back, in this order, and no others.
    #[track_caller]
    pub fn then_cancelled<'a>(self, expected: impl IntoIterator<Item = &'a str>) -> Self {
        let expected = expected.into_iter().collect::<Vec<_>>();
        diff::check("the schedules taken back", &json!(expected), &json!(self.effects().cancelled));
        self
    }

    /// These messages were published, each with its bus, topic and stream, in this order, and no others.
    #[track_caller]
    pub fn then_published<'a, S: Into<Sample>>(
        self,
        expected: impl IntoIterator<Item = (&'a str, &'a str, &'a str, S)>,
    ) -> Self {
        let shown = |bus: &str, topic: &str, stream: &str, event: &Sample| json!({ "bus": bus, "topic": topic, "stream": stream, "event": event.shown(self.versions) });
        let expected =
            expected.into_iter().map(|(bus, topic, stream, event)| shown(bus, topic, stream, &event.into())).collect();
        let published = self.effects().published;
        let actual = published.iter().map(|(bus, topic, stream, event)| shown(bus, topic, stream, event)).collect();
        diff::check("the messages published", &expected, &actual);
        self
    }

    /// These requests were sent, in this order, and no others.
    #[track_caller]
    pub fn then_requested(self, expected: impl IntoIterator<Item = Request>) -> Self {
        let expected = expected.into_iter().map(|request| shown(&request)).collect();
        let actual = self.effects().requests.iter().map(shown).collect();
        diff::check("the requests sent", &expected, &actual);
        self
    }

    /// Nothing was emitted, scheduled, taken back, published or sent.
    #[track_caller]
    pub fn then_no_effects(self) -> Self {
        self.then_emitted::<Sample>([])
            .then_scheduled::<Sample>([])
            .then_cancelled([])
            .then_published::<Sample>([])
            .then_requested([])
    }

    /// The event failed, for a reason with this text in it. Nothing it asked for takes effect.
    #[track_caller]
    pub fn then_failed(&self, reason: &str) {
        match &self.result {
            Ok(()) => panic!("the event was handled; expected was a failure with `{reason}`"),
            Err(failure) => assert!(
                failure.reason().contains(reason),
                "the event failed for another reason than `{reason}`: {}",
                failure.reason()
            ),
        }
    }

    /// All documents of a collection, by key, for what the others cannot check.
    #[must_use]
    pub fn documents(&self, collection: &str) -> BTreeMap<String, Value> {
        self.processor.documents(collection)
    }

    #[track_caller]
    fn effects(&self) -> Effects {
        self.expect_success();
        self.processor.effects()
    }

    #[track_caller]
    fn expect_success(&self) {
        if let Err(failure) = &self.result {
            panic!("the event failed: {failure:?}");
        }
    }
}

/// A request as it is compared and shown; a body that is JSON as that.
fn shown(request: &Request) -> Value {
    let text = String::from_utf8_lossy(request.as_body());
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
    json!({ "method": request.method(), "url": request.url(), "headers": request.headers(), "body": body })
}

#[track_caller]
fn read(time: &str) -> Time {
    time.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| panic!("what the test gives is no JSON: {error}"))
}
