//! The port of hosts: which hosts share the stores, and which of them runs which processor and which route.
//!
//! ```text
//!  every second:  host ──▶ I live; I keep what I have, give this back, want that ──▶ who lives, who has what
//! ```
//!
//! A lease only avoids work that is done twice. What makes a host harmless that has lost one, and does not know it yet, is
//! the fence of the read model: see [`crate::read_model`].

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Fate, Name, Timestamp};

/// Who a host is. A host that starts again is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Made anew at every start.
    pub id: Uuid,
    /// Its name, for people.
    pub name: String,
    /// Where other hosts reach its HTTP API, for example `http://10.0.0.7:7171`.
    pub address: String,
    /// When it started, by its own clock.
    pub started_at: Timestamp,
}

/// A host as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Who it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// When it was heard of last, by the clock of the store.
    pub seen_at: Timestamp,
    /// Whether that is less ago than its leases last.
    pub is_live: bool,
    /// What it can run beside what every host can: the routes of its configuration.
    pub able: Vec<Name>,
}

/// Who runs a processor or a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The processor; a route has a reserved name.
    pub unit: Name,
    /// The host.
    pub host: Uuid,
    /// How often it has changed hosts.
    pub epoch: u64,
    /// Whether the time of the lease is over: anybody may take it.
    pub is_over: bool,
}

/// What a host says of itself, and wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat<'a> {
    /// Who speaks.
    pub host: &'a Identity,
    /// How long its leases last from now on.
    pub lease: Duration,
    /// What it can run beside what every host can: the routes of its configuration.
    pub able: &'a [Name],
    /// What it gives back. What is not its own is left alone.
    pub release: &'a [Name],
    /// What it wants: it gets those that nobody has, or whose lease is over.
    pub take: &'a [Name],
}

/// Who is there and who has what, all of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roll {
    /// The hosts, the longest there first: those that live, and those that died lately.
    pub hosts: Vec<Seen>,
    /// All leases, by unit.
    pub leases: Vec<Leased>,
}

impl Roll {
    /// The host of an id.
    #[must_use]
    pub fn host(&self, id: Uuid) -> Option<&Seen> {
        self.hosts.iter().find(|host| host.identity.id == id)
    }

    /// The hosts that live and can run a unit: all of them a processor, a route those whose configuration has it.
    #[must_use]
    pub fn able(&self, unit: &Name) -> BTreeSet<Uuid> {
        let can = |seen: &&Seen| seen.is_live && (!unit.is_reserved() || seen.able.contains(unit));
        self.hosts.iter().filter(can).map(|seen| seen.identity.id).collect()
    }

    /// The host that has a lease which is not over.
    #[must_use]
    pub fn owner(&self, unit: &Name) -> Option<&Seen> {
        let lease = self.leases.iter().find(|lease| lease.unit == *unit && !lease.is_over)?;
        self.host(lease.host)
    }
}

/// Why the hosts could not be asked. What a host has stays its own until its time is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the registry of hosts failed: {0}")]
pub struct HostsError(pub String);

impl HostsError {
    /// What becomes of the beat.
    #[must_use]
    pub fn fate(&self) -> Fate {
        Fate::Retry
    }
}

/// The hosts that share the stores. Time is that of the store, so that the clocks of the hosts do not matter.
#[async_trait]
pub trait Hosts: Send + Sync {
    /// Says that a host lives, renews all its leases but those it gives back, and takes what it wants and can have.
    /// All of it takes effect at one moment.
    async fn beat(&self, beat: &Beat<'_>) -> Result<Roll, HostsError>;

    /// Who is there and who has what.
    async fn roll(&self) -> Result<Roll, HostsError>;

    /// Takes leave: the host gives back all it has and is there no more.
    async fn leave(&self, host: Uuid) -> Result<(), HostsError>;
}
