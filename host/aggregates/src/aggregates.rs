//! The aggregates of a host: takes commands and does what operators ask. What is deployed is the fold of the journal,
//! so a host that starts again goes on with what it had before.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use lantern_core::{
    AggregateModule, Command, Digest, Entry, Happening, Kind, Name, StreamName, Version,
    journal::{AggregateDeployment, SnapshotPolicy},
    module::Limits,
    standing::standing,
};
use tokio::sync::Semaphore;

use crate::{
    Answer, Capacity, CommandError, Counters, Crowd, Ports, Refusal, Shown, Status, Swapped, Taken,
    aggregate::{Aggregate, Previous, settings, subject},
    crew::Crew,
    dry_run::{DryRun, dry_run},
    loaded::Loaded,
    means::Means,
    repeated::first_answer,
    send::{Ending, Sending},
    show::replay,
    warm::Warm,
};

/// An aggregate to deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// Its name, which must be free: the category of its streams, for example `Order`.
    pub name: Name,
    /// Its module.
    pub module: Digest,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
    /// When snapshots are taken.
    pub snapshots: SnapshotPolicy,
}

/// The aggregates of a host. Cheap to clone.
#[derive(Clone)]
pub struct Aggregates {
    shared: Arc<Shared>,
}

struct Shared {
    means: Arc<Means>,
    crew: Crew,
    warm: Warm,
    /// One permit a command: bounds them, and tells when the last one has ended.
    commands: Semaphore,
    is_closed: AtomicBool,
    capacity: Capacity,
    deployed: RwLock<BTreeMap<String, Arc<Aggregate>>>,
    /// Held while aggregates are deployed or removed: one at a time.
    deploying: tokio::sync::Mutex<()>,
}

/// Whether a command can have been sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Given,
    Fresh,
}

