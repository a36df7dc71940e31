//! A small host in memory, for the tests of projections and handlers. It exists on every target but Wasm. The crate
//! `lantern-testing` stands on it, and has more to offer.

use crate::bindings::{self, lantern::module::types::Payload};
use crate::exports::{self, Processor};
use crate::host::memory::{self, Memory};
use crate::http::{Request, Response};
use crate::{Failure, Handler, Projection, Time, TraceContext, log};
use std::collections::BTreeMap;
use std::marker::PhantomData;

pub use crate::bindings::Description;
pub use crate::bindings::wasi::otel::tracing::SpanData;
pub use crate::host::memory::{Effects, Timer};
pub use crate::log::Level;

/// A host with one projection or handler and an empty log. Each thread, and so each test, has one of its own.
pub struct TestHost<P> {
    processor: Processor,
    position: u64,
    versions: BTreeMap<String, u64>,
    time: Time,
    metadata: Vec<(String, String)>,
    module: PhantomData<P>,
}

impl<P: Projection> TestHost<P> {
    /// A host of a projection, without documents, whose clock stands at 2026-01-01T00:00:00Z.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "it replaces the host of the thread, which a default value should not"
    )]
    pub fn new() -> Self {
        Self::of(exports::projection::<P>("0.0.0"))
    }
}

impl<P: Handler> TestHost<P> {
    /// A host of a handler, without documents, whose clock stands at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn handler() -> Self {
        Self::of(exports::handler::<P>("0.0.0"))
    }
}

impl<P> TestHost<P> {
    fn of(processor: Processor) -> Self {
        let collections = processor.describe().collections.into_iter().map(|name| (name, BTreeMap::new())).collect();
        memory::with(|memory| *memory = Memory { collections, ..Memory::default() });
        log::forget_level();
        Self {
            processor,
            position: 0,
            versions: BTreeMap::new(),
            time: Time::from_nanoseconds(1_767_225_600_000_000_000),
            metadata: Vec::new(),
            module: PhantomData,
        }
    }

    /// Sets a configuration key.
    #[must_use]
    pub fn with_config(self, key: &str, value: &str) -> Self {
        memory::with(|memory| memory.config.insert(key.to_owned(), value.to_owned()));
        log::forget_level();
        self
    }

    /// Sets the time of the events that follow.
    pub fn set_time(&mut self, time: Time) {
        self.time = time;
    }

    /// Sets the metadata of the events that follow.
    pub fn set_metadata(&mut self, metadata: &[(&str, &str)]) {
        self.metadata = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    }

    /// Appends an event of schema version 1 to the log and has the module handle it, traced.
    ///
    /// As on the real host, events of categories that the module does not ask for are not handed to it, and a failure
    /// undoes what was written and asked for during the call.
    pub fn handle(&mut self, stream: &str, event_type: &str, data: &str) -> Result<(), Failure> {
        self.handle_version(stream, event_type, 1, data)
    }

