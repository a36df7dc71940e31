//! The supervisor: keeps a run for every processor and route that is this host's, and does what operators ask. What is deployed is
//! the fold of the journal, which is followed; who runs it is decided by leases, see `steward`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lantern_core::{
    Checkpoint, Clock, Digest, Entry, Generation, Grants, GuestThreads, Happening, Hosts, Identity, Journal, Kind,
    Library, Log, Name, Position, ReadModel, ReadModels, Subject, Upcasting,
    bus::Keeper,
    journal::{Deployment, FailurePolicy},
    module::Limits,
};
use tokio::sync::Notify;

use crate::{
    Refusal, Retried, Selection, Status,
    command::Command,
    configured::Configured,
    dry_run,
    feed::Feed,
    generation::Hold,
    messages::Buses,
    processor::{Begun, Processor, Running, Standing, settings},
    roster::{Back, Deployed, Roster},
    route_table::RouteTable,
    steward::{self, Charges},
    tenure::Tenure,
};

/// What the processors stand on.
#[derive(Clone)]
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
    /// The buses.
    pub buses: Arc<Buses>,
    /// The hosts that share all this.
    pub hosts: Arc<dyn Hosts>,
    /// This host among them.
    pub host: Identity,
    /// How long the lease of a processor lasts from one beat to the next, of which there are five in that time and one a
    /// second at least. A host that has its stores for itself takes a long one.
    pub lease: Duration,
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

impl Start {
    /// The last position that is left out.
    pub(crate) fn after(self, head: Position) -> Position {
        match self {
            Self::Beginning => Position::START,
            Self::End => head,
            Self::After(position) => position.min(head),
        }
    }
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

/// Keeps a run for every processor of this host. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) ports: Arc<Ports>,
    processors: Mutex<Processors>,
    /// Held while the journal is followed.
    following: tokio::sync::Mutex<()>,
    /// Held while processors are deployed or removed: one at a time.
    deploying: tokio::sync::Mutex<()>,
    /// The routes of the configuration.
    pub(crate) routes: RouteTable,
    /// What this host has leases for.
    pub(crate) charges: Mutex<Charges>,
    /// Held during a beat: one at a time.
    pub(crate) beating: tokio::sync::Mutex<()>,
    /// Wakes the steward.
    pub(crate) wake: Arc<Notify>,
}

pub(crate) struct Processors {
    /// What this host runs.
    pub(crate) running: BTreeMap<Name, Arc<Processor>>,
    /// What is deployed, whoever runs it.
    pub(crate) roster: Roster,
    pub(crate) closed: bool,
}

impl Supervisor {
    /// Joins the hosts and starts its share of what the journal says is deployed and of the routes of its configuration: all
    /// of it when there is no other host.
    ///
    /// A processor whose module or read model cannot be loaded is an error: the host must not serve half of what it
    /// was told to.
    pub async fn start(ports: Ports, routes: Vec<Configured>) -> Result<Self, Refusal> {
        let end = ports.journal.end();
        let processors = Processors { running: BTreeMap::new(), roster: Roster::default(), closed: false };
        let shared = Shared {
            routes: RouteTable::new(&ports, routes)?,
            ports: Arc::new(ports),
            processors: Mutex::new(processors),
            following: tokio::sync::Mutex::default(),
            deploying: tokio::sync::Mutex::default(),
            charges: Mutex::default(),
            beating: tokio::sync::Mutex::default(),
            wake: Arc::default(),
        };
        let supervisor = Self { shared: Arc::new(shared) };
        supervisor.follow().await?;
        let begun = supervisor.join().await?;
        for begun in begun {
            begun.await.map_err(|_| Refusal::Interrupted)??;
        }
        tokio::spawn(steward::keep(Arc::downgrade(&supervisor.shared), end));
        Ok(supervisor)
    }

    /// Takes up what is new in the journal.
    pub(crate) async fn follow(&self) -> Result<(), Refusal> {
        let _one = self.shared.following.lock().await;
        let last = self.processors().roster.last;
        let entries = self.shared.ports.journal.entries_after(last).await?;
        let mut processors = self.processors();
        entries.into_iter().for_each(|entry| processors.roster.add(entry));
        Ok(())
    }

