//! What is done at a boundary between two batches: commands are obeyed, modules replaced, a suspect module judged.

use std::sync::Arc;

use lantern_core::{Batch, BatchView, Cause, Event, Happening, Module, Position, ScheduleChange, View};

use crate::{
    Refusal, caller,
    command::{Command, Reason, Reply},
    dead_letters,
    emission::Outbound,
    generation::{Hold, record},
    in_flight::Takeover,
    session::{End, Session, Step},
};

/// How many calls after a swap a failure is held against the new module.
const PROBATION: u64 = 100;

impl Session<'_> {
    /// Obeys a command at a boundary between two batches.
    pub(crate) async fn obey(&mut self, command: Command) -> Step {
        if !matches!(command, Command::Swap { .. }) {
            self.settle().await?;
        }
        match command {
            Command::Stop => {
                let boundary = self.boundary();
                if boundary > self.tip {
                    let batch = self.blank(boundary);
                    self.commit(batch, Outbound::default()).await?;
                    self.settle().await?;
                }
                return Err(End::Stop);
            }
            Command::Pause(reply) => {
                self.hold(Hold::Paused).await;
                self.show();
                let _ = reply.send(Ok(self.boundary()));
            }
            Command::Resume(reply) => {
                self.run.hold = Hold::Free;
                self.run.progress.send_modify(|progress| progress.last_error = None);
                self.attempt = 1;
                self.restart();
                self.show();
                let _ = reply.send(Ok(()));
            }
            Command::Swap { module, reason, reply } => self.replace(module, reason, Some(reply)).await?,
            Command::Retry { selection, reply } => {
                self.run.oversized.forget();
                let answer = dead_letters::retry(self, &selection).await?;
                self.show();
                let _ = reply.send(answer);
            }
            Command::Skip { position, reply } => {
                let answer = dead_letters::skip(self, position).await?;
                self.show();
                let _ = reply.send(answer);
            }
            Command::CancelSchedule { key, reply } => {
                let answer = self.cancel(key).await?;
                self.show();
                let _ = reply.send(answer);
            }
        }
        Ok(())
    }

    /// Takes a schedule back. While it is looked up and removed no timer fires.
    async fn cancel(&mut self, key: Arc<str>) -> Step<Result<(), Refusal>> {
        let unknown = |key| Refusal::NotScheduled { name: self.run.generation.processor.clone(), key };
        let Some(timers) = &self.timers else { return Ok(Err(unknown(key))) };
        timers.shared.close().await;
        if !timers.shared.has(&key).await {
            return Ok(Err(unknown(key)));
        }
        let schedules = vec![ScheduleChange::Cancel(key.clone())];
        self.commit(Batch { schedules, ..self.blank(self.tip()) }, Outbound::default()).await?;
        self.settle().await?;
        self.run.record(Happening::ScheduleCancelled { key: key.as_ref().into() }).await;
        Ok(Ok(()))
    }

    /// Lets another module handle the events after this boundary, from now on. The checkpoint records position and module
    /// in one commit, with the migrations of the module's SQL tables that were not run; the journal follows, then the answer. Events wait for none of it. Should the commit fail, what the
    /// module did meanwhile is dropped with it, and the module before is in charge again.
    pub(crate) async fn replace(
        &mut self,
        module: Arc<dyn Module>,
        reason: Reason,
        reply: Option<Reply<Position>>,
    ) -> Step {
        if self.is_taken_over() {
            self.settle().await?;
        }
        let tables = match self.tables(&module).await? {
            Ok(tables) => tables,
            Err(error) => {
                let refusal = Refusal::Tables { module: module.digest(), reason: error.to_string() };
                match reply {
                    Some(reply) => drop(reply.send(Err(refusal))),
                    None => self.halt(refusal.to_string(), None).await,
                }
                return Ok(());
            }
        };
        let position = self.boundary();
        let batch = Batch { module: module.digest(), tables, ..self.blank(position) };
        let (from, to) = (self.run.module.digest(), module.digest());
        let same_filter = self.run.module.description().filter() == module.description().filter();
        if let Some(worker) = self.worker.as_mut() {
            worker.caller = self.run.caller(module.clone());
        }
        let shown = self.run.progress.borrow().previous;
        self.run.progress.send_modify(|progress| {
            progress.module = module.clone();
            progress.previous = Some(from);
        });
        let before = std::mem::replace(&mut self.run.module, module);
        let previous = self.run.previous.replace(before.clone());
        (self.attempt, self.acquitted) = (1, false);
        let happening = match reason {
            Reason::Swap => {
                self.probation = PROBATION;
                Happening::Swapped { position, from, to }
            }
            Reason::RollBack(reason) => {
                self.probation = 0;
                Happening::RolledBack { position, from, to, reason }
            }
        };
        let (ports, tenure, subject) = (self.run.ports.clone(), self.run.tenure.clone(), self.run.subject());
        let told = async move {
            record(&ports, &tenure, &subject, happening).await;
            if let Some(reply) = reply {
                let _ = reply.send(Ok(position));
            }
        };
        self.commit_takeover(batch, Takeover { module: before, previous, shown }, told);
        if !same_filter {
            self.restart();
        }
        Ok(())
    }

    /// Finds out whether the module or the event is to blame: a module that fails an event which the module before it
    /// handles is rolled back, so that no event is parked because of a bad swap.
    pub(crate) async fn judge(&mut self, event: &Event, message: &str) -> Step {
        let reads = |module: &Arc<dyn Module>| caller::filter(&**module, &*self.run.ports.upcasting).fits(event);
        let Some(previous) = self.run.previous.clone().filter(reads) else {
            self.acquitted = true;
            return Ok(());
        };
        let Ok(tables) = self.tables(&previous).await? else {
            self.acquitted = true;
            return Ok(());
        };
        let view: Arc<dyn View> = Arc::new(BatchView::new(self.view.clone(), None).with_tables(tables));
        let (mut caller, tried) = (self.run.caller(previous.clone()), event.clone());
        let work = move || {
            let outcome = caller.call(&tried, Cause::DryRun, 1, &view);
            outcome.is_some_and(|outcome| outcome.result.is_ok())
        };
        let handles = self.run.ports.threads.run(work).await.unwrap_or(false);
        if !handles {
            self.acquitted = true;
            return Ok(());
        }
        let reason = format!(
            "by the host: it failed on the event at {}, which the module before it handles: {message}",
            event.position
        );
        tracing::warn!(generation = %self.run.generation, module = %self.run.module.digest().short(),
            "rolling back {reason}");
        self.replace(previous, Reason::RollBack(reason), None).await
    }
}
