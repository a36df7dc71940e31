//! The small host in memory that stands behind [`testing`](crate::testing): each thread has one of its own.

use crate::bindings::wasi::logging::logging::Level;
use crate::bindings::wasi::otel::tracing::{SpanContext, SpanData};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What the host holds.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) collections: BTreeMap<String, BTreeMap<String, String>>,
    /// What the writes of the call in hand replaced, oldest first: collection, key and old document.
    pub(crate) undo: Vec<(String, String, Option<String>)>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) lines: Vec<(Level, String)>,
    pub(crate) started: Vec<SpanContext>,
    pub(crate) ended: Vec<SpanData>,
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
        self.collections.get_mut(name).unwrap_or_else(|| {
            panic!("the collection `{name}` is not declared; add it to the projection's COLLECTIONS")
        })
    }

    fn replace(&mut self, collection: &str, key: &str, value: Option<&str>) {
        let documents = self.collection(collection);
        let old = match value {
            Some(value) => documents.insert(key.to_owned(), value.to_owned()),
            None => documents.remove(key),
        };
        self.undo.push((collection.to_owned(), key.to_owned(), old));
    }

    /// Takes back the writes of the call in hand.
    pub(crate) fn undo(&mut self) {
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
