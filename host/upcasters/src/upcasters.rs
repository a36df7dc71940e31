//! The upcasters of a host: does what operators ask and brings events to their newest form. What is deployed is the fold
//! of the journal, which is followed: a host that starts again goes on with what it had before, and what another host
//! changes changes here.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use lantern_core::{
    Digest, Entry, Event, Filter, Grants, GuestThreads, Happening, Journal, Kind, Library, Log, Name, Position,
    Subject, Upcasting,
    journal::{UpcasterDeployment, follow},
    module::{Failure, Limits, Settings},
    standing::{Standing, Standings},
    upcasting::Accepted,
};
use tokio::sync::watch;

use crate::{Refusal, Status, Swapped, chain::Chain, dry_run::dry_run, upcaster::Upcaster};

/// What the upcasters stand on.
pub struct Ports {
    /// The modules.
    pub library: Arc<dyn Library>,
    /// The host's own history.
    pub journal: Arc<dyn Journal>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The threads on which guests run.
    pub threads: Arc<GuestThreads>,
}

/// An upcaster to deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// Its name, which must be free.
    pub name: Name,
    /// Its module.
    pub module: Digest,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
}

/// The upcasters of a host. Cheap to clone.
#[derive(Clone)]
pub struct Upcasters {
    shared: Arc<Shared>,
}

struct Shared {
    ports: Ports,
    deployed: Mutex<BTreeMap<Name, Deployed>>,
    chain: RwLock<Arc<Chain>>,
    /// Whether the chain has no step, so that a host without upcasters pays nothing.
    is_empty: AtomicBool,
    changes: watch::Sender<u64>,
    /// The journal as far as it is known. Held while the chain is changed: one change at a time, since steps of all
    /// upcasters have to go together.
    told: tokio::sync::Mutex<Told>,
}

type Told = Standings<UpcasterDeployment>;

/// An upcaster as it is deployed.
#[derive(Clone)]
struct Deployed {
    upcaster: Arc<Upcaster>,
    standing: Standing<UpcasterDeployment>,
}

impl Upcasters {
    /// Loads everything the journal says is deployed, and follows the journal from then on.
    ///
    /// A module that cannot be loaded is an error: the host must not serve half of what it was told to.
    pub async fn start(ports: Ports) -> Result<Self, Refusal> {
        let told = Standings::new(Kind::Upcaster, |happening| match happening {
            Happening::UpcasterDeployed(deployment) => Some((deployment.clone(), deployment.module)),
            _ => None,
        });
        let end = ports.journal.end();
        let shared = Shared {
            ports,
            deployed: Mutex::default(),
            is_empty: AtomicBool::new(true),
            chain: RwLock::default(),
            changes: watch::Sender::new(0),
            told: tokio::sync::Mutex::new(told),
        };
        let shared = Arc::new(shared);
        shared.catch_up(&mut *shared.told.lock().await).await?;
        let follower = Arc::downgrade(&shared);
        tokio::spawn(follow(end, move || next(follower.clone())));
        Ok(Self { shared })
    }

    /// What brings events to their newest form.
    #[must_use]
    pub fn upcasting(&self) -> Arc<dyn Upcasting> {
        self.shared.clone()
    }

    /// Deploys an upcaster. Its steps must go together with those of the others.
    pub async fn deploy(&self, deploy: Deploy) -> Result<Status, Refusal> {
        let Deploy { name, module, config, limits } = deploy;
        let deployment = UpcasterDeployment { module, config, limits };
        let mut change = self.change().await?;
        loop {
            if self.shared.deployed().contains_key(&name) {
                return Err(Refusal::Exists(name));
            }
            let upcaster = load(&*self.shared.ports.library, &name, module, &deployment).await?;
            self.chain_with(&upcaster)?;
            if change.write(&name, Happening::UpcasterDeployed(deployment.clone())).await? {
                return self.status(&name);
            }
        }
    }

    /// Removes an upcaster: what it takes is seen as it is in the log again.
    pub async fn remove(&self, name: &Name) -> Result<(), Refusal> {
        let mut change = self.change().await?;
        loop {
            self.deployed(name)?;
            Chain::of(self.others(name))?;
            if change.write(name, Happening::Removed).await? {
                return Ok(());
            }
        }
    }

