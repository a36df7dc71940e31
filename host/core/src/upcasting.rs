//! The port of upcasters: older events in the form readers understand. The log is never rewritten.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{Digest, Event, EventType, Filter, Payload, module::Failure};

/// The newest schema version a reader understands, by event type. A type that is not named: the newest there is.
pub type Accepted = BTreeMap<String, u32>;

/// One step an upcaster takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The event type it takes.
    pub event_type: String,
    /// The schema version it takes.
    pub schema_version: u32,
    /// The event type it makes of it.
    pub to_type: String,
    /// The schema version it makes of it; larger than the one it takes where the type stays the same.
    pub to_version: u32,
}

/// What an upcaster says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpcasterDescription {
    /// A short name.
    pub name: String,
    /// The module's own version.
    pub version: String,
    /// The steps it takes; never empty.
    pub steps: Vec<Step>,
}

/// An upcaster, loaded and checked.
pub trait UpcasterModule: Send + Sync {
    /// Its address.
    fn digest(&self) -> Digest;

    /// What it says it is.
    fn description(&self) -> &UpcasterDescription;

    /// A new instance. Cheap: what costs is done at the first call.
    fn instance(&self) -> Box<dyn UpcasterInstance>;
}

/// An event's form: what an upcaster takes and makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The kind of event.
    pub event_type: EventType,
    /// The version of the schema of the data.
    pub schema_version: u32,
    /// The content.
    pub data: Payload,
}

/// One running copy of an upcaster. Called on threads where blocking is allowed.
pub trait UpcasterInstance: Send {
    /// Takes one step. The same form gives the same answer: it sees nothing else.
    fn upcast(&mut self, event: &Event, form: &Form) -> Result<Form, Failure>;
}

/// All upcasters of a host, seen as one chain.
pub trait Upcasting: Send + Sync {
    /// The filter that also fits the older forms of what a filter wants.
    fn widen(&self, filter: Filter) -> Filter;

    /// An event in the newest form the reader understands. Called on threads where blocking is allowed; borrows the
    /// event where nothing changes, which is the usual case and costs next to nothing.
    fn upcast<'e>(&self, event: &'e Event, accepted: &Accepted) -> Result<Cow<'e, Event>, Failure>;

    /// Changes with every change of the chain: readers then widen their filters anew.
    fn changes(&self) -> watch::Receiver<u64>;
}
