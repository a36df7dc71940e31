//! What modules hand over and answer with, as the state knows it.

#![expect(unreachable_pub, reason = "the generated bindings show these types, and nobody outside sees either")]

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift};

use crate::{
    bindings::processor::lantern::module::types,
    state::{Content, Handed},
};

/// The record `new-event`, whose texts are handed on without copies.
#[derive(ComponentType, Lift)]
#[component(record)]
pub struct NewEvent {
    #[component(name = "event-type")]
    event_type: Arc<str>,
    #[component(name = "schema-version")]
    schema_version: u32,
    #[component(name = "content-type")]
    content_type: Option<Arc<str>>,
    data: Payload,
    metadata: Vec<(String, String)>,
}

/// The variant `payload`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub enum Payload {
    #[component(name = "json")]
    Json(Arc<str>),
    #[component(name = "bytes")]
    Bytes(Vec<u8>),
}

impl From<NewEvent> for Handed {
    fn from(event: NewEvent) -> Self {
        let NewEvent { event_type, schema_version, content_type, data, metadata } = event;
        let content = match data {
            Payload::Json(text) => Content::Json(text),
            Payload::Bytes(data) => Content::Bytes(data.into()),
        };
        Self { event_type, schema_version, content_type, content, metadata }
    }
}

/// The content of a payload.
pub(crate) fn content(payload: types::PayloadResult) -> Content {
    match payload {
        types::PayloadResult::Json(text) => Content::Json(text.into()),
        types::PayloadResult::Bytes(data) => Content::Bytes(data.into()),
    }
}
