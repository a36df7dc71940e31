//! The steward: which processors and routes this host runs. Beat by beat it renews the leases of what it runs, takes what
//! nobody has up to a fair share, and gives back what is above it. Every host can run every processor; a route, and what it
//! feeds, only those can whose configuration has it, and it is spread over these.
//!
//! ```text
//!  beat ─▶ lease is ours ─▶ attend: restore ─▶ runs … ─▶ to end, or its time is over ─▶ runs end ─▶ next beat: given back
//! ```
//!
//! A lease only avoids work that is done twice: the fence of the read model makes a host harmless that lost one unawares.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use lantern_core::{
    Identity, Name,
    hosts::{Beat, HostsError, Roll},
};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{self, Instant},
};
use uuid::Uuid;

use crate::{
    Ports, Refusal, Supervisor,
    configured::consuming,
    supervisor::Shared,
    tenure::{Tenure, Term},
};

/// The longest time between two beats.
const BEAT: Duration = Duration::from_secs(1);

/// How long a processor is left to others that could not be started here.
const SHUNNED: Duration = Duration::from_secs(5);

/// How often processors changed hosts, as this host has seen it since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moves {
    /// Taken by this host.
    pub taken: u64,
    /// Given back by it.
    pub released: u64,
    /// Lost by it: its time was over and another host took it.
    pub lost: u64,
}

/// How an attempt to start a processor ended.
pub(crate) type Begun = oneshot::Receiver<Result<(), Refusal>>;

/// What this host has leases for.
#[derive(Default)]
pub(crate) struct Charges {
    units: BTreeMap<Name, Charge>,
    /// What is being deployed: it has a lease before the journal tells of it.
    reserved: BTreeSet<Name>,
    /// What could not be started, and until when it is not tried again.
    shunned: BTreeMap<Name, Instant>,
    /// What has a lease of this host that nobody needs.
    strays: Vec<Name>,
    /// Who is there and who has what, as of the last beat.
    pub(crate) roll: Roll,
    pub(crate) moves: Moves,
    /// Why the last beat failed, if it did.
    trouble: Option<HostsError>,
}

/// A processor or a route this host has a lease for.
struct Charge {
    term: Term,
    tenure: Tenure,
    /// Whether its runs have ended, so that it can be given back.
    has_ended: bool,
    attendant: Option<JoinHandle<()>>,
}

/// The right to deploy under a name. Given back when it is dropped without having been kept.
pub(crate) struct Reserved {
    supervisor: Supervisor,
    name: Name,
    tenure: Tenure,
    is_kept: bool,
}

/// Beats until the host ends.
pub(crate) async fn keep(shared: Weak<Shared>, mut end: watch::Receiver<u64>) {
    loop {
        let Some((wake, pause)) = shared.upgrade().map(|shared| (shared.wake.clone(), pause(&shared.ports))) else {
            return;
        };
        tokio::select! {
            () = time::sleep(pause) => {}
            () = wake.notified() => {}
            // The journal lasts as long as the host.
            _ = end.changed() => {}
        }
        let Some(shared) = shared.upgrade() else { return };
        let supervisor = Supervisor { shared };
        if supervisor.processors().closed {
            return;
        }
        if let Err(error) = supervisor.follow().await {
            tracing::warn!("the journal cannot be followed: {error}; trying again");
        }
        let result = supervisor.beat(&[]).await;
        let before = std::mem::replace(&mut supervisor.charges().trouble, result.err());
        if let (None, Some(error)) = (before, supervisor.trouble()) {
            tracing::warn!("{error}; trying again, and ending what is run here when its time is over");
        }
    }
}

/// The time between two beats.
fn pause(ports: &Ports) -> Duration {
    (ports.lease / 5).min(BEAT)
}

impl Supervisor {
    /// Joins the other hosts and takes a share of what is deployed.
    pub(crate) async fn join(&self) -> Result<Vec<Begun>, HostsError> {
        // The first beat tells who is there, and with it how large the share is.
        self.beat(&[]).await?;
        self.beat(&[]).await
    }

    /// Says that this host lives; gives back, takes and starts what is to be.
    async fn beat(&self, wanted: &[Name]) -> Result<Vec<Begun>, HostsError> {
        let _one = self.shared.beating.lock().await;
        if self.processors().closed {
            return Ok(Vec::new());
        }
        let (release, mut take) = self.plan();
        take.extend_from_slice(wanted);
        let Ports { hosts, host, lease, .. } = &**self.ports();
        let until = Instant::now() + *lease;
        let able = self.shared.routes.known();
        let beat = Beat { host, lease: *lease, able, release: &release, take: &take };
        let silent = |_| HostsError(format!("no answer within {} s", lease.as_secs_f64()));
        let roll = time::timeout(*lease, hosts.beat(&beat)).await.map_err(silent)??;
        Ok(self.settle(roll, &release, until))
    }

