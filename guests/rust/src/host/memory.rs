//! The small host in memory that stands behind [`testing`](crate::testing): each thread has one of its own.

use crate::bindings::lantern::module::types::NewEvent;
use crate::bindings::wasi::logging::logging::Level;
use crate::bindings::wasi::otel::tracing::{SpanContext, SpanData};
use crate::http::{Request, Response};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What the host holds.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) collections: BTreeMap<String, BTreeMap<String, String>>,
    /// What the writes of the call in hand replaced, oldest first: collection, key and old document.
    pub(crate) undo: Vec<(String, String, Option<String>)>,
    pub(crate) effects: Effects,
    /// How many effects there were when the call in hand began.
    pub(crate) settled: (usize, usize, usize),
    pub(crate) requests: Vec<Request>,
    /// What requests are answered with, each once: method, address and answer.
    pub(crate) answers: Vec<(String, String, Response)>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) lines: Vec<(Level, String)>,
    pub(crate) started: Vec<SpanContext>,
    pub(crate) ended: Vec<SpanData>,
}

/// What handlers ask for, in order.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Events emitted, each with its stream.
    pub emitted: Vec<(String, NewEvent)>,
    /// Changes to schedules.
    pub timers: Vec<Timer>,
    /// Messages published.
    pub published: Vec<Publication>,
}

/// A message for a bus.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The bus.
    pub bus: String,
    /// The topic.
    pub topic: String,
    /// The stream that keeps it in order.
    pub stream: String,
    /// The event it carries.
    pub event: NewEvent,
}

/// A change to a handler's schedules.
#[derive(Clone, Debug)]
pub enum Timer {
    /// An event is to be emitted later.
    Set {
        /// Its name among the schedules of the handler.
        key: String,
        /// When, in nanoseconds since 1970-01-01T00:00:00Z.
        time: i64,
        /// The stream it is appended to.
        stream: String,
        /// The event.
        event: NewEvent,
    },
    /// What is scheduled under the key is not to happen.
    Cancel {
        /// The key.
        key: String,
    },
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Looks at the host of this thread.
pub(crate) fn with<R>(f: impl FnOnce(&mut Memory) -> R) -> R {
    MEMORY.with_borrow_mut(f)
}

impl Memory {
    fn collection(&mut self, name: &str) -> &mut BTreeMap<String, String> {
        self.collections
            .get_mut(name)
            .unwrap_or_else(|| panic!("the collection `{name}` is not declared; add it to the module's COLLECTIONS"))
    }

    pub(crate) fn replace(&mut self, collection: &str, key: &str, value: Option<&str>) {
        let documents = self.collection(collection);
        let old = match value {
            Some(value) => documents.insert(key.to_owned(), value.to_owned()),
            None => documents.remove(key),
        };
        self.undo.push((collection.to_owned(), key.to_owned(), old));
    }

    /// A call begins: what was written and asked for before it stays.
    pub(crate) fn begin(&mut self) {
        self.undo.clear();
        let Effects { emitted, timers, published } = &self.effects;
        self.settled = (emitted.len(), timers.len(), published.len());
    }

    /// Takes back what the call in hand wrote and asked for. The requests it sent cannot be taken back.
    pub(crate) fn undo(&mut self) {
        self.effects.emitted.truncate(self.settled.0);
        self.effects.timers.truncate(self.settled.1);
        self.effects.published.truncate(self.settled.2);
        while let Some((collection, key, old)) = self.undo.pop() {
            let documents = self.collection(&collection);
            match old {
                Some(value) => documents.insert(key, value),
                None => documents.remove(&key),
            };
        }
    }
}

/// In place of the interface `documents`.
pub(crate) mod documents {
    use super::with;
    pub(crate) use crate::bindings::lantern::module::documents::Entry;

    pub(crate) fn get(collection: &str, key: &str) -> Option<String> {
        with(|memory| memory.collection(collection).get(key).cloned())
    }

    pub(crate) fn put(collection: &str, key: &str, value: &str) {
        with(|memory| memory.replace(collection, key, Some(value)));
    }

