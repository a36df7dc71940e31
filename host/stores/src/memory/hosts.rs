//! The registry of hosts in memory: the hosts of one process, or the one that has its stores for itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lantern_core::{
    Clock, Name, SystemClock, Timestamp,
    hosts::{Beat, HostsError, Identity, Leased, Roll, Seen},
};
use uuid::Uuid;

/// How long a host is remembered that is heard of no more.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The registry of hosts in memory.
#[derive(Default)]
pub struct Hosts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hosts: Vec<Known>,
    leases: BTreeMap<Name, Lease>,
}

struct Known {
    identity: Identity,
    seen: Instant,
    seen_at: Timestamp,
    /// Until when it counts as living.
    until: Instant,
    able: Vec<Name>,
}

struct Lease {
    /// `None` when it was given back. The epoch goes on counting.
    host: Option<Uuid>,
    epoch: u64,
    until: Instant,
}

impl Hosts {
    /// No hosts yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while the state is half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn beat(&mut self, beat: &Beat<'_>, now: Instant) {
        let (id, until) = (beat.host.id, now + beat.lease);
        let (identity, able) = (beat.host.clone(), beat.able.to_vec());
        let known = Known { identity, seen: now, seen_at: SystemClock.now(), until, able };
        match self.hosts.iter_mut().find(|known| known.identity.id == id) {
            Some(there) => *there = known,
            None => self.hosts.push(known),
        }
        self.hosts.retain(|known| now - known.seen < REMEMBERED);
        for (unit, lease) in &mut self.leases {
            if lease.host != Some(id) {
                continue;
            }
            if beat.release.contains(unit) {
                lease.host = None;
            } else {
                lease.until = until;
            }
        }
        for unit in beat.take {
            let lease = self.leases.entry(unit.clone()).or_insert(Lease { host: None, epoch: 0, until: now });
            let is_free = lease.host.is_none() || lease.until <= now;
            if is_free && lease.host != Some(id) {
                *lease = Lease { host: Some(id), epoch: lease.epoch + 1, until };
            }
        }
    }

    fn roll(&self, now: Instant) -> Roll {
        let seen = |known: &Known| Seen {
            identity: known.identity.clone(),
            seen_at: known.seen_at,
            is_live: known.until > now,
            able: known.able.clone(),
        };
        let leased = |(unit, lease): (&Name, &Lease)| {
            let host = lease.host?;
            Some(Leased { unit: unit.clone(), host, epoch: lease.epoch, is_over: lease.until <= now })
        };
        Roll { hosts: self.hosts.iter().map(seen).collect(), leases: self.leases.iter().filter_map(leased).collect() }
    }
}

#[async_trait]
impl lantern_core::Hosts for Hosts {
    async fn beat(&self, beat: &Beat<'_>) -> Result<Roll, HostsError> {
        let mut state = self.state();
        let now = Instant::now();
        state.beat(beat, now);
        Ok(state.roll(now))
    }

    async fn roll(&self) -> Result<Roll, HostsError> {
        Ok(self.state().roll(Instant::now()))
    }

    async fn leave(&self, host: Uuid) -> Result<(), HostsError> {
        let mut state = self.state();
        state.hosts.retain(|known| known.identity.id != host);
        for lease in state.leases.values_mut().filter(|lease| lease.host == Some(host)) {
            lease.host = None;
        }
        Ok(())
    }
}