    /// What to give back and what to take.
    fn plan(&self) -> (Vec<Name>, Vec<Name>) {
        let (deployed, running, fed): (BTreeMap<Name, u64>, BTreeMap<Name, u64>, BTreeMap<Name, Name>) = {
            let processors = self.processors();
            let roster = &processors.roster.deployed;
            let deployed = roster.iter().map(|(name, deployed)| (name.clone(), deployed.entry));
            let running = processors.running.iter().map(|(name, processor)| (name.clone(), processor.entry));
            let fed =
                roster.iter().filter_map(|(name, deployed)| Some((name.clone(), deployed.deployment.route.clone()?)));
            (deployed.collect(), running.collect(), fed.collect())
        };
        let mut charges = self.charges();
        let now = Instant::now();
        charges.shunned.retain(|_, until| now < *until);
        for (name, charge) in &charges.units {
            let is_current = running.get(name).is_none_or(|entry| deployed.get(name) == Some(entry));
            let is_there = name.is_reserved() || (deployed.contains_key(name) && is_current);
            if !is_there && !charges.reserved.contains(name) {
                charge.term.end();
            }
        }
        let Charges { roll, units, reserved, shunned, .. } = &*charges;
        let able = |unit: &Name| able(roll, unit, fed.get(unit));
        let mut groups: BTreeMap<BTreeSet<Uuid>, Vec<&Name>> = BTreeMap::new();
        for unit in deployed.keys().chain(self.shared.routes.units()) {
            groups.entry(able(unit)).or_default().push(unit);
        }
        let mut take = Vec::new();
        for (hosts, group) in groups {
            let is_kept = |(name, charge): &(&Name, &Charge)| charge.term.is_kept() && able(name) == hosts;
            let kept: Vec<(&Name, &Charge)> = units.iter().filter(is_kept).collect();
            // While nobody is known, nothing is taken and nothing given away.
            let share = share(self.ports().host.id, &group, &hosts, roll).unwrap_or(kept.len());
            // Always the last of those that may go, so that the others stay.
            let movable = kept.iter().rev().filter(|(name, _)| !reserved.contains(*name));
            movable.take(kept.len().saturating_sub(share)).for_each(|(_, charge)| charge.term.end());
            let is_takeable = |name: &&Name| {
                roll.owner(name).is_none()
                    && !units.contains_key(*name)
                    && !reserved.contains(*name)
                    && !shunned.contains_key(*name)
            };
            let wanting = share.saturating_sub(kept.len());
            take.extend(group.into_iter().filter(is_takeable).take(wanting).cloned());
        }
        let ended = charges.units.iter().filter(|(_, charge)| charge.has_ended);
        let mut release: Vec<Name> = ended.map(|(name, _)| name.clone()).collect();
        release.append(&mut charges.strays);
        (release, take)
    }

    /// Adapts what this host has to what it has leases for.
    fn settle(&self, roll: Roll, released: &[Name], until: Instant) -> Vec<Begun> {
        let own: BTreeSet<Name> = {
            let own = roll.leases.iter().filter(|lease| lease.host == self.ports().host.id && !lease.is_over);
            own.map(|lease| lease.unit.clone()).collect()
        };
        let routes = self.shared.routes.units();
        let is_there = |name: &Name| routes.contains(name) || self.processors().roster.deployed.contains_key(name);
        let new: Vec<Name> = {
            let mut charges = self.charges();
            let Charges { units, moves, .. } = &mut *charges;
            units.retain(|name, charge| {
                if own.contains(name) {
                    charge.term.extend(until);
                    return true;
                }
                if charge.has_ended {
                    moves.released += u64::from(released.contains(name));
                    return false;
                }
                if charge.tenure.holds() {
                    tracing::warn!(processor = %name, "another host has taken it over: its run ends here");
                    moves.lost += 1;
                    charge.term.lose();
                }
                true
            });
            charges.roll = roll;
            own.iter().filter(|name| !charges.units.contains_key(*name)).cloned().collect()
        };
        let (wanted, strays): (Vec<Name>, Vec<Name>) = new.into_iter().partition(|name| is_there(name));
        let mut charges = self.charges();
        let reserved = charges.reserved.clone();
        charges.strays.extend(strays.into_iter().filter(|name| !reserved.contains(name)));
        drop(charges);
        wanted.into_iter().filter(|name| !reserved.contains(name)).map(|name| self.charge(name, until)).collect()
    }

    /// Takes charge of a processor: has it started.
    fn charge(&self, name: Name, until: Instant) -> Begun {
        let (begun, answer) = oneshot::channel();
        let (term, tenure) = Term::new(until);
        let attending = attend(self.clone(), name.clone(), tenure.clone(), Some(begun));
        let mut charges = self.charges();
        charges.moves.taken += 1;
        let attendant = Some(tokio::spawn(attending));
        charges.units.insert(name, Charge { term, tenure, has_ended: false, attendant });
        answer
    }

