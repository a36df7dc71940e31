//! What travels with an event beside its data.

use std::{collections::BTreeMap, sync::Arc};

use crate::TraceContext;

/// What travels with an event beside its data. Ids are free text, as other systems hand them over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Where the event comes from: the CloudEvents `source`.
    pub source: Option<Arc<str>>,
    /// The id shared by everything one request set in motion.
    pub correlation_id: Option<Arc<str>>,
    /// The id of the command or event that caused this one.
    pub causation_id: Option<Arc<str>>,
    /// Whose data it is.
    pub tenant: Option<Arc<str>>,
    /// Who acted.
    pub actor: Option<Arc<str>>,
    /// The span that produced the event.
    pub trace: Option<TraceContext>,
    /// Free pairs. `None` when there are none, so that the usual event carries no map.
    pub extra: Option<Arc<BTreeMap<String, String>>>,
}
