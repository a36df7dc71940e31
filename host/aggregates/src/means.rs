//! What all aggregates of a host share: the ports, and how much may be held.

use std::sync::Arc;

use lantern_core::{Clock, GuestThreads, Journal, Library, Log, Position, Snapshots, Upcasting};

use crate::{archive::Archive, counters::Tally};

/// What the aggregates stand on.
pub struct Ports {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The storage of snapshots.
    pub snapshots: Arc<dyn Snapshots>,
    /// The modules.
    pub library: Arc<dyn Library>,
    /// The host's own history.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The chain that brings older events to the form a module understands.
    pub upcasting: Arc<dyn Upcasting>,
    /// The threads on which guests run.
    pub threads: Arc<GuestThreads>,
}

/// How much a host holds of its aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// How many streams stay loaded.
    pub loaded: usize,
    /// How much memory they may hold together, in bytes.
    pub bytes: u64,
    /// How many commands may be under way in the host, those that wait included; at most `u32::MAX`.
    pub commands: u32,
    /// How many commands of one stream may be under way.
    pub commands_per_stream: usize,
    /// How many snapshots may wait to be written; at least 1.
    pub snapshots: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { loaded: 10_000, bytes: 256 * 1024 * 1024, commands: 10_000, commands_per_stream: 1_000, snapshots: 256 }
    }
}

/// What a module needs to work on a stream.
pub(crate) struct Means {
    pub(crate) ports: Ports,
    pub(crate) archive: Archive,
    /// The memory of everything that is loaded, in bytes.
    pub(crate) bytes: Tally,
}

impl Means {
    pub(crate) fn new(ports: Ports, capacity: &Capacity) -> Self {
        let archive = Archive::start(ports.snapshots.clone(), capacity.snapshots);
        Self { ports, archive, bytes: Tally::default() }
    }

    /// The head of the log.
    pub(crate) fn head(&self) -> Position {
        *self.ports.log.head().borrow()
    }
}
