//! Routes as the configuration has them, and the names they go by inside the host.

use std::collections::BTreeSet;

use lantern_core::{Destination, Filter, Generation, Name, Subscription};
use serde::{Deserialize, Serialize};

use crate::Start;

/// A route from the log to a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Its name, unique among all routes. Its checkpoint is kept under it.
    pub name: Name,
    /// The bus.
    pub bus: Name,
    /// Where events go there.
    pub destination: Destination,
    /// The categories that are published; all when empty.
    pub categories: BTreeSet<String>,
    /// The event types that are published; all when empty.
    pub event_types: BTreeSet<String>,
    /// Where it begins that has no checkpoint yet.
    pub start: Start,
}

/// A route from a bus into the log, or straight to a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consume {
    /// Its name, unique among all routes. Its dead letters are kept under it.
    pub name: Name,
    /// The bus.
    pub bus: Name,
    /// What is consumed there, and as whom.
    pub subscription: Subscription,
    /// The projection it feeds; it leads into the log when there is none.
    pub projection: Option<Name>,
}

/// A route as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Configured {
    /// From the log to a bus.
    Publish(Publish),
    /// From a bus into the log, or to a projection.
    Consume(Consume),
}

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the log to a bus.
    Publish,
    /// From a bus into the log, or to a projection.
    Consume,
}

impl Configured {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::Publish(publish) => &publish.name,
            Self::Consume(consume) => &consume.name,
        }
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &Name {
        match self {
            Self::Publish(publish) => &publish.bus,
            Self::Consume(consume) => &consume.bus,
        }
    }

    /// The name under which it has a lease, a checkpoint and lines in the journal; those of the projection it feeds.
    pub(crate) fn unit(&self) -> Name {
        match self {
            Self::Consume(Consume { projection: Some(projection), .. }) => projection.clone(),
            _ => self.reserved(),
        }
    }

    /// Its own name among those of processors.
    pub(crate) fn reserved(&self) -> Name {
        match self {
            Self::Publish(publish) => publishing(&publish.name),
            Self::Consume(consume) => consuming(&consume.name),
        }
    }
}

impl Publish {
    /// Which events it takes.
    pub(crate) fn filter(&self) -> Filter {
        let (categories, event_types) = (self.categories.clone(), self.event_types.clone());
        Filter { categories, event_types, ..Filter::default() }
    }
}

/// The name under which a route that publishes has its lease and its checkpoint.
pub(crate) fn publishing(route: &Name) -> Name {
    Name::reserved("publish", route)
}

/// The name under which a route that consumes has its lease and its dead letters.
pub(crate) fn consuming(route: &Name) -> Name {
    Name::reserved("consume", route)
}

/// What a route keeps.
pub(crate) fn generation(unit: &Name) -> Generation {
    Generation { processor: unit.clone(), number: 1 }
}
