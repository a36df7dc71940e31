//! One step of the chain: an upcaster is asked, and what it made is checked.

use std::sync::Arc;

use lantern_core::{
    Event, EventType, Payload,
    module::{Failure, FailureKind},
    upcasting::Form,
};
use serde::de::IgnoredAny;

use crate::upcaster::Upcaster;

/// A step from one form of an event to the next.
pub(crate) struct ChainStep {
    /// The schema version it takes; the event type is what it is found by.
    pub(crate) from_version: u32,
    pub(crate) to_type: EventType,
    pub(crate) to_version: u32,
    /// Who takes it.
    pub(crate) upcaster: Arc<Upcaster>,
}

impl ChainStep {
    /// Takes the step. Blocks.
    pub(crate) fn take(&self, event: &Event, form: &Form) -> Result<Form, Failure> {
        let made = self.upcaster.upcast(event, form).map_err(|failure| {
            let message = self.sentence(form, &failure.message);
            Failure { message, ..failure }
        })?;
        match self.flaw(&made) {
            None => Ok(made),
            Some(flaw) => Err(Failure::new(FailureKind::Permanent, self.sentence(form, &flaw))),
        }
    }

    /// What is wrong with a form that the module made.
    fn flaw(&self, made: &Form) -> Option<String> {
        let Form { event_type, schema_version, data } = made;
        if *event_type != self.to_type || *schema_version != self.to_version {
            let (to_type, to_version) = (&self.to_type, self.to_version);
            return Some(format!(
                "it made version {schema_version} of `{event_type}`, but declared version {to_version} of `{to_type}`"
            ));
        }
        let Payload::Json(text) = data else { return None };
        serde_json::from_str::<IgnoredAny>(text).err().map(|error| format!("what it made is no JSON: {error}"))
    }

    fn sentence(&self, form: &Form, reason: &str) -> String {
        let Form { event_type, schema_version, .. } = form;
        format!("upcaster `{}` failed at version {schema_version} of `{event_type}`: {reason}", self.upcaster.name)
    }
}
