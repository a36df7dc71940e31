//! The supervisor: keeps a run for every deployed processor and does what operators ask. What is deployed is the
//! fold of the journal, so a host that starts again goes on with what it ran before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lantern_core::{
    Clock, Digest, Entry, Generation, Grants, GuestThreads, Happening, Journal, Kind, Library, Log, Name, Position,
    ReadModel, ReadModels, Subject, Upcasting,
    journal::{Deployment, FailurePolicy},
    module::Limits,
};

use crate::{
    Refusal, Retried, Selection, Status,
    command::Command,
    dry_run,
    generation::Hold,
    processor::{Begun, Processor, Running, Standing, settings},
    roster::{Back, Deployed, Roster},
};

/// What the processors stand on.
pub struct Ports {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The storage of read models.
    pub read_models: Arc<dyn ReadModels>,
    /// The modules.
    pub library: Arc<dyn Library>,
    /// The host's own history.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The threads on which guests run.
    pub threads: Arc<GuestThreads>,
    /// The upcasters: what modules see is in the newest form they understand.
    pub upcasting: Arc<dyn Upcasting>,
}

/// Where a processor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first event of the log.
    #[default]
    Beginning,
    /// With the next event.
    End,
    /// With the event after this position.
    After(Position),
}

/// A processor to deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// What it is: a projection or a handler.
    pub kind: Kind,
    /// Its name, which must be free.
    pub name: Name,
    /// Its module.
    pub module: Digest,
    /// Where it begins.
    pub start: Start,
    /// What the module reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What the module may use.
    pub limits: Limits,
    /// How failures are dealt with.
    pub failure_policy: FailurePolicy,
    /// What the module may do beyond its own documents; nothing for a projection.
    pub grants: Grants,
}

/// Keeps a run for every deployed processor. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

struct Shared {
    ports: Arc<Ports>,
    processors: Mutex<Processors>,
    /// Held while processors are deployed or removed: one at a time.
    deploying: tokio::sync::Mutex<()>,
}

struct Processors {
    running: BTreeMap<Name, Arc<Processor>>,
    last_generations: BTreeMap<Name, u32>,
    closed: bool,
}

impl Supervisor {
    /// Starts everything the journal says is deployed.
    ///
    /// A processor whose module or read model cannot be loaded is an error: the host must not serve half of what it
    /// was told to.
    pub async fn start(ports: Ports) -> Result<Self, Refusal> {
        let roster = Roster::fold(ports.journal.entries().await?);
        let processors =
            Processors { running: BTreeMap::new(), last_generations: roster.last_generations, closed: false };
        let shared = Shared {
            ports: Arc::new(ports),
            processors: Mutex::new(processors),
            deploying: tokio::sync::Mutex::new(()),
        };
        let supervisor = Self { shared: Arc::new(shared) };
        for (name, deployed) in roster.deployed {
            supervisor.restore(name, deployed).await?;
        }
        Ok(supervisor)
    }

    /// Starts a processor the journal tells of.
    async fn restore(&self, name: Name, deployed: Deployed) -> Result<(), Refusal> {
        let ports = &self.shared.ports;
        let generation = Generation { processor: name.clone(), number: deployed.generation };
        let start = deployed.deployment.start;
        let read_model = ports.read_models.create(&generation, start, deployed.module).await?;
        let subject = Subject { kind: deployed.kind, name };
        let (module, back) = self.reconcile(&subject, &deployed, &*read_model).await?;
        let loaded = ports.library.load(module, &settings(&subject, &deployed.deployment)).await?;
        let previous = match &back {
            Some(Back::Module(module)) => Some(*module),
            _ => None,
        };
        let hold = if deployed.paused { Hold::Paused } else { Hold::Free };
        let policy = deployed.deployment.failure_policy.clone();
        let kind = deployed.kind;
        let live = self.run(Begun { kind, generation, policy, read_model, module: loaded, previous, hold });
        let standing = Standing { live, back, rebuild: None, last_generation: deployed.last_generation };
        let name = subject.name.clone();
        let processor = Arc::new(Processor::new(subject, deployed.deployed_at, deployed.deployment, standing));
        self.processors().running.insert(name, processor.clone());
        if let Some((number, module)) = deployed.rebuild {
            self.rebuild_beside(&processor, number, module).await?;
        }
        Ok(())
    }

    /// A host that died between the commit of a swap and its journal entry: the checkpoint is the truth, the entry is
    /// made up for.
    async fn reconcile(
        &self,
        subject: &Subject,
        deployed: &Deployed,
        read_model: &dyn ReadModel,
    ) -> Result<(Digest, Option<Back>), Refusal> {
        let checkpoint = read_model.checkpoint().await?;
        let (from, to) = (deployed.module, checkpoint.module);
        if from == to {
            return Ok((from, deployed.back.clone()));
        }
        let happening = Happening::Swapped { position: checkpoint.position, from, to };
        self.shared.ports.journal.append(subject, happening).await?;
        Ok((to, Some(Back::Module(from))))
    }

