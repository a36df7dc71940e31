//! `lantern:module/types`: what several interfaces take. The interface itself has nothing to serve.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift};

use crate::state::{Content, Handed};

/// The name under which the interface is served.
pub(super) const NAME: &str = "lantern:module/types@0.1.0";

/// The record `new-event`, whose texts are handed on without copies.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct NewEvent {
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
pub(super) enum Payload {
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