    /// Takes a lease for what is to be deployed under a name. `None` when another host has it just now; this is answered
    /// after a while only, in which things may have changed.
    pub(crate) async fn reserve(&self, name: &Name) -> Result<Option<Reserved>, Refusal> {
        self.charges().reserved.insert(name.clone());
        let given_back = Unreserved { supervisor: self, name };
        // What was removed just now may still be ending.
        self.discharge(name).await;
        let until = Instant::now() + self.ports().lease;
        self.beat(std::slice::from_ref(name)).await?;
        let is_own = self.charges().roll.owner(name).is_some_and(|owner| owner.identity.id == self.ports().host.id);
        if !is_own {
            time::sleep(pause(self.ports())).await;
            return Ok(None);
        }
        let (term, tenure) = Term::new(until);
        let charge = Charge { term, tenure: tenure.clone(), has_ended: false, attendant: None };
        let mut charges = self.charges();
        charges.moves.taken += 1;
        charges.units.insert(name.clone(), charge);
        drop(charges);
        std::mem::forget(given_back);
        Ok(Some(Reserved { supervisor: self.clone(), name: name.clone(), tenure, is_kept: false }))
    }

    /// Has what runs under a name end, and gives it back.
    pub(crate) async fn discharge(&self, name: &Name) {
        let attendant = {
            let mut charges = self.charges();
            let Some(charge) = charges.units.get_mut(name) else { return };
            charge.term.end();
            charge.attendant.take()
        };
        if let Some(attendant) = attendant
            && let Err(error) = attendant.await
        {
            tracing::error!(processor = %name, "its attendant ended with a panic: {error}");
        }
        if let Err(error) = self.beat(&[]).await {
            tracing::warn!(processor = %name, "{error}: it is given back later");
        }
    }

    /// The hosts, who has what, and what moved, as this host knows it.
    #[must_use]
    pub fn roll(&self) -> (Roll, Moves) {
        let charges = self.charges();
        (charges.roll.clone(), charges.moves)
    }

    /// Why the other hosts cannot be heard at the moment, if they cannot.
    #[must_use]
    pub fn trouble(&self) -> Option<HostsError> {
        self.charges().trouble.clone()
    }

    /// What is deployed, or a route of the configuration, and runs on no host, as far as this one knows. Routes have reserved
    /// names.
    #[must_use]
    pub fn unattended(&self) -> Vec<Name> {
        let deployed: Vec<Name> = self.processors().roster.deployed.keys().cloned().collect();
        let charges = self.charges();
        deployed
            .into_iter()
            .chain(self.shared.routes.units().iter().cloned())
            .filter(|name| charges.roll.owner(name).is_none())
            .collect()
    }

    /// Who this host is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.ports().host
    }

    pub(crate) fn charges(&self) -> MutexGuard<'_, Charges> {
        // Every change is a single insertion or removal, so a panic leaves nothing half-changed.
        self.shared.charges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attends a processor from its start to its end.
async fn attend(
    supervisor: Supervisor,
    name: Name,
    mut tenure: Tenure,
    begun: Option<oneshot::Sender<Result<(), Refusal>>>,
) {
    let weak = Arc::downgrade(&supervisor.shared);
    let mut has_failed = false;
    if let Some(begun) = begun {
        let result = match supervisor.follow().await {
            Ok(()) => supervisor.restore(&name, tenure.clone()).await,
            Err(refusal) => Err(refusal),
        };
        has_failed = result.is_err();
        if let Err(refusal) = &result {
            tracing::error!(processor = %name, "it cannot be started here: {refusal}");
        }
        // Only the start of the host waits for it.
        let _ = begun.send(result);
    }
    // A host that ends must not be held by what it runs.
    drop(supervisor);
    if !has_failed {
        tenure.ended().await;
    }
    let Some(shared) = weak.upgrade() else { return };
    let supervisor = Supervisor { shared };
    supervisor.dismiss(&name).await;
    let mut charges = supervisor.charges();
    if let Some(charge) = charges.units.get_mut(&name) {
        charge.has_ended = true;
    }
    if has_failed {
        charges.shunned.insert(name, Instant::now() + SHUNNED);
    }
    drop(charges);
    supervisor.shared.wake.notify_one();
}

/// The hosts that can run a unit, which a route may feed. When no host has that route any more, whoever tries says so.
fn able(roll: &Roll, unit: &Name, fed_by: Option<&Name>) -> BTreeSet<Uuid> {
    let feeding = fed_by.map(|route| roll.able(&consuming(route))).filter(|hosts| !hosts.is_empty());
    feeding.unwrap_or_else(|| roll.able(unit))
}

