//! How the messages of a subscription are read.

use std::sync::Arc;

use lantern_core::{BusError, StreamName, Subscription, Timestamp};

use crate::cloud_events::Absent;

/// How the messages of a subscription are read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    category: Option<Arc<str>>,
}

impl Reading {
    /// Checks what every bus asks of a subscription.
    pub(crate) fn of(subscription: &Subscription, bus: &str) -> Result<Self, BusError> {
        let unsupported = |reason: String| BusError::Unsupported { bus: bus.into(), reason };
        for (name, value) in [("topic", &subscription.topic), ("group", &subscription.group)] {
            if value.is_empty() || value.chars().any(char::is_control) {
                return Err(unsupported(format!("`{}` is no {name}", value.escape_debug())));
            }
        }
        if let Some(category) = &subscription.category {
            StreamName::new(format!("{category}-1"))
                .ok()
                .filter(|stream| stream.category() == category.as_ref())
                .ok_or_else(|| unsupported(format!("`{category}` is no category: letters, digits, `_` and `.` are")))?;
        }
        Ok(Self { category: subscription.category.clone() })
    }

    /// Refuses a pattern, where routing keys are unknown.
    pub(crate) fn refuse_pattern(&self, subscription: &Subscription, bus: &str) -> Result<(), BusError> {
        let Some(pattern) = &subscription.pattern else { return Ok(()) };
        let reason =
            format!("it has no routing keys that the pattern `{pattern}` could choose from: leave the pattern out");
        Err(BusError::Unsupported { bus: bus.into(), reason })
    }

    /// What stands in for what a message of this time leaves out.
    pub(crate) fn absent(&self, time: Timestamp) -> Absent<'_> {
        Absent { stream: None, category: self.category.as_deref(), time, id: None }
    }
}