    pub(crate) fn delete(collection: &str, key: &str) {
        with(|memory| memory.replace(collection, key, None));
    }

    pub(crate) fn scan(collection: &str, prefix: &str, after: Option<&str>, limit: u32) -> Vec<Entry> {
        with(|memory| {
            let documents = memory.collection(collection).range(prefix.to_owned()..);
            documents
                .take_while(|(key, _)| key.starts_with(prefix))
                .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after))
                .take(limit.min(1000) as usize)
                .map(|(key, value)| Entry { key: key.clone(), value: value.clone() })
                .collect()
        })
    }
}

/// In place of the interface `sql`. There is no database behind it.
pub(crate) mod sql {
    use crate::bindings::lantern::module::sql::{Error, Rows, Value};

    const NONE: &str = "SQL tables need a database, which native tests have not: keep what is to be tested natively in \
                        functions without SQL, and test the tables on a host";

    pub(crate) fn execute(_statement: &str, _parameters: &[Value]) -> Result<u64, Error> {
        panic!("{NONE}");
    }

    pub(crate) fn query(_statement: &str, _parameters: &[Value]) -> Result<Rows, Error> {
        panic!("{NONE}");
    }
}

/// In place of the interface `emit`.
pub(crate) mod emit {
    use super::{NewEvent, with};

    pub(crate) fn emit(stream: &str, event: &NewEvent) {
        with(|memory| memory.effects.emitted.push((stream.to_owned(), event.clone())));
    }
}

/// In place of the interface `publish`.
pub(crate) mod publish {
    use super::{NewEvent, Publication, with};

    pub(crate) fn publish(bus: &str, topic: &str, stream: &str, event: &NewEvent) {
        let (bus, topic, stream) = (bus.to_owned(), topic.to_owned(), stream.to_owned());
        with(|memory| memory.effects.published.push(Publication { bus, topic, stream, event: event.clone() }));
    }
}

/// In place of the interface `schedule`.
pub(crate) mod schedule {
    use super::{NewEvent, Timer, with};

    pub(crate) fn emit_at(key: &str, time: i64, stream: &str, event: &NewEvent) {
        let timer = Timer::Set { key: key.to_owned(), time, stream: stream.to_owned(), event: event.clone() };
        with(|memory| memory.effects.timers.push(timer));
    }

    pub(crate) fn cancel(key: &str) {
        with(|memory| memory.effects.timers.push(Timer::Cancel { key: key.to_owned() }));
    }
}

/// In place of `wasi:http`.
pub(crate) mod http {
    use super::with;
    use crate::http::{Error, Request, Response};

    pub(crate) fn send(request: &Request) -> Result<Response, Error> {
        with(|memory| {
            memory.requests.push(request.clone());
            let (method, url) = (&request.method, &request.url);
            match memory.answers.iter().position(|(own, place, _)| own == method && place == url) {
                Some(index) => Ok(memory.answers.remove(index).2),
                None => Err(Error::Refused(format!("{method} {url} is refused: the test has no answer to it"))),
            }
        })
    }
}

/// In place of the interface `wasi:config/store`.
pub(crate) mod store {
    use super::with;
    use crate::bindings::wasi::config::store::Error;

    #[allow(clippy::unnecessary_wraps, reason = "the shape of the import")]
    pub(crate) fn get(key: &str) -> Result<Option<String>, Error> {
        Ok(with(|memory| memory.config.get(key).cloned()))
    }
}

/// In place of the interface `wasi:logging/logging`.
pub(crate) mod logging {
    use super::{Level, with};

    pub(crate) fn log(level: Level, _context: &str, message: &str) {
        with(|memory| memory.lines.push((level, message.to_owned())));
    }
}

/// In place of the interface `wasi:otel/tracing`.
pub(crate) mod tracing {
    use super::{SpanContext, SpanData, with};

    pub(crate) fn on_start(context: &SpanContext) {
        with(|memory| memory.started.push(context.clone()));
    }

    pub(crate) fn on_end(span: &SpanData) {
        with(|memory| memory.ended.push(span.clone()));
    }
}