    /// Deploys a processor and starts it.
    pub async fn deploy(&self, deploy: Deploy) -> Result<Status, Refusal> {
        if !deploy.kind.is_processor() {
            return Err(Refusal::NoProcessor(deploy.kind));
        }
        if deploy.kind == Kind::Projection && deploy.grants != Grants::default() {
            return Err(Refusal::NoGrants(deploy.name));
        }
        let _one = self.shared.deploying.lock().await;
        let ports = &self.shared.ports;
        let head = *ports.log.head().borrow();
        let start = match deploy.start {
            Start::Beginning => Position::START,
            Start::End => head,
            Start::After(position) => position.min(head),
        };
        let number = {
            let processors = self.processors();
            if processors.closed {
                return Err(Refusal::ShuttingDown);
            }
            if let Some(there) = processors.running.get(&deploy.name) {
                return Err(Refusal::Exists(there.subject.clone()));
            }
            processors.last_generations.get(&deploy.name).copied().unwrap_or(0) + 1
        };
        let Deploy { kind, name, module, config, limits, failure_policy, grants, .. } = deploy;
        let deployment = Deployment { module, start, config, limits, failure_policy, grants };
        let subject = Subject { kind, name: name.clone() };
        let loaded = ports.library.load(module, &settings(&subject, &deployment)).await?;
        let generation = Generation { processor: name.clone(), number };
        // Whatever an interrupted removal may have left is not this generation's.
        ports.read_models.remove(&generation).await?;
        let read_model = ports.read_models.create(&generation, start, module).await?;
        // Whether its tables can be made is known before anything is deployed.
        if let Err(refusal) = dry_run::tables(&*read_model, &*loaded).await {
            ports.read_models.remove(&generation).await?;
            return Err(refusal);
        }
        let entry = ports.journal.append(&subject, Happening::Deployed(deployment.clone())).await?;
        let policy = deployment.failure_policy.clone();
        let begun = Begun { kind, generation, policy, read_model, module: loaded, previous: None, hold: Hold::Free };
        let live = self.run(begun);
        let standing = Standing { live, back: None, rebuild: None, last_generation: number };
        let processor = Arc::new(Processor::new(subject, entry.at, deployment, standing));
        let mut processors = self.processors();
        processors.last_generations.insert(name.clone(), number);
        processors.running.insert(name, processor.clone());
        drop(processors);
        Ok(processor.status(head))
    }

    /// Removes a processor with its read models.
    pub async fn remove(&self, kind: Kind, name: &Name) -> Result<(), Refusal> {
        let _one = self.shared.deploying.lock().await;
        let processor = self.processor(kind, name)?;
        let ports = &self.shared.ports;
        ports.journal.append(&processor.subject, Happening::Removed).await?;
        self.processors().running.remove(name);
        let (live, rebuild) = {
            let standing = processor.standing();
            (standing.live.clone(), standing.rebuild.clone())
        };
        if let Some(rebuild) = rebuild {
            rebuild.stop().await;
        }
        live.stop().await;
        // Waits for a rebuild to notice, so that nothing is written after the removal.
        let _changing = processor.changing.lock().await;
        let last = processor.standing().last_generation;
        for number in 1..=last {
            ports.read_models.remove(&Generation { processor: name.clone(), number }).await?;
        }
        self.processors().last_generations.insert(name.clone(), last);
        Ok(())
    }

    /// Pauses a processor at the next boundary; a paused one stays paused when the host starts again.
    pub async fn pause(&self, kind: Kind, name: &Name) -> Result<Status, Refusal> {
        let processor = self.processor(kind, name)?;
        processor.live().ask(Command::Pause).await?;
        self.shared.ports.journal.append(&processor.subject, Happening::Paused).await?;
        Ok(self.show(&processor))
    }

    /// Lets a processor go on that was paused or stopped by an error.
    pub async fn resume(&self, kind: Kind, name: &Name) -> Result<Status, Refusal> {
        let processor = self.processor(kind, name)?;
        processor.live().ask(Command::Resume).await?;
        self.shared.ports.journal.append(&processor.subject, Happening::Resumed).await?;
        Ok(self.show(&processor))
    }

