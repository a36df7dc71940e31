//! Which events a reader wants.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Event;

/// Which events a reader wants: those that fit every part; an empty part fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Categories of streams.
    pub categories: BTreeSet<String>,
    /// Event types.
    pub event_types: BTreeSet<String>,
    /// Tenants.
    pub tenants: BTreeSet<String>,
}

impl Filter {
    /// The filter that fits every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The filter that fits the events of one category.
    #[must_use]
    pub fn category(category: impl Into<String>) -> Self {
        Self { categories: BTreeSet::from([category.into()]), ..Self::default() }
    }

    /// Whether every event fits.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.categories.is_empty() && self.event_types.is_empty() && self.tenants.is_empty()
    }

    /// Whether an event fits.
    #[must_use]
    pub fn fits(&self, event: &Event) -> bool {
        let fits = |wanted: &BTreeSet<String>, has: Option<&str>| {
            wanted.is_empty() || has.is_some_and(|value| wanted.contains(value))
        };
        fits(&self.categories, Some(event.stream.category()))
            && fits(&self.event_types, Some(event.event_type.as_str()))
            && fits(&self.tenants, event.metadata.tenant.as_deref())
    }
}