    /// All upcasters, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Status> {
        self.shared.deployed().iter().map(|(name, deployed)| deployed.status(name)).collect()
    }

    /// One upcaster.
    pub fn status(&self, name: &Name) -> Result<Status, Refusal> {
        Ok(self.deployed(name)?.status(name))
    }

    /// What happened to an upcaster, oldest first; also to one that was removed.
    pub async fn history(&self, name: &Name) -> Result<Vec<Entry>, Refusal> {
        let mut entries = self.shared.ports.journal.entries().await?;
        let subject = subject(name);
        entries.retain(|entry| entry.subject == subject);
        if entries.is_empty() { Err(Refusal::Unknown(name.clone())) } else { Ok(entries) }
    }

    /// Which modules are needed: those in charge, and those that can be gone back to.
    #[must_use]
    pub fn modules_in_use(&self) -> Vec<(Name, Digest)> {
        let needed = |(name, deployed): (&Name, &Deployed)| {
            let digests = deployed.standing.previous.into_iter().chain([deployed.upcaster.module.digest()]);
            digests.map(|digest| (name.clone(), digest)).collect::<Vec<_>>()
        };
        self.shared.deployed().iter().flat_map(needed).collect()
    }

    /// Puts another module in charge, after a dry run. Events under way end with the chain they began with.
    pub async fn swap(&self, name: &Name, module: Digest) -> Result<Swapped, Refusal> {
        let mut change = self.change().await?;
        loop {
            let Deployed { upcaster, standing } = self.deployed(name)?;
            let from = upcaster.module.digest();
            if from == module {
                return Err(Refusal::SameModule { name: name.clone(), module });
            }
            let ports = &self.shared.ports;
            let upcaster = load(&*ports.library, name, module, &standing.deployment).await?;
            let dry_run_events = match self.tried(&upcaster).await {
                Ok(events) => events,
                Err(refusal) => {
                    let happening = Happening::SwapRefused { module, reason: refusal.to_string() };
                    ports.journal.append(&subject(name), happening).await?;
                    return Err(refusal);
                }
            };
            let position = self.head();
            if change.write(name, Happening::Swapped { position, from, to: module }).await? {
                return Ok(Swapped { position, from, to: module, dry_run_events });
            }
        }
    }

    /// Goes back to the module before the last swap, at once.
    pub async fn rollback(&self, name: &Name) -> Result<Swapped, Refusal> {
        let mut change = self.change().await?;
        loop {
            let Deployed { upcaster, standing } = self.deployed(name)?;
            let from = upcaster.module.digest();
            let Some(to) = standing.previous else { return Err(Refusal::NothingToRollBack(name.clone())) };
            let upcaster = load(&*self.shared.ports.library, name, to, &standing.deployment).await?;
            self.chain_with(&upcaster)?;
            let (position, reason) = (self.head(), "by an operator".into());
            if change.write(name, Happening::RolledBack { position, from, to, reason }).await? {
                return Ok(Swapped { position, from, to, dry_run_events: 0 });
            }
        }
    }

    /// Tries the chain with a module in charge under its name without effect, and says on how many events.
    async fn tried(&self, upcaster: &Arc<Upcaster>) -> Result<u64, Refusal> {
        let candidate = Arc::new(self.chain_with(upcaster)?);
        let (module, Ports { log, threads, .. }) = (&upcaster.module, &self.shared.ports);
        let chains = (self.shared.chain(), candidate);
        dry_run(&**log, threads, module.digest(), &module.description().steps, chains).await
    }

    /// The chain of all upcasters, with this one in the place of that of its name.
    fn chain_with(&self, upcaster: &Arc<Upcaster>) -> Result<Chain, Refusal> {
        Chain::of(self.others(&upcaster.name).into_iter().chain([upcaster.clone()]))
    }

    fn others(&self, name: &Name) -> Vec<Arc<Upcaster>> {
        let deployed = self.shared.deployed();
        let others = deployed.iter().filter(|(other, _)| *other != name);
        others.map(|(_, deployed)| deployed.upcaster.clone()).collect()
    }

    fn deployed(&self, name: &Name) -> Result<Deployed, Refusal> {
        self.shared.deployed().get(name).cloned().ok_or_else(|| Refusal::Unknown(name.clone()))
    }

    fn head(&self) -> Position {
        *self.shared.ports.log.head().borrow()
    }

    /// Takes the right to change what is deployed, one at a time.
    async fn change(&self) -> Result<Change<'_>, Refusal> {
        let mut told = self.shared.told.lock().await;
        self.shared.catch_up(&mut told).await?;
        Ok(Change { shared: &self.shared, told })
    }
}

/// The right to change what is deployed, and all that the journal says of it.
///
/// A change is made true by writing it into the journal, from where it takes effect here as on every other host. What is
/// written takes effect also when nobody waits for it any more: the journal is followed.
struct Change<'a> {
    shared: &'a Shared,
    told: tokio::sync::MutexGuard<'a, Told>,
}

