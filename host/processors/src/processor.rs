//! A deployed processor: its live generation, what it can go back to, and the rebuild beside it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lantern_core::{
    Checkpoint, Digest, Generation, Kind, Module, Position, ReadModel, State, Subject, Timestamp,
    journal::{Deployment, FailurePolicy},
    module::Settings,
};
use tokio::{
    sync::{OwnedMutexGuard, mpsc, oneshot, watch},
    task::JoinHandle,
    time,
};

use crate::{
    Ports, RebuildStatus, Refusal, Status,
    command::{Command, Reply},
    feed::Feed,
    generation::{Hold, Run},
    progress::Progress,
    roster::{Back, Deployed},
    tenure::Tenure,
};

/// How long one change waits for another to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many commands may wait for a run.
const WAITING_COMMANDS: usize = 16;

/// A generation that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) number: u32,
    pub(crate) read_model: Arc<dyn ReadModel>,
    pub(crate) progress: watch::Receiver<Progress>,
    /// What it stands on: the log is that of the host, or what a route feeds it.
    pub(crate) ports: Arc<Ports>,
    /// What feeds it, where that is not the log.
    pub(crate) feed: Option<Arc<Feed>>,
    commands: mpsc::Sender<Command>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// A generation that is about to run.
pub(crate) struct Begun {
    pub(crate) kind: Kind,
    pub(crate) generation: Generation,
    pub(crate) policy: FailurePolicy,
    pub(crate) read_model: Arc<dyn ReadModel>,
    /// Where it stands.
    pub(crate) checkpoint: Checkpoint,
    pub(crate) module: Arc<dyn Module>,
    /// The module a rollback goes back to.
    pub(crate) previous: Option<Digest>,
    pub(crate) hold: Hold,
    /// For how long it may run.
    pub(crate) tenure: Tenure,
    /// What feeds it, where that is not the log.
    pub(crate) feed: Option<Arc<Feed>>,
}

/// A deployed processor that this host runs.
pub(crate) struct Processor {
    /// The entry of the journal that deployed it.
    pub(crate) entry: u64,
    pub(crate) subject: Subject,
    pub(crate) deployed_at: Timestamp,
    pub(crate) deployment: Deployment,
    /// For how long this host runs it.
    pub(crate) tenure: Tenure,
    standing: Mutex<Standing>,
    /// Held while a swap, rollback, rebuild or removal is under way: one at a time.
    pub(crate) changing: Arc<tokio::sync::Mutex<()>>,
}

/// What changes about a processor.
pub(crate) struct Standing {
    pub(crate) live: Running,
    pub(crate) back: Option<Back>,
    pub(crate) rebuild: Option<Running>,
    pub(crate) last_generation: u32,
}

impl Processor {
    pub(crate) fn new(subject: Subject, deployed: Deployed, tenure: Tenure, standing: Standing) -> Self {
        let Deployed { entry, deployed_at, deployment, .. } = deployed;
        let standing = Mutex::new(standing);
        Self { entry, subject, deployed_at, deployment, tenure, standing, changing: Arc::default() }
    }

    /// What changes about it. Held for moments only, never across an await.
    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        // Every change is a single assignment, so a panic leaves nothing half-changed.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to swap, roll back or rebuild. A change that is just ending is waited for; a rebuild is not.
    pub(crate) async fn change(&self) -> Result<OwnedMutexGuard<()>, Refusal> {
        let busy = || Refusal::Busy(self.subject.clone());
        if self.standing().rebuild.is_some() {
            return Err(busy());
        }
        time::timeout(PATIENCE, self.changing.clone().lock_owned()).await.map_err(|_| busy())
    }

    /// The live generation.
    pub(crate) fn live(&self) -> Running {
        self.standing().live.clone()
    }

    /// How its modules are loaded.
    pub(crate) fn settings(&self) -> Settings {
        settings(&self.subject, &self.deployment)
    }

