//! Modules that are in use or were not long ago, shared by all who load them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
};

use lantern_core::Digest;

use crate::ready::Ready;

/// How many modules are kept although nobody uses them, so that a rollback finds its module ready.
const UNUSED: usize = 16;

/// Modules that are in use or were not long ago.
#[derive(Default)]
pub(super) struct Recent {
    used: HashMap<Digest, Weak<Ready>>,
    // The last ones loaded, the newest last.
    last: VecDeque<Arc<Ready>>,
}

impl Recent {
    /// The module of a digest, where it is still there.
    pub(super) fn get(&mut self, digest: Digest) -> Option<Arc<Ready>> {
        let ready = self.used.get(&digest)?.upgrade()?;
        self.put(ready.clone());
        Some(ready)
    }

    /// Keeps a module.
    pub(super) fn put(&mut self, ready: Arc<Ready>) {
        self.last.retain(|last| last.digest != ready.digest);
        if self.last.len() == UNUSED {
            self.last.pop_front();
        }
        self.used.retain(|_, used| used.strong_count() > 0);
        self.used.insert(ready.digest, Arc::downgrade(&ready));
        self.last.push_back(ready);
    }

    /// Forgets a module; those who use it keep it.
    pub(super) fn remove(&mut self, digest: Digest) {
        self.used.remove(&digest);
        self.last.retain(|last| last.digest != digest);
    }
}
