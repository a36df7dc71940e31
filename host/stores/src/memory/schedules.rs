//! The schedules of a generation in memory: a map by key.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use lantern_core::{EventId, ScheduleChange, Scheduled};

/// The schedules of a generation.
#[derive(Default)]
pub(super) struct Schedules(BTreeMap<Arc<str>, Scheduled>);

impl Schedules {
    /// Carries out a change.
    pub(super) fn change(&mut self, change: &ScheduleChange) {
        match change {
            ScheduleChange::Set(scheduled) => drop(self.0.insert(scheduled.key.clone(), (**scheduled).clone())),
            ScheduleChange::Cancel(key) => drop(self.0.remove(key)),
        }
    }

    /// All schedules, the first due first.
    pub(super) fn all(&self) -> Vec<Scheduled> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        // Stable, so that those of the same moment stay in order of their keys.
        all.sort_by_key(|scheduled| scheduled.due);
        all
    }

    /// Removes the schedules of these events.
    pub(super) fn fired(&mut self, events: &[EventId]) {
        let fired: HashSet<&EventId> = events.iter().collect();
        self.0.retain(|_, scheduled| !fired.contains(&scheduled.event.id));
    }
}
