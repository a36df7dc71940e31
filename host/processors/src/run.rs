//! The subscription loop of one generation: pages in, effects committed batch by batch, commands obeyed in between.
//!
//! ```text
//!  read ahead ─▶ page ─▶ guest thread: handle ─▶ batch ─▶ commit
//!                          (what was emitted is appended, then one fenced transaction)
//!                          batch n+1 is handled while batch n commits, on top of its documents
//! ```
//!
//! A session is one ownership of the generation. Trouble with the log or the storage ends it; the next one takes the
//! generation anew and starts from the committed checkpoint, so whatever was in flight is dropped and done again.

use std::{sync::Arc, time::Duration};

use lantern_core::{
    Batch, BatchView, Event, EventId, Fate, Position, State,
    journal::{FailurePolicy, OnFailure},
    log::LogError,
};
use tokio::{sync::watch, time};

use crate::{
    Refusal, backoff,
    command::Command,
    emission::Outbound,
    feed::Feeding,
    generation::{Hold, Run},
    handle::{Interruption, Occasion, reached},
    in_flight::committed,
    read_ahead::{PAGE, Read},
    session::{End, Session, Step, Stretch, new_trace},
};

/// How far the checkpoint may lag behind when no event fits the filter.
const MOST_UNRECORDED: u64 = 10_000;

/// How the pause grows while the log or the storage is in trouble.
pub(crate) const TROUBLE: FailurePolicy =
    FailurePolicy { attempts: u32::MAX, backoff_ms: 100, max_backoff_ms: 5_000, then: OnFailure::Stop };

impl Run {
    /// Runs until told to stop.
    pub(crate) async fn run(mut self) {
        let feeding = self.feed.clone().map(Feeding::start);
        let mut troubles = 0;
        loop {
            let began = self.progress.borrow().position;
            let end = match Session::begin(&mut self).await {
                Ok(mut session) => {
                    let end = session.run().await.err();
                    session.conclude().await;
                    end
                }
                Err(end) => Some(end),
            };
            match end {
                None | Some(End::Stop) => break,
                Some(End::Fenced(message)) if !self.tenure.holds() => {
                    tracing::warn!(generation = %self.generation, "{message}; this host ends its run");
                    break;
                }
                // Somebody took it whose time was over, and writes nothing any more: it is taken back.
                Some(End::Fenced(message) | End::Trouble(message)) => {
                    troubles = if self.progress.borrow().position > began { 1 } else { troubles + 1 };
                    tracing::warn!(generation = %self.generation, "{message}; trying again");
                    self.fail(message, None, false);
                    if self.rest(backoff::pause(&TROUBLE, troubles)).await.is_err() {
                        break;
                    }
                }
            }
        }
        if let Some(feeding) = feeding {
            feeding.stop().await;
        }
        self.progress.send_modify(|progress| progress.state = State::Stopped);
    }

    /// Waits without a session, for a while or until resumed. An error means that the run is to end.
    async fn rest(&mut self, pause: Duration) -> Result<(), ()> {
        let over = time::sleep(pause);
        tokio::pin!(over);
        loop {
            let command = tokio::select! {
                () = &mut over => return Ok(()),
                command = self.commands.recv() => command,
            };
            let refused = || Refusal::State {
                subject: self.subject(),
                state: State::Error,
                mend: "its storage or the log is in trouble: see its last error, mend that, then try again".into(),
            };
            match command {
                None | Some(Command::Stop) => return Err(()),
                Some(Command::Resume(reply)) => {
                    self.hold = Hold::Free;
                    let _ = reply.send(Ok(()));
                    return Ok(());
                }
                Some(Command::Pause(reply)) => {
                    self.hold = Hold::Paused;
                    let _ = reply.send(Ok(self.progress.borrow().position));
                }
                Some(Command::Swap { reply, .. }) => drop(reply.send(Err(refused()))),
                Some(Command::Retry { reply, .. }) => drop(reply.send(Err(refused()))),
                Some(Command::Skip { reply, .. }) => drop(reply.send(Err(refused()))),
                Some(Command::CancelSchedule { reply, .. }) => drop(reply.send(Err(refused()))),
            }
        }
    }
}

