//! The supervisor: keeps a run for every deployed projection and does what operators ask. What is deployed is the
//! fold of the journal, so a host that starts again goes on with what it ran before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lantern_core::{
    Clock, Digest, Entry, Generation, Happening, Journal, Library, Log, Position, Name, ReadModel,
    ReadModels,
    journal::{Deployment, FailurePolicy},
    module::Limits,
};

use crate::{
    Refusal, Retried, Selection, Status, Swapped,
    command::{Command, Reason},
    dry_run::dry_run,
    guest_threads::GuestThreads,
    projection::{Begun, Projection, Running, Standing, settings},
    rebuild,
    roster::{Back, Deployed, Roster},
    session::Hold,
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
}

/// Where a projection begins.
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

/// A projection to deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
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
}

/// Keeps a run for every deployed projection. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

struct Shared {
    ports: Arc<Ports>,
    threads: Arc<GuestThreads>,
    projections: Mutex<Projections>,
    /// Held while projections are deployed or removed: one at a time.
    deploying: tokio::sync::Mutex<()>,
}

struct Projections {
    running: BTreeMap<Name, Arc<Projection>>,
    last_generations: BTreeMap<Name, u32>,
    closed: bool,
}

impl Supervisor {
    /// Starts everything the journal says is deployed.
    ///
    /// A projection whose module or read model cannot be loaded is an error: the host must not serve half of what it
    /// was told to.
    pub async fn start(ports: Ports) -> Result<Self, Refusal> {
        let threads = GuestThreads::new().map_err(|error| Refusal::Threads(error.to_string()))?;
        let roster = Roster::fold(ports.journal.entries().await?);
        let projections =
            Projections { running: BTreeMap::new(), last_generations: roster.last_generations, closed: false };
        let shared = Shared {
            ports: Arc::new(ports),
            threads: Arc::new(threads),
            projections: Mutex::new(projections),
            deploying: tokio::sync::Mutex::new(()),
        };
        let supervisor = Self { shared: Arc::new(shared) };
        for (name, deployed) in roster.deployed {
            supervisor.restore(name, deployed).await?;
        }
        Ok(supervisor)
    }

    /// Starts a projection the journal tells of.
    async fn restore(&self, name: Name, deployed: Deployed) -> Result<(), Refusal> {
        let ports = &self.shared.ports;
        let generation = Generation { projection: name.clone(), number: deployed.generation };
        let start = deployed.deployment.start;
        let read_model = ports.read_models.create(&generation, start, deployed.module).await?;
        let (module, back) = self.reconcile(&name, &deployed, &*read_model).await?;
        let loaded = ports.library.load(module, &settings(&name, &deployed.deployment)).await?;
        let previous = match &back {
            Some(Back::Module(module)) => Some(*module),
            _ => None,
        };
        let hold = if deployed.paused { Hold::Paused } else { Hold::Free };
        let policy = deployed.deployment.failure_policy.clone();
        let live = self.run(Begun { generation, policy, read_model, module: loaded, previous, hold });
        let standing = Standing { live, back, rebuild: None, last_generation: deployed.last_generation };
        let projection = Projection::new(name.clone(), deployed.deployed_at, deployed.deployment, standing);
        let projection = Arc::new(projection);
        self.projections().running.insert(name, projection.clone());
        if let Some((number, module)) = deployed.rebuild {
            self.rebuild_beside(&projection, number, module).await?;
        }
        Ok(())
    }

    /// A host that died between the commit of a swap and its journal entry: the checkpoint is the truth, the entry is
    /// made up for.
    async fn reconcile(
        &self,
        name: &Name,
        deployed: &Deployed,
        read_model: &dyn ReadModel,
    ) -> Result<(Digest, Option<Back>), Refusal> {
        let checkpoint = read_model.checkpoint().await?;
        let (from, to) = (deployed.module, checkpoint.module);
        if from == to {
            return Ok((from, deployed.back.clone()));
        }
        let happening = Happening::Swapped { position: checkpoint.position, from, to };
        self.shared.ports.journal.append(name, happening).await?;
        Ok((to, Some(Back::Module(from))))
    }

