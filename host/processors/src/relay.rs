//! The relay: a module of the host's own that publishes every event it is handed. So the way to a bus is a subscription
//! like any other: read in order, parked where it must be, its checkpoint moved once the bus has acknowledged.

use std::{borrow::Cow, sync::Arc};

use lantern_core::{
    Call, Digest, Effects, Event, Filter, Instance, Module, Outcome, Publication, Upcasting, View,
    module::{Description, Failure},
    upcasting::Accepted,
};
use tokio::sync::watch;

/// Publishes every event it is handed, as it is in the log.
#[derive(Clone)]
pub(crate) struct Relay {
    digest: Digest,
    description: Arc<Description>,
    publication: Publication,
}

impl Relay {
    /// A relay of the events that fit a filter.
    pub(crate) fn new(name: &str, filter: Filter, publication: Publication) -> Self {
        let description = Description {
            name: name.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            categories: filter.categories.into_iter().collect(),
            event_types: filter.event_types.into_iter().collect(),
            collections: Vec::new(),
            schema_versions: Accepted::new(),
            has_tables: false,
            migrations: Vec::new(),
        };
        let digest = Digest::of(format!("relay {name}").as_bytes());
        Self { digest, description: Arc::new(description), publication }
    }
}

impl Module for Relay {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn instance(&self) -> Box<dyn Instance> {
        Box::new(self.clone())
    }
}

impl Instance for Relay {
    fn handle(&mut self, _: &Call<'_>, _: &Arc<dyn View>) -> Outcome {
        Ok(Effects { published: vec![self.publication.clone()], ..Effects::default() }).into()
    }
}

/// No upcasters: what travels is what the log has. Those who read it bring it to the form they understand themselves.
pub(crate) struct Unchanged(watch::Sender<u64>);

impl Unchanged {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Upcasting for Unchanged {
    fn widen(&self, filter: Filter) -> Filter {
        filter
    }

    fn upcast<'e>(&self, event: &'e Event, _: &Accepted) -> Result<Cow<'e, Event>, Failure> {
        Ok(Cow::Borrowed(event))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