impl Session<'_> {
    /// The loop.
    async fn run(&mut self) -> Step {
        loop {
            while let Some(command) = self.waiting.take().or_else(|| self.run.commands.try_recv().ok()) {
                self.obey(command).await?;
            }
            if self.chain.has_changed().unwrap_or(false) {
                self.adapt();
            }
            if self.run.hold == Hold::Free && self.stretch.is_some() {
                self.batch().await?;
            } else {
                self.idle().await?;
            }
        }
    }

    /// Waits for whatever comes first: a command, the end of a commit, or a page.
    async fn idle(&mut self) -> Step {
        let free = self.run.hold == Hold::Free;
        tokio::select! {
            biased;
            result = committed(&mut self.in_flight) => self.settled(result),
            command = self.run.commands.recv() => {
                self.waiting = Some(command.unwrap_or(Command::Stop));
                Ok(())
            }
            () = changed(&mut self.chain) => {
                self.adapt();
                Ok(())
            }
            read = self.reader.next(), if free => self.turn(read).await,
        }
    }

    /// The chain of upcasters is another one, and with it what is to be read.
    fn adapt(&mut self) {
        self.chain.mark_unchanged();
        if let Some(worker) = self.worker.as_mut() {
            worker.caller.adapt();
        }
        self.restart();
    }

    /// Takes up the next page.
    async fn turn(&mut self, read: Option<Result<Read, LogError>>) -> Step {
        let Read { page, at_head } = match read {
            Some(Ok(read)) => read,
            Some(Err(error)) if error.fate() == Fate::Stop => {
                self.settle().await?;
                self.halt(error.to_string(), None).await;
                return Ok(());
            }
            Some(Err(error)) => return Err(End::Trouble(error.to_string())),
            None => return Err(End::Trouble("reading the log ended".into())),
        };
        if page.events.len() == PAGE {
            self.live = false;
        }
        if page.events.is_empty() {
            return self.pass(page.end, at_head).await;
        }
        self.seen = page.end;
        self.stretch = Some(Stretch { events: Arc::new(page.events), next: 0, end: page.end, at_head });
        self.show();
        Ok(())
    }

    /// Moves over events that do not fit.
    async fn pass(&mut self, end: Position, at_head: bool) -> Step {
        self.seen = end;
        self.live |= at_head;
        // What came from a bus is settled once it is committed.
        let is_fed = self.run.feed.is_some() && self.seen > self.tip;
        if is_fed || self.seen.since(self.tip) >= MOST_UNRECORDED {
            let batch = self.blank(self.seen);
            self.commit(batch, Outbound::default()).await?;
        }
        if self.in_flight.is_none() {
            self.show();
        }
        Ok(())
    }

    /// Handles the next events of the page and commits what they did.
    async fn batch(&mut self) -> Step {
        let tables = match self.tables(&self.run.module.clone()).await? {
            Ok(tables) => tables,
            Err(error) => {
                self.halt(error.to_string(), None).await;
                return Ok(());
            }
        };
        let (Some(stretch), Some(mut worker)) = (self.stretch.as_ref(), self.worker.take()) else { return Ok(()) };
        let (events, next, end) = (stretch.events.clone(), stretch.next, stretch.end);
        let most = match (self.acquitted, self.probation) {
            (true, _) => 1,
            (false, 0) => usize::MAX,
            (false, calls) => usize::try_from(calls).unwrap_or(usize::MAX),
        };
        let upto = next.saturating_add(most).min(events.len());
        let upto = self.most.take().map_or(upto, |most| upto.min(next + most));
        let on_probation = self.probation > 0 && !self.acquitted;
        let occasion = if self.live { Occasion::Live } else { Occasion::Replay(new_trace()) };
        let trace = match &occasion {
            Occasion::Live => None,
            Occasion::Replay(trace) => Some(trace.clone()),
        };
        let started_at = self.run.ports.clock.now();
        let committing = self.in_flight.as_ref().map(|commit| commit.documents.clone());
        let view = Arc::new(BatchView::new(self.view.clone(), committing).with_tables(tables));
        let attempt = self.attempt;
        let work = {
            let (events, view) = (events.clone(), view.clone());
            move || {
                let handled = worker.handle(&events[next..upto], &view, &occasion, attempt, on_probation);
                (worker, handled)
            }
        };
        let Ok((worker, handled)) = self.run.ports.threads.run(work).await else {
            return Err(End::Trouble("the host panicked while a guest ran".into()));
        };
        self.worker = Some(worker);
        self.run.progress.send_if_modified(|progress| {
            progress.failed += handled.failed;
            false
        });
        if handled.done > 0 {
            self.probation = self.probation.saturating_sub(handled.done as u64);
            (self.attempt, self.acquitted) = (1, false);
            let done = next + handled.done;
            let until = reached(&events, done, end);
            let batch = Batch {
                until,
                last_event: last_event(&events[..done], until),
                documents: Arc::new(view.take()),
                tables: view.take_tables(),
                schedules: handled.asked.schedules,
                parked: handled.parked,
                handled: handled.succeeded,
                trace,
                started_at,
                ..self.blank(until)
            };
            self.commit(batch, handled.asked.outbound).await?;
            // Only now: while the commit before settled, these events still had to count as not done.
            self.advance(done);
        }
        // Whatever comes next may need a transaction of its own.
        drop(view);
        match handled.interruption {
            Some(interruption) => self.interrupted(interruption, &events[next + handled.done]).await,
            None => Ok(()),
        }
    }

    /// Notes that the events of the page before `next` are done with.
    fn advance(&mut self, next: usize) {
        let Some(stretch) = self.stretch.as_mut() else { return };
        stretch.next = next;
        if next == stretch.events.len() {
            self.live |= stretch.at_head;
            self.stretch = None;
        }
    }

    /// Deals with an event before which handling ended.
    async fn interrupted(&mut self, interruption: Interruption, event: &Event) -> Step {
        match interruption {
            Interruption::Full => Ok(()),
            Interruption::Undone(events) => {
                self.most = Some(events);
                Ok(())
            }
            Interruption::Host(failure) => Err(End::Trouble(failure.message)),
            Interruption::Transient(failure) => {
                self.settle().await?;
                let pause = backoff::pause(&self.run.policy, self.attempt);
                tracing::debug!(generation = %self.run.generation, position = %event.position, attempt = self.attempt,
                    "{}; trying again in {pause:?}", failure.message);
                self.note(failure.message, event.position);
                self.attempt += 1;
                tokio::select! {
                    () = time::sleep(pause) => {}
                    command = self.run.commands.recv() => self.waiting = Some(command.unwrap_or(Command::Stop)),
                }
                Ok(())
            }
            Interruption::Halt(failure) => {
                self.settle().await?;
                self.halt(failure.message, Some(event.position)).await;
                Ok(())
            }
            Interruption::Suspect(failure) => {
                self.settle().await?;
                self.judge(event, &failure.message).await
            }
        }
    }
}

/// Waits for a change of the chain of upcasters; for ever when nobody can change it any more.
async fn changed(chain: &mut watch::Receiver<u64>) {
    if chain.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The last event of a stretch, if it stands at the checkpoint.
fn last_event(done: &[Event], until: Position) -> Option<EventId> {
    done.last().filter(|event| event.position == until).map(|event| event.id)
}
