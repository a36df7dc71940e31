//! What modules answer with, as the state knows what they hand over.

use std::sync::Arc;

use crate::{
    bindings::processor::lantern::module::types::{NewEvent, PayloadResult},
    state::{Content, Handed},
};

/// An event a module asks for.
pub(crate) fn new_event(event: NewEvent) -> Handed {
    let NewEvent { event_type, schema_version, content_type, data, metadata } = event;
    let (event_type, content_type, content) = (event_type.into(), content_type.map(Arc::from), content(data));
    Handed { event_type, schema_version, content_type, content, metadata }
}

/// The content of a payload.
pub(crate) fn content(payload: PayloadResult) -> Content {
    match payload {
        PayloadResult::Json(text) => Content::Json(text.into()),
        PayloadResult::Bytes(data) => Content::Bytes(data.into()),
    }
}