    /// Starts a processor as the journal tells of it, or a route.
    pub(crate) async fn restore(&self, name: &Name, tenure: Tenure) -> Result<(), Refusal> {
        if name.is_reserved() {
            return self.begin_route(name, tenure).await;
        }
        let ports = &self.shared.ports;
        // Removed meanwhile, there is nothing to start.
        let Some(deployed) = self.processors().roster.deployed.get(name).cloned() else { return Ok(()) };
        let generation = Generation { processor: name.clone(), number: deployed.generation };
        let start = deployed.deployment.start;
        let read_model = ports.read_models.create(&generation, start, deployed.module).await?;
        let subject = Subject { kind: deployed.kind, name: name.clone() };
        let feed = self.feed(name, &deployed.deployment, &read_model)?;
        let checkpoint = read_model.checkpoint().await?;
        let (module, back) = self.reconcile(&subject, &deployed, &checkpoint).await?;
        let module = ports.library.load(module, &settings(&subject, &deployed.deployment)).await?;
        let previous = match &back {
            Some(Back::Module(module)) => Some(*module),
            _ => None,
        };
        let hold = if deployed.paused { Hold::Paused } else { Hold::Free };
        let policy = deployed.deployment.failure_policy.clone();
        let (kind, rebuild, last_generation) = (deployed.kind, deployed.rebuild, deployed.last_generation);
        let tenure_of_run = tenure.clone();
        let begun = Begun {
            kind,
            generation,
            policy,
            read_model,
            checkpoint,
            module,
            previous,
            hold,
            tenure: tenure_of_run,
            feed,
        };
        let processor = {
            let mut processors = self.processors();
            if processors.closed {
                return Err(Refusal::ShuttingDown);
            }
            let standing = Standing { live: self.run(begun), back, rebuild: None, last_generation };
            let processor = Arc::new(Processor::new(subject, deployed, tenure, standing));
            processors.running.insert(name.clone(), processor.clone());
            processor
        };
        if let Some((number, module)) = rebuild {
            self.rebuild_beside(&processor, number, module).await?;
        }
        Ok(())
    }

    /// What feeds a processor, where that is not the log. The configuration must say the same as when it was deployed: a
    /// read model is made of one or the other.
    fn feed(
        &self,
        name: &Name,
        deployment: &Deployment,
        read_model: &Arc<dyn ReadModel>,
    ) -> Result<Option<Arc<Feed>>, Refusal> {
        let ports = &self.shared.ports;
        let (projection, configured) = (name.clone(), self.shared.routes.feeding(name));
        match (&deployment.route, configured) {
            (None, None) => Ok(None),
            (Some(route), Some(consume)) if *route == consume.name => {
                let bus = ports.buses.get(&consume.bus).cloned();
                let unknown = || Refusal::UnknownBus { route: route.clone(), bus: consume.bus.clone() };
                let bus = bus.ok_or_else(unknown)?;
                let mut consume = consume.clone();
                consume.subscription.keeper = Keeper::Caller;
                Ok(Some(Feed::new(consume, bus, read_model.clone(), ports.clock.clone())))
            }
            (Some(route), _) => Err(Refusal::RouteGone { projection, route: route.clone() }),
            (None, Some(consume)) => Err(Refusal::ReadsLog { projection, route: consume.name.clone() }),
        }
    }

    /// Ends the runs of a processor or a route that is this host's no longer, or not much longer.
    pub(crate) async fn dismiss(&self, name: &Name) {
        let processor = {
            let mut processors = self.processors();
            if processors.closed {
                return;
            }
            processors.running.remove(name)
        };
        if let Some(route) = self.shared.routes.remove(name) {
            route.stop().await;
        }
        if let Some(processor) = processor {
            end(&processor).await;
        }
    }

