//! One ownership of a generation: what is in flight, what is committed, and what those who watch are shown.

use std::sync::Arc;

use lantern_core::{
    Batch, Checkpoint, Digest, Event, Fate, Happening, Kind, Lease, Module, Position, ReadModel, State, Tables,
    TablesError, Timestamp, TraceContext, View,
};
use tokio::sync::watch;

use crate::{
    LastError,
    command::Command,
    emission::Outbound,
    generation::{Hold, Run, strayed},
    handle::Worker,
    held::{self, Held},
    in_flight::{InFlight, Takeover, Unwritten, Writing, committed, ended},
    messages,
    read_ahead::ReadAhead,
    timers::{Foundation, Timers},
};

/// Why a session ended.
pub(crate) enum End {
    /// It was told to.
    Stop,
    /// The log or the storage is in trouble; another session may fare better.
    Trouble(String),
    /// Somebody else owns the generation now.
    Fenced(String),
}

pub(crate) type Step<T = ()> = Result<T, End>;

/// A page that is being handled.
pub(crate) struct Stretch {
    pub(crate) events: Arc<Vec<Event>>,
    pub(crate) next: usize,
    pub(crate) end: Position,
    pub(crate) at_head: bool,
}

/// One ownership of a generation.
pub(crate) struct Session<'r> {
    pub(crate) run: &'r mut Run,
    pub(crate) lease: Lease,
    pub(crate) view: Arc<dyn View>,
    /// Where the checkpoint stands once what is in flight is committed.
    pub(crate) tip: Position,
    /// How far the log has been looked through; beyond `tip` only by events that do not fit, unless `stretch` is set.
    pub(crate) seen: Position,
    pub(crate) reader: ReadAhead,
    pub(crate) stretch: Option<Stretch>,
    pub(crate) attempt: u32,
    pub(crate) in_flight: Option<InFlight>,
    /// `None` only while it is on a guest thread.
    pub(crate) worker: Option<Worker>,
    /// How many more calls a failure is held against the module.
    pub(crate) probation: u64,
    /// The next event fails under the previous module too: its failure counts as the event's own.
    pub(crate) acquitted: bool,
    /// How many of the next events are handled in one batch at most: what came after took their tables' transaction with it.
    pub(crate) most: Option<usize>,
    pub(crate) live: bool,
    pub(crate) waiting: Option<Command>,
    /// Tells of changes of the chain of upcasters.
    pub(crate) chain: watch::Receiver<u64>,
    /// A handler's only.
    pub(crate) timers: Option<Timers>,
    /// The head of the log when the session began. Timers wait until the handler has come this far: what cancels a
    /// schedule may be among these events.
    owed: Position,
}

