//! What a module asks for: a value, applied by the loop or dropped.

use std::sync::Arc;

use crate::Value;

/// A document written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The collection.
    pub collection: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// The new content; `None` removes the document.
    pub value: Option<Value>,
}

/// What a module asks for when it has handled an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Documents written, in order; a later write of a key replaces an earlier one.
    pub writes: Vec<Write>,
}