    /// A host that died between the commit of a swap and its journal entry: the checkpoint is the truth, the entry is
    /// made up for.
    async fn reconcile(
        &self,
        subject: &Subject,
        deployed: &Deployed,
        checkpoint: &Checkpoint,
    ) -> Result<(Digest, Option<Back>), Refusal> {
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
        let buses = &self.shared.ports.buses;
        if let Some(topic) = deploy.grants.publish.iter().find(|topic| !buses.contains_key(&topic.bus)) {
            return Err(Refusal::NoSuchBus { handler: deploy.name, topic: topic.clone() });
        }
        let _one = self.shared.deploying.lock().await;
        self.follow().await?;
        self.vacant(&deploy.name)?;
        let ports = &self.shared.ports;
        let route = self.shared.routes.feeding(&deploy.name).map(|route| route.name.clone());
        if let Some(route) = &route {
            let name = deploy.name.clone();
            if deploy.kind != Kind::Projection {
                return Err(Refusal::FeedsProjection { route: route.clone(), name });
            }
            if deploy.start != Start::Beginning {
                return Err(Refusal::BeginsWithRoute { route: route.clone(), name });
            }
        }
        let head = *ports.log.head().borrow();
        let start = deploy.start.after(head);
        let Deploy { kind, name, module, config, limits, failure_policy, grants, .. } = deploy;
        let deployment = Deployment { module, start, config, limits, failure_policy, grants, route };
        let subject = Subject { kind, name: name.clone() };
        let loaded = ports.library.load(module, &settings(&subject, &deployment)).await?;
        // Of several hosts that deploy under the name at once, one has the lease and goes on.
        let reserved = loop {
            if let Some(reserved) = self.reserve(&name).await? {
                break reserved;
            }
            self.follow().await?;
            self.vacant(&name)?;
        };
        loop {
            let (number, last) = self.vacant(&name)?;
            let generation = Generation { processor: name.clone(), number };
            // Whatever an interrupted removal may have left is not this generation's.
            ports.read_models.remove(&generation).await?;
            let read_model = ports.read_models.create(&generation, start, module).await?;
            // Whether its tables can be made is known before anything is deployed.
            if let Err(refusal) = dry_run::tables(&*read_model, &*loaded).await {
                ports.read_models.remove(&generation).await?;
                return Err(refusal);
            }
            let happening = Happening::Deployed(deployment.clone());
            let entry = ports.journal.append_after(last, &subject, happening).await?;
            self.follow().await?;
            if entry.is_some() {
                break;
            }
        }
        self.restore(&name, reserved.tenure()).await?;
        let status = self.status(kind, &name);
        reserved.keep();
        status
    }

    /// The number of the generation that can be deployed under a name that is free, and the last entry of the journal that
    /// says so.
    fn vacant(&self, name: &Name) -> Result<(u32, u64), Refusal> {
        let processors = self.processors();
        if processors.closed {
            return Err(Refusal::ShuttingDown);
        }
        match processors.roster.deployed.get(name) {
            Some(there) => Err(Refusal::Exists(Subject { kind: there.kind, name: name.clone() })),
            None => Ok((processors.roster.next_generation(name), processors.roster.last)),
        }
    }

    /// Removes a processor with its read models.
    pub async fn remove(&self, kind: Kind, name: &Name) -> Result<(), Refusal> {
        let _one = self.shared.deploying.lock().await;
        let processor = self.processor(kind, name)?;
        let ports = &self.shared.ports;
        ports.journal.append(&processor.subject, Happening::Removed).await?;
        self.processors().running.remove(name);
        end(&processor).await;
        // Waits for a rebuild to notice, so that nothing is written after the removal.
        let _changing = processor.changing.lock().await;
        let last = processor.standing().last_generation;
        for number in 1..=last {
            ports.read_models.remove(&Generation { processor: name.clone(), number }).await?;
        }
        self.follow().await?;
        self.discharge(name).await;
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

    /// The processors of a kind that this host runs, by name.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<Status> {
        let of_kind = |processor: &&Arc<Processor>| processor.subject.kind == kind;
        let processors: Vec<_> = self.processors().running.values().filter(of_kind).cloned().collect();
        processors.iter().map(|processor| self.show(processor)).collect()
    }