impl<'r> Session<'r> {
    /// Takes the generation and makes ready to go on from its checkpoint.
    pub(crate) async fn begin(run: &'r mut Run) -> Step<Self> {
        let trouble = |error: &dyn std::fmt::Display| End::Trouble(error.to_string());
        let (lease, checkpoint) = run.read_model.take().await.map_err(|error| trouble(&error))?;
        // Whoever has it by now takes it again and finds all as it was: nothing was written.
        if !run.tenure.holds() {
            return Err(End::Fenced("the time of the lease is over: another host may have it".into()));
        }
        if let Some(feed) = &run.feed {
            feed.begin(&checkpoint).await.map_err(|error| trouble(&error))?;
        }
        let has_tables = run.module.description().has_tables;
        let unfit = if has_tables { prepare(run, lease, &checkpoint).await?.err() } else { None };
        let held = held::load(&*run.read_model).await.map_err(|error| trouble(&error))?;
        let strayed = strayed(run, &checkpoint).await.map_err(|error| trouble(&error))?;
        let scheduled = match run.kind {
            Kind::Handler => Some(run.read_model.scheduled().await.map_err(|error| trouble(&error))?),
            _ => None,
        };
        // From here on nothing fails: the timers run from now until the session's conclusion.
        let timers = scheduled.map(|scheduled| {
            run.progress.send_modify(|progress| progress.scheduled = scheduled.len() as u64);
            let on = Foundation {
                log: run.ports.log.clone(),
                clock: run.ports.clock.clone(),
                read_model: run.read_model.clone(),
                lease,
                tenure: run.tenure.clone(),
                progress: run.progress.clone(),
            };
            Timers::start(on, scheduled)
        });
        let mut chain = run.ports.upcasting.changes();
        chain.mark_unchanged();
        let filter = run.filter();
        let worker = Worker {
            caller: run.caller(run.module.clone()),
            emitter: run.emitter(),
            held,
            policy: run.policy.clone(),
            clock: run.ports.clock.clone(),
        };
        let session = Self {
            lease,
            view: run.read_model.view(),
            tip: checkpoint.position,
            seen: checkpoint.position,
            reader: ReadAhead::start(run.ports.log.clone(), checkpoint.position, filter),
            stretch: None,
            attempt: 1,
            in_flight: None,
            worker: Some(worker),
            probation: 0,
            acquitted: false,
            most: None,
            live: false,
            waiting: None,
            chain,
            timers,
            owed: *run.ports.log.head().borrow(),
            run,
        };
        let (events, streams) = session.parked();
        session.run.progress.send_modify(|progress| {
            progress.position = checkpoint.position;
            progress.handled = checkpoint.handled;
            (progress.parked_events, progress.parked_streams) = (events, streams);
        });
        if let Some(message) = strayed.or_else(|| unfit.map(|error| error.to_string())) {
            session.run.hold = Hold::Halted;
            session.run.fail(message, Some(checkpoint.position), true);
        } else {
            session.show();
        }
        Ok(session)
    }

    /// Starts a commit once the one before has ended. What was emitted is appended before it, then what was published goes out.
    pub(crate) async fn commit(&mut self, mut batch: Batch, outbound: Outbound) -> Step {
        self.settle().await?;
        if let Some(feed) = &self.run.feed {
            feed.note(&mut batch);
        }
        let (parked_events, parked_streams) = self.parked();
        self.tip = batch.until;
        let (until, handled, documents) = (batch.until, batch.handled, batch.documents.clone());
        let published = messages::count(&outbound.posts);
        let task = tokio::spawn(self.writing(batch, outbound).write());
        let takeover = None;
        self.in_flight =
            Some(InFlight { task, until, handled, published, documents, parked_events, parked_streams, takeover });
        Ok(())
    }

    /// Has a change of modules committed right after the commit under way, without waiting for either; `then` follows
    /// once it is committed.
    pub(crate) fn commit_takeover(
        &mut self,
        mut batch: Batch,
        takeover: Takeover,
        then: impl Future<Output = ()> + Send + 'static,
    ) {
        if let Some(feed) = &self.run.feed {
            feed.note(&mut batch);
        }
        let earlier = self.in_flight.take();
        let (parked_events, parked_streams) = self.parked();
        self.tip = batch.until;
        let until = batch.until;
        let (handled, published) = earlier.as_ref().map_or((0, 0), |commit| (commit.handled, commit.published));
        // The documents of the commit under way stay visible until all of it has ended.
        let documents = earlier.as_ref().map_or_else(Arc::default, |commit| commit.documents.clone());
        let writing = self.writing(batch, Outbound::default());
        let task = tokio::spawn(async move {
            let emitted = match earlier {
                Some(earlier) => ended(earlier.task.await)?,
                None => 0,
            };
            writing.write().await?;
            then.await;
            Ok(emitted)
        });
        let takeover = Some(takeover);
        self.in_flight =
            Some(InFlight { task, until, handled, published, documents, parked_events, parked_streams, takeover });
    }

    fn writing(&self, batch: Batch, outbound: Outbound) -> Writing {
        Writing {
            log: self.run.ports.log.clone(),
            buses: self.run.ports.buses.clone(),
            read_model: self.run.read_model.clone(),
            timers: self.timers.as_ref().map(|timers| timers.shared.clone()),
            lease: self.lease,
            tenure: self.run.tenure.clone(),
            batch,
            outbound,
        }
    }