    /// The same for an event of any schema version.
    pub fn handle_version(
        &mut self,
        stream: &str,
        event_type: &str,
        schema_version: u32,
        data: &str,
    ) -> Result<(), Failure> {
        self.position += 1;
        let version = self.versions.entry(stream.to_owned()).or_default();
        *version += 1;
        let event = bindings::Event {
            id_high: 0,
            id_low: self.position,
            event_type: event_type.to_owned(),
            schema_version,
            stream: stream.to_owned(),
            version: *version,
            position: self.position,
            time: self.time.nanoseconds(),
            content_type: None,
            data: Payload::Json(data.to_owned()),
            metadata: self.metadata.clone(),
        };
        let category = stream.split_once('-').map_or(stream, |(category, _)| category);
        let wanted = self.processor.describe().categories;
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == category) {
            return Ok(());
        }
        let trace = TraceContext { trace: (1, self.position), span: self.position, flags: 1, state: None };
        let context = bindings::TraceContext {
            trace_id_high: trace.trace.0,
            trace_id_low: trace.trace.1,
            span_id: trace.span,
            flags: trace.flags,
            state: trace.state,
        };
        memory::with(Memory::begin);
        self.processor.handle(context, event).map_err(|failure| {
            memory::with(Memory::undo);
            match failure {
                bindings::Failure::Transient(reason) => Failure::Transient(reason),
                bindings::Failure::Permanent(reason) => Failure::Permanent(reason),
            }
        })
    }

    /// What the module says of itself.
    #[must_use]
    pub fn description(&self) -> Description {
        self.processor.describe()
    }

    /// All documents of a collection, as JSON text.
    #[must_use]
    pub fn documents(&self, collection: &str) -> BTreeMap<String, String> {
        memory::with(|memory| memory.collections.get(collection).cloned().unwrap_or_default())
    }

    /// Puts a document in its place, JSON text, as if an earlier event had.
    pub fn put(&mut self, collection: &str, key: &str, document: &str) {
        memory::with(|memory| memory.replace(collection, key, Some(document)));
    }

    /// The events emitted and the changes to schedules so far.
    #[must_use]
    pub fn effects(&self) -> Effects {
        memory::with(|memory| memory.effects.clone())
    }

    /// Has the next request of this method to this address answered; requests without an answer are refused.
    pub fn answer(&mut self, method: &str, url: &str, status: u16, body: &[u8]) {
        let response =
            Response { status, headers: Vec::new(), body: body.to_vec(), request: format!("{method} {url}") };
        memory::with(|memory| memory.answers.push((method.to_owned(), url.to_owned(), response)));
    }

    /// The requests sent so far, refused ones included.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        memory::with(|memory| memory.requests.clone())
    }

    /// The lines logged so far.
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        memory::with(|memory| memory.lines.clone())
    }

    /// The spans ended so far.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanData> {
        memory::with(|memory| memory.ended.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    struct Speaking;

    #[derive(Deserialize)]
    enum Spoken {
        Said { word: String },
    }

    impl Projection for Speaking {
        const NAME: &str = "speaking";
        const CATEGORIES: &[&str] = &["Talk"];
        const COLLECTIONS: &[&str] = &[];
        type Data = Spoken;

        fn handle(event: &Event, Spoken::Said { word }: Spoken) -> Result<(), Failure> {
            let _span = span!("speak", word = word);
            debug!("{word} at {}", event.position());
            info!("said");
            if config::get_or("strict", false)? { Err(Failure::transient("too strict")) } else { Ok(()) }
        }
    }

    #[test]
    fn a_projection_describes_itself() {
        let description = TestHost::<Speaking>::new().description();
        assert_eq!((description.name.as_str(), description.version.as_str()), ("speaking", "0.0.0"));
        assert_eq!(
            (description.categories, description.event_types),
            (vec!["Talk".to_owned()], vec!["Said".to_owned()])
        );
    }

    #[test]
    fn lines_and_spans_are_kept() {
        let mut host = TestHost::<Speaking>::new();
        host.handle("Talk-1", "Said", r#"{"word":"yes"}"#).unwrap();
        host.handle("Talk-1", "Shouted", "{}").unwrap();
        host.handle("Walk-1", "Said", "{}").unwrap();
        let lines = host.lines().into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        assert_eq!(lines, ["yes at 1", "said"]);
        assert_eq!(host.spans().len(), 1);
    }

    #[test]
    fn the_configuration_is_read() {
        let mut host = TestHost::<Speaking>::new().with_config("strict", "true");
        assert_eq!(host.handle("Talk-1", "Said", r#"{"word":"no"}"#), Err(Failure::transient("too strict")));
        let mut host = TestHost::<Speaking>::new().with_config("strict", "maybe");
        let failure = host.handle("Talk-1", "Said", r#"{"word":"no"}"#).unwrap_err();
        assert!(failure.reason().contains("`strict` is `maybe`, which is no bool"), "{failure:?}");
    }

    #[test]
    fn a_configured_level_keeps_finer_lines_inside() {
        let mut host = TestHost::<Speaking>::new().with_config("log-level", "info");
        host.handle("Talk-1", "Said", r#"{"word":"yes"}"#).unwrap();
        assert_eq!(host.lines().into_iter().map(|(_, line)| line).collect::<Vec<_>>(), ["said"]);
    }

    #[test]
    fn data_that_does_not_fit_is_a_permanent_failure() {
        let failure = TestHost::<Speaking>::new().handle("Talk-7", "Said", "{}").unwrap_err();
        assert!(
            failure.reason().starts_with("the data of Said at position 1 (Talk-7, version 1) does not fit"),
            "{failure:?}"
        );
        assert!(failure.reason().contains("missing field `word`"), "{failure:?}");
    }
}