    /// Deploys a projection and starts it.
    pub async fn deploy(&self, deploy: Deploy) -> Result<Status, Refusal> {
        let _one = self.shared.deploying.lock().await;
        let ports = &self.shared.ports;
        let head = *ports.log.head().borrow();
        let start = match deploy.start {
            Start::Beginning => Position::START,
            Start::End => head,
            Start::After(position) => position.min(head),
        };
        let number = {
            let projections = self.projections();
            if projections.closed {
                return Err(Refusal::ShuttingDown);
            }
            if projections.running.contains_key(&deploy.name) {
                return Err(Refusal::Exists(deploy.name));
            }
            projections.last_generations.get(&deploy.name).copied().unwrap_or(0) + 1
        };
        let Deploy { name, module, config, limits, failure_policy, .. } = deploy;
        let deployment = Deployment { module, start, config, limits, failure_policy };
        let loaded = ports.library.load(module, &settings(&name, &deployment)).await?;
        let generation = Generation { projection: name.clone(), number };
        // Whatever an interrupted removal may have left is not this generation's.
        ports.read_models.remove(&generation).await?;
        let read_model = ports.read_models.create(&generation, start, module).await?;
        let entry = ports.journal.append(&name, Happening::Deployed(deployment.clone())).await?;
        let policy = deployment.failure_policy.clone();
        let begun = Begun { generation, policy, read_model, module: loaded, previous: None, hold: Hold::Free };
        let live = self.run(begun);
        let standing = Standing { live, back: None, rebuild: None, last_generation: number };
        let projection = Arc::new(Projection::new(name.clone(), entry.at, deployment, standing));
        let mut projections = self.projections();
        projections.last_generations.insert(name.clone(), number);
        projections.running.insert(name, projection.clone());
        drop(projections);
        Ok(projection.status(head))
    }

    /// Removes a projection with its read models.
    pub async fn remove(&self, name: &Name) -> Result<(), Refusal> {
        let _one = self.shared.deploying.lock().await;
        let projection = self.projection(name)?;
        let ports = &self.shared.ports;
        ports.journal.append(name, Happening::Removed).await?;
        self.projections().running.remove(name);
        let (live, rebuild) = {
            let standing = projection.standing();
            (standing.live.clone(), standing.rebuild.clone())
        };
        if let Some(rebuild) = rebuild {
            rebuild.stop().await;
        }
        live.stop().await;
        // Waits for a rebuild to notice, so that nothing is written after the removal.
        let _changing = projection.changing.lock().await;
        let last = projection.standing().last_generation;
        for number in 1..=last {
            ports.read_models.remove(&Generation { projection: name.clone(), number }).await?;
        }
        self.projections().last_generations.insert(name.clone(), last);
        Ok(())
    }

    /// Pauses a projection at the next boundary; a paused one stays paused when the host starts again.
    pub async fn pause(&self, name: &Name) -> Result<Status, Refusal> {
        let projection = self.projection(name)?;
        projection.live().ask(Command::Pause).await?;
        self.shared.ports.journal.append(name, Happening::Paused).await?;
        Ok(self.show(&projection))
    }

    /// Lets a projection go on that was paused or stopped by an error.
    pub async fn resume(&self, name: &Name) -> Result<Status, Refusal> {
        let projection = self.projection(name)?;
        projection.live().ask(Command::Resume).await?;
        self.shared.ports.journal.append(name, Happening::Resumed).await?;
        Ok(self.show(&projection))
    }