impl Aggregates {
    /// Loads the module of everything the journal says is deployed.
    ///
    /// A module that cannot be loaded is an error: the host must not serve half of what it was told to.
    pub async fn start(ports: Ports, capacity: Capacity) -> Result<Self, Refusal> {
        let deployed = standing(ports.journal.entries().await?, Kind::Aggregate, |happening| match happening {
            Happening::AggregateDeployed(deployment) => Some((deployment.clone(), deployment.module)),
            _ => None,
        });
        let crew = Crew::new(ports.threads.clone());
        let means = Arc::new(Means::new(ports, &capacity));
        let mut aggregates = BTreeMap::new();
        for (name, own) in deployed {
            let module = means.ports.library.load_aggregate(own.module, &settings(&name, &own.deployment)).await?;
            let key = name.as_str().to_owned();
            let aggregate = Aggregate::new(name, own.deployment, own.deployed_at, module, own.previous, means.clone());
            aggregates.insert(key, Arc::new(aggregate));
        }
        let shared = Shared {
            means,
            crew,
            warm: Warm::new(capacity),
            commands: Semaphore::new(capacity.commands as usize),
            is_closed: AtomicBool::default(),
            capacity,
            deployed: RwLock::new(aggregates),
            deploying: tokio::sync::Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Carries out a command whose id its sender chose: sent a second time, it has no second effect, and the first
    /// answer is given. `expect` is the version the sender believes the stream has.
    pub async fn send(&self, command: Command, expect: Option<Version>) -> Result<Answer, CommandError> {
        self.carry_out(command, expect, Identity::Given).await
    }

    /// Carries out a command whose id was made for it just now, so that it cannot have been sent before.
    pub async fn send_fresh(&self, command: Command, expect: Option<Version>) -> Result<Answer, CommandError> {
        self.carry_out(command, expect, Identity::Fresh).await
    }

    async fn carry_out(
        &self,
        command: Command,
        expect: Option<Version>,
        identity: Identity,
    ) -> Result<Answer, CommandError> {
        let aggregate = self.aggregate_of(&command.stream)?;
        let edition = aggregate.edition();
        let known = &edition.module.description().commands;
        let result = if known.is_empty() || known.iter().any(|known| known == command.command_type.as_str()) {
            self.decide(&aggregate, Arc::new(command), expect, identity).await
        } else {
            let (name, known) = (aggregate.category.name.clone(), known.clone());
            Err(CommandError::UnknownCommand { name, command_type: command.command_type, known })
        };
        aggregate.category.tallies.command(result.as_ref().map(|answer| answer.repeated));
        result
    }

    async fn decide(
        &self,
        aggregate: &Aggregate,
        command: Arc<Command>,
        expect: Option<Version>,
        identity: Identity,
    ) -> Result<Answer, CommandError> {
        let Shared { means, crew, warm, commands, is_closed, .. } = &*self.shared;
        if is_closed.load(Ordering::Acquire) {
            return Err(CommandError::ShuttingDown);
        }
        let _one = commands.try_acquire().map_err(|_| CommandError::Busy(Crowd::Host))?;
        let crowded = || CommandError::Busy(Crowd::Stream(command.stream.clone()));
        let under_way = warm.enter(&command.stream).ok_or_else(crowded)?;
        let ending = {
            let mut kept = under_way.place().loaded.lock().await;
            if aggregate.category.is_removed() {
                return Err(self.unknown(&command.stream));
            }
            let sending = Sending { crew, edition: aggregate.edition(), command: command.clone(), expect };
            sending.run(&mut kept).await
        };
        drop(under_way);
        self.dismiss(warm.evict(&means.bytes));
        // Decided anew, a command that was sent before may come to anything but new events of its own.
        let may_be_there = match &ending {
            Ok(Ending::Appended(_)) => false,
            Ok(Ending::There) => true,
            Ok(Ending::Nothing(_)) => identity == Identity::Given,
            Err(error) => identity == Identity::Given && error.is_about_the_state(),
        };
        if may_be_there && let Some(answer) = first_answer(&*means.ports.log, &command).await? {
            return Ok(answer);
        }
        match ending? {
            Ending::Appended(answer) | Ending::Nothing(answer) => Ok(answer),
            Ending::There => Err(CommandError::IdTaken { id: command.id, stream: command.stream.clone() }),
        }
    }

    /// Deploys an aggregate.
    pub async fn deploy(&self, deploy: Deploy) -> Result<Status, Refusal> {
        let _one = self.shared.deploying.lock().await;
        let Deploy { name, module, config, limits, snapshots } = deploy;
        if StreamName::new(format!("{name}-1")).is_ok_and(|stream| stream.category() != name.as_str()) {
            return Err(Refusal::NoCategory(name));
        }
        if self.shared.is_closed.load(Ordering::Acquire) {
            return Err(Refusal::ShuttingDown);
        }
        if self.aggregate(&name).is_ok() {
            return Err(Refusal::Exists(name));
        }
        let means = &self.shared.means;
        let deployment = AggregateDeployment { module, config, limits, snapshots };
        let loaded = means.ports.library.load_aggregate(module, &settings(&name, &deployment)).await?;
        // Whatever an interrupted removal may have left is not this aggregate's.
        means.archive.forget(name.as_str()).await?;
        let happening = Happening::AggregateDeployed(deployment.clone());
        let entry = means.ports.journal.append(&subject(&name), happening).await?;
        let aggregate = Aggregate::new(name.clone(), deployment, entry.at, loaded, None, means.clone());
        let status = aggregate.status();
        self.change_deployed(|deployed| drop(deployed.insert(name.as_str().to_owned(), Arc::new(aggregate))));
        Ok(status)
    }

    /// Removes an aggregate with its snapshots. Its events stay.
    pub async fn remove(&self, name: &Name) -> Result<(), Refusal> {
        let _one = self.shared.deploying.lock().await;
        let aggregate = self.aggregate(name)?;
        let _changing = aggregate.changing.try_lock().map_err(|_| Refusal::Busy(name.clone()))?;
        let means = &self.shared.means;
        means.ports.journal.append(&aggregate.subject(), Happening::Removed).await?;
        self.change_deployed(|deployed| drop(deployed.remove(name.as_str())));
        aggregate.retire();
        self.dismiss(self.shared.warm.forget(name.as_str()));
        if let Err(error) = means.archive.forget(name.as_str()).await {
            // The next deployment of the name forgets them before it begins.
            tracing::warn!(aggregate = %name, "{error}");
        }
        Ok(())
    }

    /// All aggregates, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Status> {
        self.all().iter().map(|aggregate| aggregate.status()).collect()
    }

    /// One aggregate.
    pub fn status(&self, name: &Name) -> Result<Status, Refusal> {
        Ok(self.aggregate(name)?.status())
    }

    /// What each aggregate has counted, by name.
    #[must_use]
    pub fn counters(&self) -> Vec<(Name, Counters)> {
        let counted = |aggregate: &Arc<Aggregate>| (aggregate.category.name.clone(), aggregate.category.tallies.read());
        self.all().iter().map(counted).collect()
    }

    /// Puts another module in charge, after a dry run. Commands under way end with the module they began with.
    pub async fn swap(&self, name: &Name, module: Digest) -> Result<Swapped, Refusal> {
        let aggregate = self.aggregate(name)?;
        let _changing = aggregate.changing.try_lock().map_err(|_| Refusal::Busy(name.clone()))?;
        let current = aggregate.edition();
        let from = current.module.digest();
        if from == module {
            return Err(Refusal::SameModule { name: name.clone(), module });
        }
        let ports = &self.shared.means.ports;
        let loaded = ports.library.load_aggregate(module, &settings(name, &aggregate.deployment)).await?;
        let candidate = aggregate.candidate(loaded);
        let tried = match dry_run(&self.shared.crew, &self.shared.warm, &current, &candidate).await {
            Ok(tried) => tried,
            Err(refusal) => {
                let happening = Happening::SwapRefused { module, reason: refusal.to_string() };
                ports.journal.append(&aggregate.subject(), happening).await?;
                return Err(refusal);
            }
        };
        let position = self.shared.means.head();
        let happening = Happening::Swapped { position, from, to: module };
        ports.journal.append(&aggregate.subject(), happening).await?;
        aggregate.change(candidate);
        self.dismiss(self.shared.warm.forget(name.as_str()));
        let DryRun { streams, events } = tried;
        Ok(Swapped { position, from, to: module, dry_run_streams: streams, dry_run_events: events })
    }

    /// Goes back to the module before the last swap, at once.
    pub async fn rollback(&self, name: &Name) -> Result<Swapped, Refusal> {
        let aggregate = self.aggregate(name)?;
        let _changing = aggregate.changing.try_lock().map_err(|_| Refusal::Busy(name.clone()))?;
        let module: Arc<dyn AggregateModule> = match aggregate.previous() {
            None => return Err(Refusal::NothingToRollBack(name.clone())),
            Some(Previous::Loaded(module)) => module,
            Some(Previous::Known(digest)) => {
                let settings = settings(name, &aggregate.deployment);
                self.shared.means.ports.library.load_aggregate(digest, &settings).await?
            }
        };
        let (from, to) = (aggregate.edition().module.digest(), module.digest());
        let position = self.shared.means.head();
        let reason = "by an operator".into();
        let happening = Happening::RolledBack { position, from, to, reason };
        self.shared.means.ports.journal.append(&aggregate.subject(), happening).await?;
        aggregate.change(aggregate.candidate(module));
        self.dismiss(self.shared.warm.forget(name.as_str()));
        Ok(Swapped { position, from, to, dry_run_streams: 0, dry_run_events: 0 })
    }

    /// What happened to an aggregate, oldest first; also to one that was removed.
    pub async fn history(&self, name: &Name) -> Result<Vec<Entry>, Refusal> {
        let mut entries = self.shared.means.ports.journal.entries().await?;
        let subject = subject(name);
        entries.retain(|entry| entry.subject == subject);
        if entries.is_empty() { Err(Refusal::Unknown(name.clone())) } else { Ok(entries) }
    }

    /// The state of an aggregate as it is, or was at a version: replayed, nothing that is kept is used.
    pub async fn show(&self, stream: &StreamName, version: Option<Version>) -> Result<Shown, Refusal> {
        let edition = self.aggregate_of(stream)?.edition();
        let snapshot = replay(&self.shared.crew, &edition, stream, version).await?;
        Ok(Shown {
            stream: snapshot.stream,
            version: snapshot.version,
            state: snapshot.state,
            state_version: snapshot.state_version,
            module: snapshot.module,
        })
    }

    /// Takes a snapshot of an aggregate now, and waits until it is kept.
    pub async fn snapshot(&self, stream: &StreamName) -> Result<Taken, Refusal> {
        let aggregate = self.aggregate_of(stream)?;
        let edition = aggregate.edition();
        if edition.policy == SnapshotPolicy::Never {
            return Err(Refusal::NoSnapshots(aggregate.category.name.clone()));
        }
        let snapshot = replay(&self.shared.crew, &edition, stream, None).await?;
        let taken = Taken {
            stream: stream.clone(),
            version: snapshot.version,
            bytes: snapshot.state.len() as u64,
            state_version: snapshot.state_version,
            module: snapshot.module,
        };
        self.shared.means.ports.snapshots.put(snapshot).await?;
        aggregate.category.tallies.written.one();
        Ok(taken)
    }

    /// Which modules are needed: those in charge, and those that can be gone back to.
    #[must_use]
    pub fn modules_in_use(&self) -> Vec<(Name, Digest)> {
        let needed = |aggregate: &Arc<Aggregate>| {
            let previous = aggregate.previous().map(|previous| previous.digest());
            let name = aggregate.category.name.clone();
            let digests = previous.into_iter().chain([aggregate.edition().module.digest()]);
            digests.map(move |digest| (name.clone(), digest)).collect::<Vec<_>>()
        };
        self.all().iter().flat_map(needed).collect()
    }

    /// Takes no more commands, and waits until those under way have ended and their snapshots are written. The caller
    /// bounds the wait.
    pub async fn shutdown(&self) {
        let _one = self.shared.deploying.lock().await;
        self.shared.is_closed.store(true, Ordering::Release);
        // Nobody closes the semaphore, so that this cannot fail.
        let _all = self.shared.commands.acquire_many(self.shared.capacity.commands).await;
        self.shared.means.archive.written().await;
    }

    /// Drops what guests hold, where blocking is allowed.
    fn dismiss(&self, loaded: Vec<Loaded>) {
        if !loaded.is_empty() {
            self.shared.crew.dismiss(loaded);
        }
    }

    fn aggregate(&self, name: &Name) -> Result<Arc<Aggregate>, Refusal> {
        let deployed = self.shared.deployed.read().unwrap_or_else(PoisonError::into_inner);
        deployed.get(name.as_str()).cloned().ok_or_else(|| Refusal::Unknown(name.clone()))
    }

    fn aggregate_of(&self, stream: &StreamName) -> Result<Arc<Aggregate>, CommandError> {
        let deployed = self.shared.deployed.read().unwrap_or_else(PoisonError::into_inner);
        let found = deployed.get(stream.category()).cloned();
        drop(deployed);
        found.ok_or_else(|| self.unknown(stream))
    }

    fn unknown(&self, stream: &StreamName) -> CommandError {
        let known = self.all().iter().map(|aggregate| aggregate.category.name.clone()).collect();
        CommandError::Unknown { stream: stream.clone(), known }
    }

    fn all(&self) -> Vec<Arc<Aggregate>> {
        self.shared.deployed.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn change_deployed(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Aggregate>>)) {
        // Every change is a single insertion or removal, so a panic leaves nothing half-changed.
        change(&mut self.shared.deployed.write().unwrap_or_else(PoisonError::into_inner));
    }
}