    /// What it is doing on this host.
    pub(crate) fn status(&self, host: String) -> Status {
        let standing = self.standing();
        let mut progress = standing.live.progress.borrow().clone();
        let head = *standing.live.ports.log.head().borrow();
        let mut lag = head.since(progress.position);
        if let Some(feed) = &standing.live.feed {
            let flow = feed.flow.borrow();
            // The bus may have more than came so far.
            lag = lag.max(flow.lag.values().sum());
            if flow.last_error.is_some() && !matches!(progress.state, State::Paused | State::Error) {
                (progress.state, progress.last_error) = (State::Error, flow.last_error.clone());
            }
        }
        let rebuild = standing.rebuild.as_ref().map(|running| {
            let progress = running.progress.borrow();
            RebuildStatus {
                generation: running.number,
                module: progress.module.digest(),
                state: progress.state,
                position: progress.position,
            }
        });
        let previous_module = match &standing.back {
            Some(Back::Generation { module, .. }) if progress.previous.is_none() => Some(*module),
            Some(Back::Module(module)) => Some(progress.previous.unwrap_or(*module)),
            _ => progress.previous,
        };
        Status {
            kind: self.subject.kind,
            name: self.subject.name.clone(),
            host: Some(host),
            state: progress.state,
            generation: standing.live.number,
            module: progress.module.digest(),
            description: progress.module.description().clone(),
            previous_module,
            position: progress.position,
            head,
            lag,
            route: self.deployment.route.clone(),
            handled: progress.handled,
            failed: progress.failed,
            emitted: progress.emitted,
            published: progress.published,
            scheduled: progress.scheduled,
            parked_events: progress.parked_events,
            parked_streams: progress.parked_streams,
            last_error: progress.last_error,
            rebuild,
            deployed_at: self.deployed_at,
            config: self.deployment.config.clone(),
            limits: self.deployment.limits.clone(),
            grants: self.deployment.grants.clone(),
            failure_policy: self.deployment.failure_policy.clone(),
        }
    }
}

/// How the modules of a processor are loaded.
pub(crate) fn settings(subject: &Subject, deployment: &Deployment) -> Settings {
    Settings {
        kind: subject.kind,
        name: subject.name.clone(),
        limits: deployment.limits.clone(),
        config: deployment.config.clone(),
        grants: deployment.grants.clone(),
    }
}

impl Running {
    /// Starts the run of a generation.
    pub(crate) fn start(ports: &Arc<Ports>, begun: Begun) -> Self {
        let Begun { kind, generation, policy, read_model, checkpoint, module, previous, hold, tenure, feed } = begun;
        let ports = match &feed {
            Some(feed) => Arc::new(Ports { log: feed.clone(), ..(**ports).clone() }),
            None => ports.clone(),
        };
        let (commands, receiver) = mpsc::channel(WAITING_COMMANDS);
        let (sender, progress) = watch::channel(Progress::starting(module.clone(), previous, &checkpoint));
        let number = generation.number;
        let run = Run {
            kind,
            generation,
            ports: ports.clone(),
            read_model: read_model.clone(),
            policy,
            module,
            previous: None,
            hold,
            tenure,
            feed: feed.clone(),
            oversized: Arc::default(),
            progress: sender,
            commands: receiver,
        };
        let task = Arc::new(Mutex::new(Some(tokio::spawn(run.run()))));
        Self { number, read_model, progress, ports, feed, commands, task }
    }

    /// Gives a command and waits for the answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Refusal::ShuttingDown)?;
        // A run that meets trouble before it answers drops the question with its session.
        answer.await.map_err(|_| Refusal::Interrupted)?
    }

    /// Commits what is in flight and ends the run.
    pub(crate) async fn stop(&self) {
        // A run that has ended already needs no telling.
        let _ = self.commands.send(Command::Stop).await;
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!("a run ended with a panic: {error}");
        }
    }

    /// Waits until the position is processed. An error says in which state it will not get there by itself.
    pub(crate) async fn reaches(&self, position: Position) -> Result<(), State> {
        let mut progress = self.progress.clone();
        let settled = |progress: &Progress| {
            progress.position >= position || progress.halted || matches!(progress.state, State::Paused | State::Stopped)
        };
        let Ok(progress) = progress.wait_for(settled).await else { return Err(State::Stopped) };
        if progress.position >= position { Ok(()) } else { Err(progress.state) }
    }
}