    /// All projections, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Status> {
        let projections: Vec<_> = self.projections().running.values().cloned().collect();
        projections.iter().map(|projection| self.show(projection)).collect()
    }

    /// One projection.
    pub fn status(&self, name: &Name) -> Result<Status, Refusal> {
        let projection = self.projection(name)?;
        Ok(self.show(&projection))
    }

    /// Waits until the live generation has processed a position. The caller bounds the wait.
    pub async fn wait(&self, name: &Name, until: Position) -> Result<Status, Refusal> {
        loop {
            let projection = self.projection(name)?;
            let live = projection.live();
            match live.reaches(until).await {
                Ok(()) => return Ok(self.show(&projection)),
                // A promotion stops or pauses the generation that was live: the new one is waited for.
                Err(_) if projection.live().number != live.number => {}
                Err(_) if projection.standing().rebuild.is_some() => promoted(&live).await,
                Err(state) => {
                    let mend = "`projection status` shows why, `projection resume` lets it go on";
                    return Err(Refusal::State { name: name.clone(), state, mend });
                }
            }
        }
    }

    /// Replaces the module of the live generation between two events, after a dry run.
    pub async fn swap(&self, name: &Name, module: Digest) -> Result<Swapped, Refusal> {
        let projection = self.projection(name)?;
        let _changing = projection.change().await?;
        let live = projection.live();
        let (from, position) = {
            let progress = live.progress.borrow();
            (progress.module.digest(), progress.position)
        };
        if from == module {
            return Err(Refusal::SameModule { name: name.clone(), module });
        }
        let ports = &self.shared.ports;
        let loaded = ports.library.load(module, &projection.settings()).await?;
        let tried = dry_run(ports, &self.shared.threads, live.read_model.clone(), loaded.clone(), position).await;
        let tried = match tried {
            Ok(tried) => tried,
            Err(refusal) => {
                let happening = Happening::SwapRefused { module, reason: refusal.to_string() };
                ports.journal.append(name, happening).await?;
                return Err(refusal);
            }
        };
        let position = live.ask(|reply| Command::Swap { module: loaded, reason: Reason::Swap, reply }).await?;
        let dropped = projection.standing().back.replace(Back::Module(from));
        rebuild::forget(ports, &projection, dropped, live.number).await;
        Ok(Swapped { position, from, to: module, dry_run_events: tried.events, parked_mended: tried.mended })
    }

    /// Goes back to the module before the last swap, at once; or to the generation before the last promotion, once it
    /// has caught up.
    pub async fn rollback(&self, name: &Name) -> Result<Swapped, Refusal> {
        let projection = self.projection(name)?;
        let back = projection.standing().back.clone();
        match back {
            None if projection.live().progress.borrow().previous.is_none() => {
                Err(Refusal::NothingToRollBack(name.clone()))
            }
            Some(Back::Generation { number, module }) => self.roll_back_generation(&projection, number, module).await,
            None | Some(Back::Module(_)) => self.roll_back_module(&projection).await,
        }
    }

    async fn roll_back_module(&self, projection: &Projection) -> Result<Swapped, Refusal> {
        let name = &projection.name;
        let _changing = projection.change().await?;
        let live = projection.live();
        let (from, previous) = {
            let progress = live.progress.borrow();
            (progress.module.digest(), progress.previous)
        };
        let Some(to) = previous else { return Err(Refusal::NothingToRollBack(name.clone())) };
        let module = self.shared.ports.library.load(to, &projection.settings()).await?;
        let reason = Reason::RollBack("by an operator".into());
        let position = live.ask(|reply| Command::Swap { module, reason, reply }).await?;
        projection.standing().back = Some(Back::Module(from));
        Ok(Swapped { position, from, to, dry_run_events: 0, parked_mended: 0 })
    }

    async fn roll_back_generation(
        &self,
        projection: &Arc<Projection>,
        number: u32,
        module: Digest,
    ) -> Result<Swapped, Refusal> {
        let from = projection.live().progress.borrow().module.digest();
        let promoting = self.rebuild_beside(projection, number, module).await?;
        promoting.await.map_err(|_| Refusal::Interrupted)??;
        let position = projection.live().progress.borrow().position;
        Ok(Swapped { position, from, to: module, dry_run_events: 0, parked_mended: 0 })
    }

    /// Begins a new generation beside the live one, with its module or another. It is promoted by itself when it has
    /// caught up.
    pub async fn rebuild(&self, name: &Name, module: Option<Digest>) -> Result<Status, Refusal> {
        let projection = self.projection(name)?;
        let module = module.unwrap_or_else(|| projection.live().progress.borrow().module.digest());
        let number = projection.standing().last_generation + 1;
        // The task goes on by itself; `status` and `history` tell how it ends.
        drop(self.rebuild_beside(&projection, number, module).await?);
        Ok(self.show(&projection))
    }

    /// Starts a generation, a new or an old one, beside the live one and has it promoted when it has caught up.
    async fn rebuild_beside(
        &self,
        projection: &Arc<Projection>,
        number: u32,
        module: Digest,
    ) -> Result<tokio::task::JoinHandle<Result<(), Refusal>>, Refusal> {
        let name = &projection.name;
        let changing = projection.change().await?;
        let ports = &self.shared.ports;
        let loaded = ports.library.load(module, &projection.settings()).await?;
        let generation = Generation { projection: name.clone(), number };
        let read_model = ports.read_models.create(&generation, projection.deployment.start, module).await?;
        ports.journal.append(name, Happening::RebuildStarted { generation: number, module }).await?;
        let policy = projection.deployment.failure_policy.clone();
        let begun = Begun { generation, policy, read_model, module: loaded, previous: None, hold: Hold::Free };
        let green = self.run(begun);
        {
            let mut standing = projection.standing();
            standing.last_generation = standing.last_generation.max(number);
            standing.rebuild = Some(green.clone());
        }
        let (ports, projection) = (ports.clone(), projection.clone());
        Ok(tokio::spawn(async move {
            let result = rebuild::see_through(ports, projection.clone(), green, changing).await;
            match &result {
                Ok(()) | Err(Refusal::ShuttingDown) => {}
                Err(refusal) => tracing::error!(projection = %projection.name, "the rebuild failed: {refusal}"),
            }
            result
        }))
    }

    /// What happened to a projection, oldest first; also of one that was removed.
    pub async fn history(&self, name: &Name) -> Result<Vec<Entry>, Refusal> {
        let mut entries = self.shared.ports.journal.entries().await?;
        entries.retain(|entry| entry.projection == *name);
        if entries.is_empty() { Err(Refusal::Unknown(name.clone())) } else { Ok(entries) }
    }

    /// The live read model. A collection that is given must be one of the module's.
    pub fn read_model(&self, name: &Name, collection: Option<&str>) -> Result<Arc<dyn ReadModel>, Refusal> {
        let live = self.projection(name)?.live();
        if let Some(collection) = collection {
            let module = live.progress.borrow().module.clone();
            let known = &module.description().collections;
            if !known.iter().any(|known| known == collection) {
                let (name, collection) = (name.clone(), collection.to_owned());
                return Err(Refusal::UnknownCollection { name, collection, known: known.clone() });
            }
        }
        Ok(live.read_model)
    }

    /// Tries parked events again.
    pub async fn retry(&self, name: &Name, selection: Selection) -> Result<Retried, Refusal> {
        self.projection(name)?.live().ask(|reply| Command::Retry { selection, reply }).await
    }

    /// Passes over the first parked event of a stream. Its record stays, as skipped.
    pub async fn skip(&self, name: &Name, position: Position) -> Result<(), Refusal> {
        self.projection(name)?.live().ask(|reply| Command::Skip { position, reply }).await
    }

    /// Which modules are needed: those that run, are being rebuilt with, or can be gone back to.
    #[must_use]
    pub fn modules_in_use(&self) -> Vec<(Name, Digest)> {
        let projections: Vec<_> = self.projections().running.values().cloned().collect();
        let mut in_use = Vec::new();
        for projection in projections {
            let standing = projection.standing();
            let runs = [Some(&standing.live), standing.rebuild.as_ref()];
            for running in runs.into_iter().flatten() {
                let progress = running.progress.borrow();
                in_use.push((projection.name.clone(), progress.module.digest()));
                in_use.extend(progress.previous.map(|module| (projection.name.clone(), module)));
            }
            if let Some(Back::Module(module) | Back::Generation { module, .. }) = &standing.back {
                in_use.push((projection.name.clone(), *module));
            }
        }
        in_use.sort_unstable();
        in_use.dedup();
        in_use
    }

    /// Commits what is in flight and ends every run. The caller bounds the wait.
    pub async fn shutdown(&self) {
        let projections: Vec<_> = {
            let mut projections = self.projections();
            projections.closed = true;
            projections.running.values().cloned().collect()
        };
        let mut stopping = tokio::task::JoinSet::new();
        for projection in projections {
            let standing = projection.standing();
            let runs = [Some(standing.live.clone()), standing.rebuild.clone()];
            for running in runs.into_iter().flatten() {
                stopping.spawn(async move { running.stop().await });
            }
        }
        while stopping.join_next().await.is_some() {}
    }

    fn run(&self, begun: Begun) -> Running {
        Running::start(&self.shared.ports, &self.shared.threads, begun)
    }

    fn show(&self, projection: &Projection) -> Status {
        projection.status(*self.shared.ports.log.head().borrow())
    }

    fn projection(&self, name: &Name) -> Result<Arc<Projection>, Refusal> {
        self.projections().running.get(name).cloned().ok_or_else(|| Refusal::Unknown(name.clone()))
    }

    fn projections(&self) -> MutexGuard<'_, Projections> {
        // Every change is a single insertion or removal, so a panic leaves nothing half-changed.
        self.shared.projections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a generation that stands still during a promotion has ended or goes on.
async fn promoted(live: &Running) {
    let mut progress = live.progress.clone();
    // An error means that the run is over, which is what is waited for.
    let _ = progress.changed().await;
}