impl Change<'_> {
    /// Writes what was decided on all that the journal says. `false` when another host has written meanwhile: then all has
    /// to be decided anew.
    async fn write(&mut self, name: &Name, happening: Happening) -> Result<bool, Refusal> {
        let entry = self.shared.ports.journal.append_after(self.told.last(), &subject(name), happening).await?;
        self.shared.catch_up(&mut self.told).await?;
        Ok(entry.is_some())
    }
}

/// Takes up what is new in the journal.
async fn next(shared: Weak<Shared>) -> ControlFlow<(), bool> {
    let Some(shared) = shared.upgrade() else { return ControlFlow::Break(()) };
    let result = shared.catch_up(&mut *shared.told.lock().await).await;
    if let Err(error) = &result {
        tracing::error!("the upcasters could not follow the journal: {error}; trying again");
    }
    ControlFlow::Continue(result.is_ok())
}

impl Deployed {
    /// Whether it runs as the journal says.
    fn is_same(&self, told: &Standing<UpcasterDeployment>) -> bool {
        (self.standing.entry, self.standing.module) == (told.entry, told.module)
    }

    fn status(&self, name: &Name) -> Status {
        let module = &self.upcaster.module;
        Status {
            name: name.clone(),
            module: module.digest(),
            description: module.description().clone(),
            previous_module: self.standing.previous,
            deployed_at: self.standing.deployed_at,
            config: self.standing.deployment.config.clone(),
            limits: self.standing.deployment.limits.clone(),
        }
    }
}

impl Shared {
    /// Takes up what is new in the journal and puts it in charge.
    async fn catch_up(&self, told: &mut Told) -> Result<(), Refusal> {
        for entry in self.ports.journal.entries_after(told.last()).await? {
            told.add(entry);
        }
        // What could not be loaded the last time is tried again, also when there is nothing new.
        let there = self.deployed().clone();
        let is_told = |(name, deployed): (&Name, &Deployed)| told.all().get(name) == Some(&deployed.standing);
        if there.len() == told.all().len() && there.iter().all(is_told) {
            return Ok(());
        }
        let mut deployed = BTreeMap::new();
        for (name, standing) in told.all() {
            let same = there.get(name).filter(|there| there.is_same(standing)).map(|there| there.upcaster.clone());
            let upcaster = match same {
                Some(upcaster) => upcaster,
                None => load(&*self.ports.library, name, standing.module, &standing.deployment).await?,
            };
            deployed.insert(name.clone(), Deployed { upcaster, standing: standing.clone() });
        }
        let chain = Chain::of(deployed.values().map(|deployed| deployed.upcaster.clone()))?;
        *self.deployed() = deployed;
        let before = self.publish(Arc::new(chain));
        // Instances end where blocking is allowed.
        self.ports.threads.run(move || drop((before, there))).await?;
        Ok(())
    }

    fn deployed(&self) -> MutexGuard<'_, BTreeMap<Name, Deployed>> {
        // Every change is a single assignment, so a panic leaves nothing half-changed.
        self.deployed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chain(&self) -> Arc<Chain> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a chain in charge and answers the one before.
    fn publish(&self, chain: Arc<Chain>) -> Arc<Chain> {
        let is_empty = chain.is_empty();
        let before = std::mem::replace(&mut *self.chain.write().unwrap_or_else(PoisonError::into_inner), chain);
        self.is_empty.store(is_empty, Ordering::Release);
        self.changes.send_modify(|changes| *changes += 1);
        before
    }
}

impl Upcasting for Shared {
    fn widen(&self, filter: Filter) -> Filter {
        self.chain().widen(filter)
    }

    fn upcast<'e>(&self, event: &'e Event, accepted: &Accepted) -> Result<Cow<'e, Event>, Failure> {
        if self.is_empty.load(Ordering::Acquire) {
            return Ok(Cow::Borrowed(event));
        }
        let chain = {
            let chain = self.chain.read().unwrap_or_else(PoisonError::into_inner);
            // The usual event has no step to take, and costs no more than this.
            if !chain.applies(event, accepted) {
                return Ok(Cow::Borrowed(event));
            }
            chain.clone()
        };
        chain.upcast(event, accepted)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Makes a module ready to work under a name.
async fn load(
    library: &dyn Library,
    name: &Name,
    module: Digest,
    deployment: &UpcasterDeployment,
) -> Result<Arc<Upcaster>, Refusal> {
    let settings = Settings {
        kind: Kind::Upcaster,
        name: name.clone(),
        limits: deployment.limits.clone(),
        config: deployment.config.clone(),
        grants: Grants::default(),
    };
    Ok(Arc::new(Upcaster::new(name.clone(), library.load_upcaster(module, &settings).await?)))
}

/// What the journal calls the upcaster of this name.
fn subject(name: &Name) -> Subject {
    Subject { kind: Kind::Upcaster, name: name.clone() }
}