    /// Waits for what is under way, so that the next session knows which module is in charge, and so that nothing is
    /// emitted when nobody answers for it any more.
    pub(crate) async fn conclude(&mut self) {
        // How the session ended is known already.
        let _ = self.settle().await;
        if let Some(timers) = self.timers.take() {
            timers.end().await;
        }
    }

    /// Whether a change of modules is under way.
    pub(crate) fn is_taken_over(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|commit| commit.takeover.is_some())
    }

    /// Puts the module before back in charge.
    fn withdraw(&mut self, takeover: Takeover) {
        let Takeover { module, previous, shown } = takeover;
        self.run.progress.send_modify(|progress| {
            progress.module = module.clone();
            progress.previous = shown;
        });
        (self.run.module, self.run.previous) = (module, previous);
    }

    /// Waits for the commit under way.
    pub(crate) async fn settle(&mut self) -> Step {
        if self.in_flight.is_none() {
            return Ok(());
        }
        let result = committed(&mut self.in_flight).await;
        self.settled(result)
    }

    /// Notes how a commit ended.
    pub(crate) fn settled(&mut self, (commit, result): (InFlight, Result<u64, Unwritten>)) -> Step {
        let emitted = match result {
            Ok(emitted) => emitted,
            Err(error) => {
                if let Some(takeover) = commit.takeover {
                    self.withdraw(takeover);
                }
                if let Unwritten::Publish(error) = &error {
                    self.run.oversized.note(error);
                    if error.fate() == Fate::Stop {
                        self.run.hold = Hold::Halted;
                    }
                }
                let end = if error.is_fenced() { End::Fenced } else { End::Trouble };
                return Err(end(error.to_string()));
            }
        };
        if let Some(feed) = &self.run.feed {
            feed.release(commit.until);
        }
        self.run.progress.send_if_modified(|progress| {
            progress.position = commit.until;
            progress.handled += commit.handled;
            progress.emitted += emitted;
            progress.published += commit.published;
            (progress.parked_events, progress.parked_streams) = (commit.parked_events, commit.parked_streams);
            if commit.handled > 0 && self.attempt == 1 && self.run.hold == Hold::Free {
                progress.last_error = None;
            }
            false
        });
        self.show();
        Ok(())
    }

    /// Brings what the watchers see up to date and wakes them.
    pub(crate) fn show(&self) {
        let caught_up = self.stretch.is_none() && self.in_flight.is_none();
        let state = match self.run.hold {
            Hold::Paused => State::Paused,
            Hold::Halted => State::Error,
            Hold::Free if self.live => State::Live,
            Hold::Free => State::CatchingUp,
        };
        self.run.progress.send_modify(|progress| {
            progress.state = state;
            progress.halted = self.run.hold == Hold::Halted;
            if caught_up {
                progress.position = self.seen;
            }
        });
        if let Some(timers) = &self.timers
            && self.run.hold == Hold::Free
            && self.run.progress.borrow().position >= self.owed
        {
            timers.shared.open();
        }
    }

    /// Notes an error that may pass.
    pub(crate) fn note(&self, message: String, position: Position) {
        let at = self.run.ports.clock.now();
        let error = LastError { message, at, position: Some(position) };
        self.run.progress.send_modify(|progress| progress.last_error = Some(error));
    }

    /// Stops handling until an operator resumes.
    pub(crate) async fn halt(&mut self, message: String, position: Option<Position>) {
        self.hold(Hold::Halted).await;
        self.run.fail(message.clone(), position, true);
        self.run.record(Happening::Stopped { reason: message }).await;
    }

    /// Handles no more events, and emits none that come due.
    pub(crate) async fn hold(&mut self, hold: Hold) {
        self.run.hold = hold;
        if let Some(timers) = &self.timers {
            timers.shared.close().await;
        }
    }

    /// Reads again from the boundary.
    pub(crate) fn restart(&mut self) {
        let boundary = self.boundary();
        self.stretch = None;
        self.seen = boundary;
        self.reader = ReadAhead::start(self.run.ports.log.clone(), boundary, self.run.filter());
    }

    /// The last position that is done with: what comes after is not begun.
    pub(crate) fn boundary(&self) -> Position {
        if self.stretch.is_some() { self.tip } else { self.seen }
    }

    /// The transaction for the SQL tables of the module, where it has some. A batch that changes them is not overlapped with
    /// the one before.
    pub(crate) async fn tables(
        &mut self,
        module: &Arc<dyn Module>,
    ) -> Step<Result<Option<Arc<dyn Tables>>, TablesError>> {
        if !module.description().has_tables {
            return Ok(Ok(None));
        }
        self.settle().await?;
        open(&*self.run.read_model, &**module).await
    }

    /// A batch that only moves the checkpoint.
    pub(crate) fn blank(&self, until: Position) -> Batch {
        blank((self.tip, until), self.run.module.digest(), self.run)
    }

    /// Where a batch that moves nothing stands.
    pub(crate) fn tip(&self) -> Position {
        self.tip
    }

    /// What is committed.
    pub(crate) fn view(&self) -> Arc<dyn View> {
        self.view.clone()
    }

    /// Takes the worker to a guest thread; [`Self::give_back`] returns it.
    pub(crate) fn lend(&mut self) -> Option<Worker> {
        self.worker.take()
    }

    /// Returns the worker.
    pub(crate) fn give_back(&mut self, worker: Worker) {
        self.worker = Some(worker);
    }

    /// The streams that are held back; empty while the worker is lent.
    pub(crate) fn held(&mut self) -> Option<&mut Held> {
        self.worker.as_mut().map(|worker| &mut worker.held)
    }

    /// How many events are parked, and of how many streams.
    pub(crate) fn parked(&self) -> (u64, u64) {
        let held = self.worker.as_ref().map(|worker| &worker.held);
        held.map_or((0, 0), |held| (held.values().sum(), held.len() as u64))
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.run.ports.clock.now()
    }
}

