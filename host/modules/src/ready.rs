//! A module that is compiled, linked and asked what it is: what all deployments that run it share.

use lantern_core::{Digest, module::Described};

use crate::{
    bindings::{aggregate::AggregatePre, processor::HandlerPre, upcaster::UpcasterPre},
    guest::Guest,
};

/// A module that is compiled, linked and asked what it is.
pub(crate) struct Ready {
    /// Its address.
    pub(crate) digest: Digest,
    /// What it says it is.
    pub(crate) described: Described,
    /// From which instances are started.
    pub(crate) pre: Pre,
}

/// From which instances of a world are started. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Pre {
    /// Those of projections and handlers.
    Processor(HandlerPre<Guest>),
    /// Those of aggregates.
    Aggregate(AggregatePre<Guest>),
    /// Those of upcasters.
    Upcaster(UpcasterPre<Guest>),
}
