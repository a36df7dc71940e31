//! What projections and handlers have in common: how they describe themselves and how a call reaches them.

use crate::bindings::{self, lantern::module::types::ProcessorKind};
use crate::sql::{self, Migration};
use crate::{Event, Failure, Handler, Projection, data, new_event, span};

/// A projection or handler as the macros hand it to the host.
#[derive(Clone, Copy)]
pub struct Processor {
    kind: ProcessorKind,
    name: &'static str,
    version: &'static str,
    categories: &'static [&'static str],
    collections: &'static [&'static str],
    schema_versions: &'static [(&'static str, u32)],
    migrations: &'static [Migration],
    event_types: fn() -> &'static [&'static str],
    handle: fn(&Event) -> Result<(), Failure>,
}

/// A projection as a processor. [`projection!`](crate::projection!) calls this.
#[must_use]
pub fn projection<P: Projection>(version: &'static str) -> Processor {
    Processor {
        kind: ProcessorKind::Projection,
        name: P::NAME,
        version,
        categories: P::CATEGORIES,
        collections: P::COLLECTIONS,
        schema_versions: P::SCHEMA_VERSIONS,
        migrations: P::MIGRATIONS,
        event_types: data::names::<P::Data>,
        handle: |event| event.read()?.map_or(Ok(()), |data| P::handle(event, data)),
    }
}

/// A handler as a processor. [`handler!`](crate::handler!) calls this.
#[must_use]
pub fn handler<H: Handler>(version: &'static str) -> Processor {
    Processor {
        kind: ProcessorKind::Handler,
        name: H::NAME,
        version,
        categories: H::CATEGORIES,
        collections: H::COLLECTIONS,
        schema_versions: H::SCHEMA_VERSIONS,
        migrations: H::MIGRATIONS,
        event_types: data::names::<H::Data>,
        handle: |event| event.read()?.map_or(Ok(()), |data| H::handle(event, data)),
    }
}

impl Processor {
    /// What it says it is.
    #[must_use]
    pub fn describe(&self) -> bindings::Description {
        bindings::Description {
            kind: self.kind,
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            categories: owned(self.categories),
            event_types: owned((self.event_types)()),
            collections: owned(self.collections),
            schema_versions: versions(self.schema_versions),
            migrations: sql::migrations(self.migrations),
        }
    }

    /// Handles one event.
    pub fn handle(&self, context: bindings::TraceContext, event: bindings::Event) -> Result<(), bindings::Failure> {
        let event = Event::new(event, context.into());
        span::enter(event.trace(), self.name, self.version);
        new_event::enter(self.schema_versions);
        Ok((self.handle)(&event)?)
    }
}

pub(crate) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

pub(crate) fn versions(versions: &[(&str, u32)]) -> Vec<(String, u32)> {
    versions.iter().map(|&(name, version)| (name.to_owned(), version)).collect()
}
