//! Events and commands of a test: a type and data.

use lantern_guest::NewEvent;
use lantern_guest::bindings::lantern::module::types::{self, Payload};
use serde::Serialize;
use serde_json::{Value, json};

/// An event or a command of a test. Variants of enums and structs become one by themselves; [`event`] writes one by hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub(crate) name: String,
    /// None for the version that the module names for the type, otherwise 1.
    pub(crate) schema_version: Option<u32>,
    pub(crate) data: Value,
    pub(crate) metadata: Vec<(String, String)>,
}

/// An event or a command of a type, with its data.
pub fn event(name: impl Into<String>, data: Value) -> Sample {
    Sample { name: name.into(), schema_version: None, data, metadata: Vec::new() }
}

impl Sample {
    /// The same of another schema version than the one that the module names for the type.
    #[must_use]
    pub fn version(mut self, schema_version: u32) -> Self {
        self.schema_version = Some(schema_version);
        self
    }

    /// The same with a pair of metadata more: `correlation-id`, `causation-id`, `tenant`, `actor`, or a free one.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// An event as a module asked for it.
    pub(crate) fn asked(event: types::NewEvent) -> Self {
        let data = match &event.data {
            Payload::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
            Payload::Bytes(bytes) => json!(bytes),
        };
        Self { name: event.event_type, schema_version: Some(event.schema_version), data, metadata: event.metadata }
    }

    /// The schema version, by those that the module names.
    pub(crate) fn resolved(&self, versions: &[(&str, u32)]) -> u32 {
        let named = || versions.iter().find(|(name, _)| *name == self.name).map(|&(_, version)| version);
        self.schema_version.or_else(named).unwrap_or(1)
    }

    /// All of it as JSON, for comparing and showing.
    pub(crate) fn shown(&self, versions: &[(&str, u32)]) -> Value {
        let mut shown = json!({ "type": self.name, "schema_version": self.resolved(versions), "data": self.data });
        if !self.metadata.is_empty() {
            shown["metadata"] = json!(self.metadata);
        }
        shown
    }
}

// `Sample` itself cannot be serialised, so that this can hold for everything that can.
impl<T: Serialize> From<T> for Sample {
    #[track_caller]
    fn from(value: T) -> Self {
        match NewEvent::of(&value) {
            Ok(event) => Self { schema_version: None, ..Self::asked(event.into()) },
            Err(failure) => panic!("{}; `event(type, json!(…))` writes one by hand", failure.reason()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    enum Shape {
        Round { radius: u64 },
        Flat,
    }

    #[test]
    fn values_are_samples() {
        assert_eq!(Sample::from(Shape::Round { radius: 2 }), event("Round", json!({ "radius": 2 })));
        assert_eq!(Sample::from(&Shape::Flat), event("Flat", json!({})));
    }

    #[test]
    fn the_module_names_the_version() {
        let versions = [("Round", 3)];
        assert_eq!(event("Round", json!({})).resolved(&versions), 3);
        assert_eq!(event("Round", json!({})).version(2).resolved(&versions), 2);
        assert_eq!(event("Flat", json!({})).resolved(&versions), 1);
    }
}