/// Runs the migrations of the module that were not run yet, so that its tables are there before its first event.
async fn prepare(run: &Run, lease: Lease, checkpoint: &Checkpoint) -> Step<Result<(), TablesError>> {
    let tables = match open(&*run.read_model, &*run.module).await? {
        Ok(tables) => tables,
        Err(error) => return Ok(Err(error)),
    };
    let (at, module) = (checkpoint.position, checkpoint.module);
    let batch = Batch { tables, ..blank((at, at), module, run) };
    match run.read_model.commit(lease, &batch).await {
        Ok(()) => Ok(Ok(())),
        Err(error) if error.fate() == Fate::Stop => Err(End::Fenced(error.to_string())),
        Err(error) => Err(End::Trouble(error.to_string())),
    }
}

/// A batch that only moves the checkpoint.
fn blank((from, until): (Position, Position), module: Digest, run: &Run) -> Batch {
    Batch {
        from,
        until,
        last_event: None,
        incarnation: run.feed.is_none().then(|| run.ports.log.incarnation()),
        module,
        documents: Arc::default(),
        tables: None,
        schedules: Vec::new(),
        parked: Vec::new(),
        released: Vec::new(),
        handled: 0,
        trace: None,
        started_at: run.ports.clock.now(),
    }
}

/// Opens the transaction for the SQL tables of a module. Trouble with the storage ends the session; the inner error says
/// what is wrong with the module.
async fn open(read_model: &dyn ReadModel, module: &dyn Module) -> Step<Result<Option<Arc<dyn Tables>>, TablesError>> {
    match read_model.tables(&module.description().migrations).await {
        Ok(tables) => Ok(Ok(Some(tables))),
        Err(error) if error.fate() == Fate::Stop => Ok(Err(error)),
        Err(error) => Err(End::Trouble(error.to_string())),
    }
}

/// The root of a new trace.
pub(crate) fn new_trace() -> TraceContext {
    TraceContext {
        trace_id: fastrand::u128(1..),
        span_id: fastrand::u64(1..),
        flags: TraceContext::SAMPLED,
        state: None,
    }
}
