//! Modules as they are, in the small host that the SDK has for tests.

use crate::Sample;
use crate::effects::{Effects, Scheduled};
use lantern_guest::testing::{TestHost, Timer};
use lantern_guest::{Failure, Time};
use serde_json::Value;
use std::collections::BTreeMap;

/// A processor that a test can run.
pub(crate) trait Processor {
    /// Puts a document in its place.
    fn put(&mut self, collection: &str, key: &str, document: &Value);

    /// Has an event handled, and forgets what was asked for before.
    fn handle(&mut self, stream: &str, event: &Sample, schema_version: u32, time: Time) -> Result<(), Failure>;

    /// All documents of a collection.
    fn documents(&self, collection: &str) -> BTreeMap<String, Value>;

    /// What the last call asked for.
    fn effects(&self) -> Effects;
}

/// A processor in this process.
pub(crate) struct Native<P> {
    host: TestHost<P>,
    /// How much was asked for before the last call: emitted, timers, requests, messages.
    before: (usize, usize, usize, usize),
}

impl<P> Native<P> {
    pub(crate) fn new(mut host: TestHost<P>, setup: &Setup) -> Self {
        for (key, value) in &setup.config {
            host = host.with_config(key, value);
        }
        for Answer { method, url, status, body } in &setup.answers {
            host.answer(method, url, *status, body);
        }
        Self { host, before: (0, 0, 0, 0) }
    }
}

/// What stands around a processor.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) answers: Vec<Answer>,
    /// What it may publish to, each as `bus/topic`.
    pub(crate) topics: Vec<String>,
}

/// What a request is answered with.
pub(crate) struct Answer {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl<P> Processor for Native<P> {
    fn put(&mut self, collection: &str, key: &str, document: &Value) {
        self.host.put(collection, key, &document.to_string());
    }

    fn handle(&mut self, stream: &str, event: &Sample, schema_version: u32, time: Time) -> Result<(), Failure> {
        let effects = self.host.effects();
        let requests = self.host.requests().len();
        self.before = (effects.emitted.len(), effects.timers.len(), requests, effects.published.len());
        let metadata = event.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>();
        self.host.set_time(time);
        self.host.set_metadata(&metadata);
        self.host.handle_version(stream, &event.name, schema_version, &event.data.to_string())
    }

    fn documents(&self, collection: &str) -> BTreeMap<String, Value> {
        let parse = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        self.host.documents(collection).into_iter().map(|(key, text)| (key, parse(text))).collect()
    }

    fn effects(&self) -> Effects {
        let all = self.host.effects();
        let mut effects = Effects {
            emitted: all
                .emitted
                .into_iter()
                .skip(self.before.0)
                .map(|(stream, event)| (stream, Sample::asked(event)))
                .collect(),
            published: all
                .published
                .into_iter()
                .skip(self.before.3)
                .map(|own| (own.bus, own.topic, own.stream, Sample::asked(own.event)))
                .collect(),
            requests: self.host.requests().split_off(self.before.2),
            ..Effects::default()
        };
        for timer in all.timers.into_iter().skip(self.before.1) {
            match timer {
                Timer::Set { key, time, stream, event } => effects.scheduled.push(Scheduled {
                    key,
                    time: Time::from_nanoseconds(time),
                    stream,
                    event: Sample::asked(event),
                }),
                Timer::Cancel { key } => effects.cancelled.push(key),
            }
        }
        effects
    }
}
