//! The aggregates of a host: takes commands and does what operators ask. What is deployed is the fold of the journal,
//! which is followed: a host that starts again goes on with what it had before, and what another host changes changes here.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use lantern_core::{
    Command, Digest, Entry, Happening, Kind, Name, StreamName, Version,
    journal::{AggregateDeployment, SnapshotPolicy, follow},
    module::Limits,
    standing::Standings,
};
use tokio::sync::Semaphore;

use crate::{
    Answer, Capacity, CommandError, Counters, Crowd, Ports, Refusal, Shown, Status, Swapped, Taken,
    aggregate::{Aggregate, settings, subject},
    crew::Crew,
    deployed::{Told, next},
    dry_run::{DryRun, dry_run},
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

pub(crate) struct Shared {
    pub(crate) means: Arc<Means>,
    pub(crate) crew: Crew,
    pub(crate) warm: Warm,
    /// One permit a command: bounds them, and tells when the last one has ended.
    commands: Semaphore,
    is_closed: AtomicBool,
    capacity: Capacity,
    pub(crate) deployed: RwLock<BTreeMap<String, Arc<Aggregate>>>,
    /// The journal as far as it is known. Held while what is deployed is changed: one change at a time.
    pub(crate) told: tokio::sync::Mutex<Told>,
}

/// Whether a command can have been sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Given,
    Fresh,
}

impl Aggregates {
    /// Loads the module of everything the journal says is deployed, and follows the journal from then on.
    ///
    /// A module that cannot be loaded is an error: the host must not serve half of what it was told to.
    pub async fn start(ports: Ports, capacity: Capacity) -> Result<Self, Refusal> {
        let told: Told = Standings::new(Kind::Aggregate, |happening| match happening {
            Happening::AggregateDeployed(deployment) => Some((deployment.clone(), deployment.module)),
            _ => None,
        });
        let end = ports.journal.end();
        let crew = Crew::new(ports.threads.clone());
        let shared = Shared {
            means: Arc::new(Means::new(ports, &capacity)),
            crew,
            warm: Warm::new(capacity),
            commands: Semaphore::new(capacity.commands as usize),
            is_closed: AtomicBool::default(),
            capacity,
            deployed: RwLock::default(),
            told: tokio::sync::Mutex::new(told),
        };
        let shared = Arc::new(shared);
        shared.catch_up(&mut *shared.told.lock().await).await?;
        let follower = Arc::downgrade(&shared);
        tokio::spawn(follow(end, move || next(follower.clone())));
        Ok(Self { shared })
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
        self.shared.dismiss(warm.evict(&means.bytes));
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
        let Deploy { name, module, config, limits, snapshots } = deploy;
        if StreamName::new(format!("{name}-1")).is_ok_and(|stream| stream.category() != name.as_str()) {
            return Err(Refusal::NoCategory(name));
        }
        let means = &self.shared.means;
        let deployment = AggregateDeployment { module, config, limits, snapshots };
        let mut change = self.shared.change().await?;
        loop {
            if self.shared.is_closed.load(Ordering::Acquire) {
                return Err(Refusal::ShuttingDown);
            }
            if self.aggregate(&name).is_ok() {
                return Err(Refusal::Exists(name));
            }
            means.ports.library.load_aggregate(module, &settings(&name, &deployment)).await?;
            // Whatever an interrupted removal may have left is not this aggregate's.
            means.archive.forget(name.as_str()).await?;
            let happening = Happening::AggregateDeployed(deployment.clone());
            if change.write(&name, happening).await? {
                return self.status(&name);
            }
        }
    }

    /// Removes an aggregate with its snapshots. Its events stay.
    pub async fn remove(&self, name: &Name) -> Result<(), Refusal> {
        let aggregate = self.aggregate(name)?;
        let _changing = aggregate.changing.try_lock().map_err(|_| Refusal::Busy(name.clone()))?;
        let mut change = self.shared.change().await?;
        loop {
            self.aggregate(name)?;
            if change.write(name, Happening::Removed).await? {
                break;
            }
        }
        drop(change);
        if let Err(error) = self.shared.means.archive.forget(name.as_str()).await {
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
        let same = || Refusal::SameModule { name: name.clone(), module };
        if from == module {
            return Err(same());
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
        let mut change = self.shared.change().await?;
        loop {
            let now = self.aggregate(name)?.edition().module.digest();
            if now == module {
                return Err(same());
            }
            if now != from {
                // Another host has swapped meanwhile: it was not this module that the dry run was held against.
                return Err(Refusal::Busy(name.clone()));
            }
            if change.write(name, Happening::Swapped { position, from, to: module }).await? {
                let DryRun { streams, events } = tried;
                return Ok(Swapped { position, from, to: module, dry_run_streams: streams, dry_run_events: events });
            }
        }
    }

    /// Goes back to the module before the last swap, at once.
    pub async fn rollback(&self, name: &Name) -> Result<Swapped, Refusal> {
        let aggregate = self.aggregate(name)?;
        let _changing = aggregate.changing.try_lock().map_err(|_| Refusal::Busy(name.clone()))?;
        let mut change = self.shared.change().await?;
        loop {
            let aggregate = self.aggregate(name)?;
            let previous = aggregate.previous().ok_or_else(|| Refusal::NothingToRollBack(name.clone()))?;
            let (from, to) = (aggregate.edition().module.digest(), previous.digest());
            // Before the journal says so, since what it says has to be possible.
            self.shared.load(&aggregate, to).await?;
            let (position, reason) = (self.shared.means.head(), "by an operator".into());
            if change.write(name, Happening::RolledBack { position, from, to, reason }).await? {
                return Ok(Swapped { position, from, to, dry_run_streams: 0, dry_run_events: 0 });
            }
        }
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
        let _told = self.shared.told.lock().await;
        self.shared.is_closed.store(true, Ordering::Release);
        // Nobody closes the semaphore, so that this cannot fail.
        let _all = self.shared.commands.acquire_many(self.shared.capacity.commands).await;
        self.shared.means.archive.written().await;
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
}
