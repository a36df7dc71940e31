//! One generation and all it needs to run, and whether the log is still the one it was made from.

use std::{sync::Arc, time::Duration};

use lantern_core::{
    Checkpoint, EventId, Filter, Generation, Happening, Kind, Log, Module, Position, ReadModel, State, Subject,
    journal::FailurePolicy, log::LogError,
};
use tokio::{
    sync::{mpsc, watch},
    time,
};

use crate::{
    LastError, Ports,
    caller::{self, Caller},
    command::Command,
    emission::Emitter,
    feed::Feed,
    messages::Oversized,
    progress::Progress,
    tenure::Tenure,
};

/// How long it may take until a host hears of what another one has appended, and handled already.
const HEARSAY: Duration = Duration::from_secs(3);

/// What can be done when the log is another one.
const MEND: &str = "restore the log, or begin anew: rebuild a projection, deploy a handler again";

/// What keeps a run from handling events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing.
    Free,
    /// An operator paused it.
    Paused,
    /// An error it cannot mend by itself.
    Halted,
}

/// One generation and all it needs to run.
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) generation: Generation,
    pub(crate) ports: Arc<Ports>,
    pub(crate) read_model: Arc<dyn ReadModel>,
    pub(crate) policy: FailurePolicy,
    pub(crate) module: Arc<dyn Module>,
    /// The module before the last swap, kept warm.
    pub(crate) previous: Option<Arc<dyn Module>>,
    pub(crate) hold: Hold,
    pub(crate) tenure: Tenure,
    /// What feeds it, where that is not the log.
    pub(crate) feed: Option<Arc<Feed>>,
    /// Messages that a bus did not take.
    pub(crate) oversized: Arc<Oversized>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

impl Run {
    /// Shows an error to those who watch.
    pub(crate) fn fail(&self, message: String, position: Option<Position>, halted: bool) {
        let at = self.ports.clock.now();
        self.progress.send_modify(|progress| {
            progress.state = State::Error;
            progress.halted = halted;
            progress.last_error = Some(LastError { message, at, position });
        });
    }

    /// Writes to the journal.
    pub(crate) async fn record(&self, happening: Happening) {
        record(&self.ports, &self.tenure, &self.subject(), happening).await;
    }

    /// What it runs for.
    pub(crate) fn subject(&self) -> Subject {
        Subject { kind: self.kind, name: self.generation.processor.clone() }
    }

    /// Which events are read.
    pub(crate) fn filter(&self) -> Filter {
        caller::filter(&*self.module, &*self.ports.upcasting)
    }

    /// What calls a module.
    pub(crate) fn caller(&self, module: Arc<dyn Module>) -> Caller {
        Caller::new(module, self.ports.upcasting.clone())
    }

    /// What is needed to turn what a handler asks for into events. Projections have no effects.
    pub(crate) fn emitter(&self) -> Option<Emitter> {
        let is_handler = self.kind == Kind::Handler;
        let new = || Emitter::new(self.generation.processor.clone(), self.ports.clock.clone(), self.oversized.clone());
        is_handler.then(new)
    }
}

/// Writes to the journal. A failure is only logged: what happened is in the read model already, and the next start of the
/// processor brings the journal up to date. So does the next host where this one's time is over. Routes are not deployed,
/// so that the journal tells nothing of them.
pub(crate) async fn record(ports: &Ports, tenure: &Tenure, subject: &Subject, happening: Happening) {
    if subject.name.is_reserved() {
        return;
    }
    if !tenure.holds() {
        tracing::warn!(kind = %subject.kind, name = %subject.name, ?happening, "not recorded: another host has it now");
    } else if let Err(error) = ports.journal.append(subject, happening).await {
        tracing::error!(kind = %subject.kind, name = %subject.name, "{error}");
    }
}

/// Whether the log is another one than the checkpoint was made on: the reason to halt, in words.
pub(crate) async fn strayed(run: &Run, checkpoint: &Checkpoint) -> Result<Option<String>, LogError> {
    if run.feed.is_some() {
        // Offsets tell whether a topic is the one it was.
        return Ok(None);
    }
    let position = checkpoint.position;
    let log = run.ports.log.incarnation();
    if let Some(other) = checkpoint.incarnation.filter(|incarnation| *incarnation != log) {
        return Ok(Some(format!(
            "the checkpoint {position} belongs to the log {other}, and this is the log {log}: it was replaced; {MEND}"
        )));
    }
    let mut heads = run.ports.log.head();
    let reached = time::timeout(HEARSAY, heads.wait_for(|head| *head >= position)).await;
    // An error means that the log ends: what it says last is what there is.
    let head = reached.ok().and_then(Result::ok).map_or_else(|| *run.ports.log.head().borrow(), |head| *head);
    if position > head {
        return Ok(Some(format!(
            "the checkpoint is at {position}, but the log ends at {head}: it went back in time; {MEND}"
        )));
    }
    let Some(event) = checkpoint.event_id else { return Ok(None) };
    let found = event_at(&*run.ports.log, position).await?;
    Ok((found != Some(event)).then(|| {
        format!(
            "the log has another event at the checkpoint {position} than the one handled: it went back in time and was \
             written anew; {MEND}"
        )
    }))
}

/// The event at a position: the proof that a checkpoint belongs to the log, whether or not a module wants it.
pub(crate) async fn event_at(log: &dyn Log, position: Position) -> Result<Option<EventId>, LogError> {
    let page = log.read(Position(position.0 - 1), &Filter::all(), 1).await?;
    Ok(page.events.first().map(|event| event.id))
}