/// How many of the units are a host's among those that can run them: as many as everybody's, and those that do not go round
/// stay with whoever has most. `None` while no host is known.
fn share(host: Uuid, units: &[&Name], able: &BTreeSet<Uuid>, roll: &Roll) -> Option<usize> {
    let mut held: HashMap<Uuid, usize> = able.iter().map(|host| (*host, 0)).collect();
    if held.is_empty() {
        return None;
    }
    let (each, left) = (units.len() / held.len(), units.len() % held.len());
    for unit in units {
        if let Some(owner) = roll.owner(unit)
            && let Some(count) = held.get_mut(&owner.identity.id)
        {
            *count += 1;
        }
    }
    let mut hosts: Vec<(Reverse<usize>, Uuid)> = held.into_iter().map(|(host, count)| (Reverse(count), host)).collect();
    hosts.sort_unstable();
    let place = hosts.iter().position(|(_, other)| *other == host);
    Some(each + usize::from(place.is_some_and(|place| place < left)))
}

/// Takes a name out of those that are reserved when a reservation does not come about.
struct Unreserved<'a> {
    supervisor: &'a Supervisor,
    name: &'a Name,
}

impl Drop for Unreserved<'_> {
    fn drop(&mut self) {
        self.supervisor.charges().reserved.remove(self.name);
    }
}

impl Reserved {
    /// For how long this host may run what is deployed.
    pub(crate) fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// What was deployed runs: it is attended from now on.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut charges = self.supervisor.charges();
        charges.reserved.remove(&self.name);
        let Some(charge) = charges.units.get_mut(&self.name) else { return };
        if !self.is_kept {
            charge.term.end();
        }
        // Ends what runs when its time has come, which is at once where nothing was deployed.
        let attending = attend(self.supervisor.clone(), self.name.clone(), self.tenure.clone(), None);
        charge.attendant = Handle::try_current().ok().map(|runtime| runtime.spawn(attending));
    }
}

#[cfg(test)]
mod tests {
    use lantern_core::{
        Timestamp,
        hosts::{Leased, Seen},
    };

    use super::*;

    fn identity(id: u128) -> Identity {
        Identity {
            id: Uuid::from_u128(id),
            name: format!("host-{id}"),
            address: String::new(),
            started_at: Timestamp(0),
        }
    }

    /// A roll of live hosts, which have so many units each; and the names of those and `free` more.
    fn roll(held: &[usize], free: usize) -> (Roll, Vec<Name>) {
        let (mut roll, mut units) = (Roll::default(), Vec::new());
        for (index, count) in held.iter().enumerate() {
            let identity = identity(index as u128);
            for _ in 0..*count {
                let unit: Name = format!("unit-{:03}", units.len()).parse().unwrap();
                units.push(unit.clone());
                roll.leases.push(Leased { unit, host: identity.id, epoch: 1, is_over: false });
            }
            roll.hosts.push(Seen { identity, seen_at: Timestamp(0), is_live: true, able: Vec::new() });
        }
        for _ in 0..free {
            units.push(format!("unit-{:03}", units.len()).parse().unwrap());
        }
        (roll, units)
    }

    fn share_of(host: usize, units: &[Name], roll: &Roll) -> Option<usize> {
        let able = roll.able(&"any".parse().unwrap());
        share(Uuid::from_u128(host as u128), &units.iter().collect::<Vec<_>>(), &able, roll)
    }

    fn shares(held: &[usize], free: usize) -> Vec<usize> {
        let (roll, units) = roll(held, free);
        (0..held.len()).map(|host| share_of(host, &units, &roll).unwrap()).collect()
    }

    #[test]
    fn everybody_has_as_many_and_the_rest_stays_where_it_is() {
        assert_eq!(shares(&[0], 12), [12]);
        assert_eq!(shares(&[12, 0, 0], 0), [4, 4, 4]);
        assert_eq!(shares(&[0, 0, 0], 13), [5, 4, 4]);
        assert_eq!(shares(&[4, 4, 5], 0), [4, 4, 5], "nothing moves");
        assert_eq!(shares(&[1, 0, 1], 0), [1, 0, 1], "nothing moves");
        assert_eq!(shares(&[2, 2, 0], 0), [2, 1, 1]);
        assert_eq!(shares(&[3, 3], 1), [4, 3]);
    }

    #[test]
    fn who_is_dead_has_no_share() {
        let (mut roll, units) = roll(&[2, 2, 2], 0);
        roll.hosts[1].is_live = false;
        let shares = [0, 1, 2].map(|host| share_of(host, &units, &roll));
        assert_eq!((shares[0], shares[2]), (Some(3), Some(3)));
        assert_eq!(share_of(0, &units, &Roll::default()), None, "nothing is known yet");
    }
}
