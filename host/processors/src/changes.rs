//! Changes to a processor that runs: swap, rollback, rebuild.

use std::sync::Arc;

use lantern_core::{Digest, Generation, Happening, Kind, Name};

use crate::{
    Refusal, Status, Supervisor, Swapped,
    command::{Command, Reason},
    dry_run::dry_run,
    generation::Hold,
    processor::{Begun, Processor},
    rebuild,
    roster::Back,
};

impl Supervisor {
    /// Replaces the module of the live generation between two events, after a dry run.
    pub async fn swap(&self, kind: Kind, name: &Name, module: Digest) -> Result<Swapped, Refusal> {
        let processor = self.processor(kind, name)?;
        let _changing = processor.change().await?;
        let live = processor.live();
        let (from, position) = {
            let progress = live.progress.borrow();
            (progress.module.digest(), progress.position)
        };
        if from == module {
            return Err(Refusal::SameModule { subject: processor.subject.clone(), module });
        }
        let ports = self.ports();
        let loaded = ports.library.load(module, &processor.settings()).await?;
        let tried = dry_run(&live.ports, live.read_model.clone(), loaded.clone(), position).await;
        let tried = match tried {
            Ok(tried) => tried,
            Err(refusal) => {
                let happening = Happening::SwapRefused { module, reason: refusal.to_string() };
                ports.journal.append(&processor.subject, happening).await?;
                return Err(refusal);
            }
        };
        let position = live.ask(|reply| Command::Swap { module: loaded, reason: Reason::Swap, reply }).await?;
        let dropped = processor.standing().back.replace(Back::Module(from));
        rebuild::forget(ports, &processor, dropped, live.number).await;
        Ok(Swapped { position, from, to: module, dry_run_events: tried.events, parked_mended: tried.mended })
    }

    /// Goes back to the module before the last swap, at once; or to the generation before the last promotion, once it
    /// has caught up.
    pub async fn rollback(&self, kind: Kind, name: &Name) -> Result<Swapped, Refusal> {
        let processor = self.processor(kind, name)?;
        let back = processor.standing().back.clone();
        match back {
            None if processor.live().progress.borrow().previous.is_none() => {
                Err(Refusal::NothingToRollBack(processor.subject.clone()))
            }
            Some(Back::Generation { number, module }) => self.roll_back_generation(&processor, number, module).await,
            None | Some(Back::Module(_)) => self.roll_back_module(&processor).await,
        }
    }

    async fn roll_back_module(&self, processor: &Processor) -> Result<Swapped, Refusal> {
        let _changing = processor.change().await?;
        let live = processor.live();
        let (from, previous) = {
            let progress = live.progress.borrow();
            (progress.module.digest(), progress.previous)
        };
        let Some(to) = previous else { return Err(Refusal::NothingToRollBack(processor.subject.clone())) };
        let module = self.ports().library.load(to, &processor.settings()).await?;
        let reason = Reason::RollBack("by an operator".into());
        let position = live.ask(|reply| Command::Swap { module, reason, reply }).await?;
        processor.standing().back = Some(Back::Module(from));
        Ok(Swapped { position, from, to, dry_run_events: 0, parked_mended: 0 })
    }

    async fn roll_back_generation(
        &self,
        processor: &Arc<Processor>,
        number: u32,
        module: Digest,
    ) -> Result<Swapped, Refusal> {
        let from = processor.live().progress.borrow().module.digest();
        let promoting = self.rebuild_beside(processor, number, module).await?;
        promoting.await.map_err(|_| Refusal::Interrupted)??;
        let position = processor.live().progress.borrow().position;
        Ok(Swapped { position, from, to: module, dry_run_events: 0, parked_mended: 0 })
    }

    /// Begins a new generation beside the live one, with its module or another. It is promoted by itself when it has
    /// caught up. A handler is not rebuilt: that would repeat its effects.
    pub async fn rebuild(&self, kind: Kind, name: &Name, module: Option<Digest>) -> Result<Status, Refusal> {
        let processor = self.processor(kind, name)?;
        if kind == Kind::Handler {
            return Err(Refusal::NoRebuild(name.clone()));
        }
        if let Some(feed) = &processor.live().feed {
            return Err(Refusal::NoLog { projection: name.clone(), route: feed.route.name.clone() });
        }
        let module = module.unwrap_or_else(|| processor.live().progress.borrow().module.digest());
        let number = processor.standing().last_generation + 1;
        // The task goes on by itself; `status` and `history` tell how it ends.
        drop(self.rebuild_beside(&processor, number, module).await?);
        Ok(self.show(&processor))
    }

    /// Starts a generation, a new or an old one, beside the live one and has it promoted when it has caught up.
    pub(crate) async fn rebuild_beside(
        &self,
        processor: &Arc<Processor>,
        number: u32,
        module: Digest,
    ) -> Result<tokio::task::JoinHandle<Result<(), Refusal>>, Refusal> {
        let changing = processor.change().await?;
        let ports = self.ports();
        let loaded = ports.library.load(module, &processor.settings()).await?;
        let generation = Generation { processor: processor.subject.name.clone(), number };
        let read_model = ports.read_models.create(&generation, processor.deployment.start, module).await?;
        let happening = Happening::RebuildStarted { generation: number, module };
        let started = ports.journal.append(&processor.subject, happening).await?.sequence;
        let policy = processor.deployment.failure_policy.clone();
        let kind = processor.subject.kind;
        let (module, tenure) = (loaded, processor.tenure.clone());
        let (previous, hold, feed) = (None, Hold::Free, None);
        let checkpoint = read_model.checkpoint().await?;
        let begun = Begun { kind, generation, policy, read_model, checkpoint, module, previous, hold, tenure, feed };
        let green = self.run(begun);
        {
            let mut standing = processor.standing();
            standing.last_generation = standing.last_generation.max(number);
            standing.rebuild = Some(green.clone());
        }
        let (ports, processor) = (ports.clone(), processor.clone());
        Ok(tokio::spawn(async move {
            let result = rebuild::see_through(ports, processor.clone(), green, started, changing).await;
            match &result {
                Ok(()) | Err(Refusal::ShuttingDown) => {}
                Err(refusal) => tracing::error!(projection = %processor.subject.name, "the rebuild failed: {refusal}"),
            }
            result
        }))
    }
}
