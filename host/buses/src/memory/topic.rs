//! A topic: its partitions, its groups, and who is told when something changes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{Kept, group::Group};

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

/// What a topic holds.
#[derive(Debug)]
pub(super) struct State {
    pub(super) partitions: Vec<Partition>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    /// How many messages it keeps.
    capacity: usize,
}

/// The messages of a partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// The offset of the first message that is still there.
    pub(super) first: u64,
    pub(super) messages: VecDeque<Kept>,
}

impl Partition {
    /// The offset that the next message gets.
    pub(super) fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// The message at an offset.
    pub(super) fn get(&self, offset: u64) -> Option<&Kept> {
        let index = offset.checked_sub(self.first)?;
        self.messages.get(usize::try_from(index).ok()?)
    }
}

impl Topic {
    pub(super) fn new(partitions: usize, capacity: usize) -> Self {
        let partitions = std::iter::repeat_with(Partition::default).take(partitions).collect();
        let state = State { partitions, groups: BTreeMap::new(), capacity };
        Self { state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    /// What it holds. Whoever changes it calls [`Topic::tell`] afterwards.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for a change.
    pub(super) fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Told of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Adds messages, all or none.
    pub(super) fn add(&self, messages: Vec<(usize, Kept)>) -> Result<(), String> {
        let mut state = self.state();
        state.make_room(messages.len())?;
        for (partition, kept) in messages {
            state.partitions[partition].messages.push_back(kept);
        }
        drop(state);
        self.tell();
        Ok(())
    }
}

impl State {
    /// Drops the oldest messages that no group needs, until so many more fit.
    fn make_room(&mut self, more: usize) -> Result<(), String> {
        let held: usize = self.partitions.iter().map(|partition| partition.messages.len()).sum();
        let mut surplus = (held + more).saturating_sub(self.capacity);
        while surplus > 0 {
            let needed =
                |index: usize| self.groups.values().map(|group| group.settled(index)).min().unwrap_or(u64::MAX);
            let fronts = self.partitions.iter().enumerate().filter(|(index, it)| it.first < needed(*index));
            let oldest = fronts.filter_map(|(index, it)| Some((it.messages.front()?.time, index))).min();
            let Some((_, index)) = oldest else { break };
            self.partitions[index].messages.pop_front();
            self.partitions[index].first += 1;
            surplus -= 1;
        }
        // A batch larger than the whole topic is taken when nobody needs what is there.
        if surplus == 0 || self.partitions.iter().all(|partition| partition.messages.is_empty()) {
            return Ok(());
        }
        let behind = |group: &Group| -> u64 {
            let partitions = self.partitions.iter().enumerate();
            partitions.map(|(index, partition)| partition.end().saturating_sub(group.settled(index))).sum()
        };
        let slowest = self.groups.iter().max_by_key(|(_, group)| behind(group));
        let (name, behind) = slowest.map_or(("", 0), |(name, group)| (name.as_ref(), behind(group)));
        Err(format!(
            "the topic is full: it keeps {} messages, and group `{name}` has yet to settle {behind}; \
             it takes more when the group has come on, or with a larger `capacity`",
            self.capacity
        ))
    }
}