    /// The names of all processors of a kind, whoever runs them.
    #[must_use]
    pub fn names(&self, kind: Kind) -> Vec<Name> {
        let processors = self.processors();
        let of_kind = processors.roster.deployed.iter().filter(|(_, deployed)| deployed.kind == kind);
        of_kind.map(|(name, _)| name.clone()).collect()
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

    /// Tries parked events again.
    pub async fn retry(&self, kind: Kind, name: &Name, selection: Selection) -> Result<Retried, Refusal> {
        self.processor(kind, name)?.live().ask(|reply| Command::Retry { selection, reply }).await
    }

    /// Passes over the first parked event of a stream. Its record stays, as skipped.
    pub async fn skip(&self, kind: Kind, name: &Name, position: Position) -> Result<(), Refusal> {
        self.processor(kind, name)?.live().ask(|reply| Command::Skip { position, reply }).await
    }

    /// Which modules are needed: those that run on any host, are being rebuilt with, or can be gone back to.
    #[must_use]
    pub fn modules_in_use(&self) -> Vec<(Subject, Digest)> {
        let mut in_use = BTreeSet::new();
        let running: Vec<_> = {
            let processors = self.processors();
            for (name, deployed) in &processors.roster.deployed {
                let subject = Subject { kind: deployed.kind, name: name.clone() };
                in_use.extend(deployed.modules().map(|module| (subject.clone(), module)));
            }
            processors.running.values().cloned().collect()
        };
        // A change that the journal does not tell of yet.
        for processor in running {
            let standing = processor.standing();
            for running in [Some(&standing.live), standing.rebuild.as_ref()].into_iter().flatten() {
                let progress = running.progress.borrow();
                let modules = progress.previous.into_iter().chain([progress.module.digest()]);
                in_use.extend(modules.map(|module| (processor.subject.clone(), module)));
            }
        }
        in_use.into_iter().collect()
    }

    /// Commits what is in flight, ends every run and takes leave of the other hosts, who take over at once. The caller
    /// bounds the wait.
    pub async fn shutdown(&self) {
        let processors: Vec<_> = {
            let mut processors = self.processors();
            processors.closed = true;
            processors.running.values().cloned().collect()
        };
        self.shared.wake.notify_one();
        let mut stopping = tokio::task::JoinSet::new();
        for processor in processors {
            stopping.spawn(async move { end(&processor).await });
        }
        for route in self.shared.routes.all() {
            stopping.spawn(async move { route.stop().await });
        }
        while stopping.join_next().await.is_some() {}
        // A beat under way would make it come back.
        let _beating = self.shared.beating.lock().await;
        let Ports { hosts, host, .. } = &*self.shared.ports;
        if let Err(error) = hosts.leave(host.id).await {
            tracing::warn!("the other hosts take over only when the leases are over: {error}");
        }
    }

    pub(crate) fn run(&self, begun: Begun) -> Running {
        Running::start(&self.shared.ports, begun)
    }

    pub(crate) fn show(&self, processor: &Processor) -> Status {
        processor.status(self.shared.ports.host.name.clone())
    }

    pub(crate) fn ports(&self) -> &Arc<Ports> {
        &self.shared.ports
    }

    /// The processor of a name that this host runs, if it is of the kind asked for.
    pub(crate) fn processor(&self, kind: Kind, name: &Name) -> Result<Arc<Processor>, Refusal> {
        let processors = self.processors();
        let subject = Subject { kind, name: name.clone() };
        let there = match (processors.running.get(name), processors.roster.deployed.get(name)) {
            (Some(processor), _) if processor.subject.kind == kind => return Ok(processor.clone()),
            (Some(processor), _) => processor.subject.kind,
            (None, Some(deployed)) => deployed.kind,
            (None, None) => return Err(Refusal::Unknown(subject)),
        };
        if there != kind {
            return Err(Refusal::OtherKind(Subject { kind: there, ..subject }));
        }
        drop(processors);
        let host = self.charges().roll.owner(name).map(|owner| owner.identity.name.clone());
        Err(Refusal::Elsewhere { subject, host })
    }

    pub(crate) fn processors(&self) -> MutexGuard<'_, Processors> {
        // Every change is a single insertion or removal, so a panic leaves nothing half-changed.
        self.shared.processors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the runs of a processor, the rebuild first.
async fn end(processor: &Processor) {
    let (live, rebuild) = {
        let standing = processor.standing();
        (standing.live.clone(), standing.rebuild.clone())
    };
    if let Some(rebuild) = rebuild {
        rebuild.stop().await;
    }
    live.stop().await;
}

/// Waits until a generation that stands still during a promotion has ended or goes on.
async fn promoted(live: &Running) {
    let mut progress = live.progress.clone();
    // An error means that the run is over, which is what is waited for.
    let _ = progress.changed().await;
}