    /// All processors of a kind, by name.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<Status> {
        let of_kind = |processor: &&Arc<Processor>| processor.subject.kind == kind;
        let processors: Vec<_> = self.processors().running.values().filter(of_kind).cloned().collect();
        processors.iter().map(|processor| self.show(processor)).collect()
    }

    /// One processor.
    pub fn status(&self, kind: Kind, name: &Name) -> Result<Status, Refusal> {
        let processor = self.processor(kind, name)?;
        Ok(self.show(&processor))
    }

    /// Waits until the live generation has processed a position. The caller bounds the wait.
    pub async fn wait(&self, kind: Kind, name: &Name, until: Position) -> Result<Status, Refusal> {
        loop {
            let processor = self.processor(kind, name)?;
            let live = processor.live();
            match live.reaches(until).await {
                Ok(()) => return Ok(self.show(&processor)),
                // A promotion stops or pauses the generation that was live: the new one is waited for.
                Err(_) if processor.live().number != live.number => {}
                Err(_) if processor.standing().rebuild.is_some() => promoted(&live).await,
                Err(state) => {
                    let mend = format!("`{kind} status` shows why, `{kind} resume` lets it go on");
                    return Err(Refusal::State { subject: processor.subject.clone(), state, mend });
                }
            }
        }
    }

    /// What happened to a processor, oldest first; also of one that was removed.
    pub async fn history(&self, kind: Kind, name: &Name) -> Result<Vec<Entry>, Refusal> {
        let mut entries = self.shared.ports.journal.entries().await?;
        entries.retain(|entry| entry.subject.kind == kind && entry.subject.name == *name);
        if entries.is_empty() {
            // Nothing was ever deployed so, but perhaps something of the other kind is.
            self.processor(kind, name)?;
        }
        Ok(entries)
    }

    /// The live read model. A collection that is given must be one of the module's.
    pub fn read_model(&self, kind: Kind, name: &Name, collection: Option<&str>) -> Result<Arc<dyn ReadModel>, Refusal> {
        let processor = self.processor(kind, name)?;
        let live = processor.live();
        if let Some(collection) = collection {
            let module = live.progress.borrow().module.clone();
            let known = &module.description().collections;
            if !known.iter().any(|known| known == collection) {
                let (subject, collection) = (processor.subject.clone(), collection.to_owned());
                return Err(Refusal::UnknownCollection { subject, collection, known: known.clone() });
            }
        }
        Ok(live.read_model)
    }

    /// Tries parked events again.
    pub async fn retry(&self, kind: Kind, name: &Name, selection: Selection) -> Result<Retried, Refusal> {
        self.processor(kind, name)?.live().ask(|reply| Command::Retry { selection, reply }).await
    }

    /// Passes over the first parked event of a stream. Its record stays, as skipped.
    pub async fn skip(&self, kind: Kind, name: &Name, position: Position) -> Result<(), Refusal> {
        self.processor(kind, name)?.live().ask(|reply| Command::Skip { position, reply }).await
    }

    /// Which modules are needed: those that run, are being rebuilt with, or can be gone back to.
    #[must_use]
    pub fn modules_in_use(&self) -> Vec<(Subject, Digest)> {
        let processors: Vec<_> = self.processors().running.values().cloned().collect();
        let mut in_use = Vec::new();
        for processor in processors {
            let standing = processor.standing();
            let runs = [Some(&standing.live), standing.rebuild.as_ref()];
            for running in runs.into_iter().flatten() {
                let progress = running.progress.borrow();
                in_use.push((processor.subject.clone(), progress.module.digest()));
                in_use.extend(progress.previous.map(|module| (processor.subject.clone(), module)));
            }
            if let Some(Back::Module(module) | Back::Generation { module, .. }) = &standing.back {
                in_use.push((processor.subject.clone(), *module));
            }
        }
        in_use.sort_unstable();
        in_use.dedup();
        in_use
    }

    /// Commits what is in flight and ends every run. The caller bounds the wait.
    pub async fn shutdown(&self) {
        let processors: Vec<_> = {
            let mut processors = self.processors();
            processors.closed = true;
            processors.running.values().cloned().collect()
        };
        let mut stopping = tokio::task::JoinSet::new();
        for processor in processors {
            let standing = processor.standing();
            let runs = [Some(standing.live.clone()), standing.rebuild.clone()];
            for running in runs.into_iter().flatten() {
                stopping.spawn(async move { running.stop().await });
            }
        }
        while stopping.join_next().await.is_some() {}
    }

    pub(crate) fn run(&self, begun: Begun) -> Running {
        Running::start(&self.shared.ports, begun)
    }

    pub(crate) fn show(&self, processor: &Processor) -> Status {
        processor.status(*self.shared.ports.log.head().borrow())
    }

    pub(crate) fn ports(&self) -> &Arc<Ports> {
        &self.shared.ports
    }

    /// The processor of a name, if it is of the kind asked for.
    pub(crate) fn processor(&self, kind: Kind, name: &Name) -> Result<Arc<Processor>, Refusal> {
        match self.processors().running.get(name) {
            Some(processor) if processor.subject.kind == kind => Ok(processor.clone()),
            Some(other) => Err(Refusal::OtherKind(other.subject.clone())),
            None => Err(Refusal::Unknown(Subject { kind, name: name.clone() })),
        }
    }

    fn processors(&self) -> MutexGuard<'_, Processors> {
        // Every change is a single insertion or removal, so a panic leaves nothing half-changed.
        self.shared.processors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a generation that stands still during a promotion has ended or goes on.
async fn promoted(live: &Running) {
    let mut progress = live.progress.clone();
    // An error means that the run is over, which is what is waited for.
    let _ = progress.changed().await;
}
