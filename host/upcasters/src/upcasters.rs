//! The upcasters of a host: does what operators ask and brings events to their newest form. What is deployed is the fold
//! of the journal, so a host that starts again goes on with what it had before.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use lantern_core::{
    Digest, Entry, Event, Filter, Grants, GuestThreads, Happening, Journal, Kind, Library, Log, Name, Position,
    Subject, Timestamp, Upcasting,
    guest_threads::Panicked,
    journal::UpcasterDeployment,
    module::{Failure, Limits, Settings},
    standing::standing,
    upcasting::Accepted,
};
use tokio::sync::{OwnedMutexGuard, watch};

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
    /// Held while the chain is changed: one change at a time, since steps of all upcasters have to go together.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// An upcaster as it is deployed.
#[derive(Clone)]
struct Deployed {
    upcaster: Arc<Upcaster>,
    previous: Option<Digest>,
    deployment: UpcasterDeployment,
    deployed_at: Timestamp,
}

impl Upcasters {
    /// Loads everything the journal says is deployed.
    ///
    /// A module that cannot be loaded is an error: the host must not serve half of what it was told to.
    pub async fn start(ports: Ports) -> Result<Self, Refusal> {
        let standing = standing(ports.journal.entries().await?, Kind::Upcaster, |happening| match happening {
            Happening::UpcasterDeployed(deployment) => Some((deployment.clone(), deployment.module)),
            _ => None,
        });
        let mut deployed = BTreeMap::new();
        for (name, own) in standing {
            let upcaster = load(&*ports.library, &name, own.module, &own.deployment).await?;
            let (previous, deployment, deployed_at) = (own.previous, own.deployment, own.deployed_at);
            deployed.insert(name, Deployed { upcaster, previous, deployment, deployed_at });
        }
        let chain = Chain::of(deployed.values().map(|deployed: &Deployed| deployed.upcaster.clone()))?;
        let shared = Shared {
            ports,
            deployed: Mutex::new(deployed),
            is_empty: AtomicBool::new(chain.is_empty()),
            chain: RwLock::new(Arc::new(chain)),
            changes: watch::Sender::new(0),
            changing: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What brings events to their newest form.
    #[must_use]
    pub fn upcasting(&self) -> Arc<dyn Upcasting> {
        self.shared.clone()
    }

    /// Deploys an upcaster. Its steps must go together with those of the others.
    pub async fn deploy(&self, deploy: Deploy) -> Result<Status, Refusal> {
        let changing = self.change().await;
        let Deploy { name, module, config, limits } = deploy;
        if self.shared.deployed().contains_key(&name) {
            return Err(Refusal::Exists(name));
        }
        let deployment = UpcasterDeployment { module, config, limits };
        let upcaster = load(&*self.shared.ports.library, &name, module, &deployment).await?;
        let chain = self.chain_with(&upcaster)?;
        let happening = Happening::UpcasterDeployed(deployment.clone());
        self.settle(changing, name, happening, Arc::new(chain), move |name, entry, all| {
            let deployed = Deployed { upcaster, previous: None, deployment, deployed_at: entry.at };
            let status = deployed.status(&name);
            all.insert(name, deployed);
            status
        })
        .await
    }

    /// Removes an upcaster: what it takes is seen as it is in the log again.
    pub async fn remove(&self, name: &Name) -> Result<(), Refusal> {
        let changing = self.change().await;
        self.deployed(name)?;
        let chain = Chain::of(self.others(name))?;
        self.settle(changing, name.clone(), Happening::Removed, Arc::new(chain), |name, _, all| {
            all.remove(&name);
        })
        .await
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
            let digests = deployed.previous.into_iter().chain([deployed.upcaster.module.digest()]);
            digests.map(|digest| (name.clone(), digest)).collect::<Vec<_>>()
        };
        self.shared.deployed().iter().flat_map(needed).collect()
    }

    /// Puts another module in charge, after a dry run. Events under way end with the chain they began with.
    pub async fn swap(&self, name: &Name, module: Digest) -> Result<Swapped, Refusal> {
        let changing = self.change().await;
        let deployed = self.deployed(name)?;
        if deployed.upcaster.module.digest() == module {
            return Err(Refusal::SameModule { name: name.clone(), module });
        }
        let ports = &self.shared.ports;
        let upcaster = load(&*ports.library, name, module, &deployed.deployment).await?;
        let (chain, dry_run_events) = match self.tried(&upcaster).await {
            Ok(tried) => tried,
            Err(refusal) => {
                let happening = Happening::SwapRefused { module, reason: refusal.to_string() };
                ports.journal.append(&subject(name), happening).await?;
                return Err(refusal);
            }
        };
        let (from, to, position) = (deployed.upcaster.module.digest(), module, self.head());
        let happening = Happening::Swapped { position, from, to };
        self.settle(changing, name.clone(), happening, chain, move |name, _, all| {
            all.insert(name, Deployed { upcaster, previous: Some(from), ..deployed });
        })
        .await?;
        Ok(Swapped { position, from, to, dry_run_events })
    }

    /// Goes back to the module before the last swap, at once.
    pub async fn rollback(&self, name: &Name) -> Result<Swapped, Refusal> {
        let changing = self.change().await;
        let deployed = self.deployed(name)?;
        let Some(to) = deployed.previous else { return Err(Refusal::NothingToRollBack(name.clone())) };
        let upcaster = load(&*self.shared.ports.library, name, to, &deployed.deployment).await?;
        let chain = self.chain_with(&upcaster)?;
        let (from, position) = (deployed.upcaster.module.digest(), self.head());
        let happening = Happening::RolledBack { position, from, to, reason: "by an operator".into() };
        self.settle(changing, name.clone(), happening, Arc::new(chain), move |name, _, all| {
            all.insert(name, Deployed { upcaster, previous: Some(from), ..deployed });
        })
        .await?;
        Ok(Swapped { position, from, to, dry_run_events: 0 })
    }

    /// The chain with a module in charge under its name, tried without effect, and on how many events.
    async fn tried(&self, upcaster: &Arc<Upcaster>) -> Result<(Arc<Chain>, u64), Refusal> {
        let candidate = Arc::new(self.chain_with(upcaster)?);
        let (module, Ports { log, threads, .. }) = (&upcaster.module, &self.shared.ports);
        let chains = (self.shared.chain(), candidate.clone());
        let events = dry_run(&**log, threads, module.digest(), &module.description().steps, chains).await?;
        Ok((candidate, events))
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

    async fn change(&self) -> OwnedMutexGuard<()> {
        self.shared.changing.clone().lock_owned().await
    }

    /// Makes a change true: first in the journal, then in the host. Once begun it is carried through, also when nobody
    /// waits for it any more, so that the host never runs anything but the fold of its journal.
    async fn settle<T: Send + 'static>(
        &self,
        changing: OwnedMutexGuard<()>,
        name: Name,
        happening: Happening,
        chain: Arc<Chain>,
        change: impl FnOnce(Name, &Entry, &mut BTreeMap<Name, Deployed>) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let shared = self.shared.clone();
        let settling = tokio::spawn(async move {
            let _one = changing;
            let entry = shared.ports.journal.append(&subject(&name), happening).await?;
            let changed = change(name, &entry, &mut shared.deployed());
            let before = shared.publish(chain);
            // Instances end where blocking is allowed.
            shared.ports.threads.run(move || drop(before)).await?;
            Ok(changed)
        });
        settling.await.map_err(|_| Panicked)?
    }
}

impl Deployed {
    fn status(&self, name: &Name) -> Status {
        let module = &self.upcaster.module;
        Status {
            name: name.clone(),
            module: module.digest(),
            description: module.description().clone(),
            previous_module: self.previous,
            deployed_at: self.deployed_at,
            config: self.deployment.config.clone(),
            limits: self.deployment.limits.clone(),
        }
    }
}

impl Shared {
    fn deployed(&self) -> MutexGuard<'_, BTreeMap<Name, Deployed>> {
        // Every change is a single insertion or removal, so a panic leaves nothing half-changed.
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
