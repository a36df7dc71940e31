//! Handling events on a guest thread: from a stretch of events to the effects, the parked events and a reason to stop.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lantern_core::{
    BatchView, Cause, Clock, Digest, Effects, Event, Fate, Outcome, Parked, Position, TraceContext, View,
    journal::{FailurePolicy, OnFailure},
    module::Failure,
    parked::Standing,
};

use crate::{
    caller::Caller,
    emission::{Asked, Emitter},
    held::Held,
};

/// How many bytes of effects a batch may hold before it is committed.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// How long events may be handled before what they did is committed.
const MOST_TIME: Duration = Duration::from_millis(250);

/// Why events are handled now.
#[derive(Clone)]
pub(crate) enum Occasion {
    /// They were just appended.
    Live,
    /// They are handled late or again, within this trace.
    Replay(TraceContext),
}

impl Occasion {
    pub(crate) fn cause(&self) -> Cause<'_> {
        match self {
            Self::Live => Cause::Live,
            Self::Replay(batch) => Cause::Replay { batch },
        }
    }
}

/// What goes to a guest thread and comes back: a module at work and what it must know.
pub(crate) struct Worker {
    pub(crate) caller: Caller,
    /// A handler's only.
    pub(crate) emitter: Option<Emitter>,
    pub(crate) held: Held,
    pub(crate) policy: FailurePolicy,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Why handling ended before the last event.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// The batch is full; go on with the next event.
    Full,
    /// What so many events did to the SQL tables was lost with their transaction: handle them again, without the next one.
    Undone(usize),
    /// The next event failed in a way that may pass: wait, then try it again.
    Transient(Failure),
    /// The next event failed and the policy says to stop there.
    Halt(Failure),
    /// The host could not serve the call.
    Host(Failure),
    /// The next event failed while the module is on probation: whether it is to blame is to be found out first.
    Suspect(Failure),
}

/// What handling a stretch of events came to.
#[derive(Default)]
pub(crate) struct Handled {
    /// How many events of the stretch are done with.
    pub(crate) done: usize,
    /// How many of those were handled with success.
    pub(crate) succeeded: u64,
    /// How many calls failed.
    pub(crate) failed: u64,
    /// What was parked or skipped.
    pub(crate) parked: Vec<Parked>,
    /// What a handler asked for beyond documents.
    pub(crate) asked: Asked,
    /// Why it ended early.
    pub(crate) interruption: Option<Interruption>,
}

impl Worker {
    /// Handles events in order, folding what they do into the view. `attempt` is that of the first event.
    pub(crate) fn handle(
        &mut self,
        events: &[Event],
        view: &Arc<BatchView>,
        occasion: &Occasion,
        attempt: u32,
        on_probation: bool,
    ) -> Handled {
        let began = Instant::now();
        let seen: Arc<dyn View> = view.clone();
        let tables = view.tables();
        let held = tables.is_some().then(|| self.held.clone());
        let mut handled = Handled::default();
        let mut attempt = attempt;
        for event in events {
            let bytes = view.bytes() + handled.asked.bytes;
            if handled.done > 0 && (bytes > MOST_BYTES || began.elapsed() > MOST_TIME) {
                handled.interruption = Some(Interruption::Full);
                break;
            }
            if let Some(waiting) = self.held.get_mut(&event.stream) {
                *waiting += 1;
                handled.parked.push(behind(event, self.caller.digest(), &*self.clock));
                handled.done += 1;
                continue;
            }
            let called = self.call(event, occasion.cause(), attempt, &seen);
            let lost = tables.as_ref().is_some_and(|tables| !tables.is_open());
            if lost
                && handled.done > 0
                && let Some(held) = held
            {
                self.held = held;
                view.take();
                return Handled { interruption: Some(Interruption::Undone(handled.done)), ..Handled::default() };
            }
            match called {
                Called::Unwanted => {}
                Called::Handled { effects, trace } => {
                    self.fold(event, effects, trace, view, &mut handled.asked);
                    handled.succeeded += 1;
                }
                Called::Failed { failure, trace } => {
                    handled.failed += 1;
                    let fate = self.fate(&failure, attempt, on_probation);
                    match fate {
                        Decision::Interrupt(interrupt) => {
                            handled.interruption = Some(interrupt(failure));
                            break;
                        }
                        Decision::Record(standing) => {
                            let parked = self.parked(event, standing, failure, attempt, trace, None);
                            if standing == Standing::Failed {
                                self.held.insert(event.stream.clone(), 1);
                            }
                            handled.parked.push(parked);
                        }
                    }
                }
            }
            handled.done += 1;
            attempt = 1;
            if lost {
                handled.interruption = Some(Interruption::Full);
                break;
            }
        }
        handled
    }

    /// Calls the module for one event.
    pub(crate) fn call(&mut self, event: &Event, cause: Cause<'_>, attempt: u32, view: &Arc<dyn View>) -> Called {
        let Some(Outcome { result, trace, .. }) = self.caller.call(event, cause, attempt, view) else {
            return Called::Unwanted;
        };
        match result {
            Ok(effects) => match self.emitter.as_ref().and_then(|emitter| emitter.refusal(event, &effects)) {
                Some(failure) => Called::Failed { failure, trace },
                None => Called::Handled { effects, trace },
            },
            Err(failure) => Called::Failed { failure, trace },
        }
    }

    /// Adds what a call asks for to what is committed together.
    pub(crate) fn fold(
        &self,
        event: &Event,
        effects: Effects,
        trace: Option<TraceContext>,
        view: &BatchView,
        asked: &mut Asked,
    ) {
        let Effects { writes, emitted, timers, published } = effects;
        view.fold(writes);
        if let Some(emitter) = &self.emitter
            && !(emitted.is_empty() && timers.is_empty() && published.is_empty())
        {
            emitter.take(event, (emitted, timers, published), trace, asked);
        }
    }

    /// The record of an event that could not be handled; `earlier` is what was recorded of it before.
    pub(crate) fn parked(
        &self,
        event: &Event,
        standing: Standing,
        failure: Failure,
        attempts: u32,
        trace: Option<TraceContext>,
        earlier: Option<&Parked>,
    ) -> Parked {
        let now = self.clock.now();
        Parked {
            position: event.position,
            event_id: event.id,
            event_type: event.event_type.clone(),
            stream: event.stream.clone(),
            standing,
            kind: Some(failure.kind),
            error: failure.message,
            backtrace: failure.backtrace,
            attempts,
            trace_id: trace.filter(TraceContext::is_sampled).map(|trace| format!("{:032x}", trace.trace_id)),
            module: self.caller.digest(),
            first_at: earlier.map_or(now, |parked| parked.first_at),
            last_at: now,
        }
    }

    fn fate(&self, failure: &Failure, attempt: u32, on_probation: bool) -> Decision {
        match failure.fate() {
            Fate::Stop => Decision::Interrupt(Interruption::Host),
            Fate::Retry if attempt < self.policy.attempts => Decision::Interrupt(Interruption::Transient),
            Fate::Retry | Fate::Park if on_probation => Decision::Interrupt(Interruption::Suspect),
            Fate::Retry | Fate::Park => match self.policy.then {
                OnFailure::Park => Decision::Record(Standing::Failed),
                OnFailure::Skip => Decision::Record(Standing::Skipped),
                OnFailure::Stop => Decision::Interrupt(Interruption::Halt),
            },
        }
    }
}

/// How a call for an event ended.
pub(crate) enum Called {
    /// The module does not want the event in its newest form: it is done with.
    Unwanted,
    /// The module handled it, within this span.
    Handled { effects: Effects, trace: Option<TraceContext> },
    /// It failed.
    Failed { failure: Failure, trace: Option<TraceContext> },
}

/// What a failed event leads to.
enum Decision {
    /// Handling ends before the event.
    Interrupt(fn(Failure) -> Interruption),
    /// The event is recorded in the dead letters and handling goes on.
    Record(Standing),
}

/// The record of an event whose stream is held back.
fn behind(event: &Event, module: Digest, clock: &dyn Clock) -> Parked {
    let now = clock.now();
    Parked {
        position: event.position,
        event_id: event.id,
        event_type: event.event_type.clone(),
        stream: event.stream.clone(),
        standing: Standing::Behind,
        kind: None,
        error: "an earlier event of the stream is parked".into(),
        backtrace: None,
        attempts: 0,
        trace_id: None,
        module,
        first_at: now,
        last_at: now,
    }
}

/// The position after which a stretch of a page is done: that of its last event, or of the page's end.
pub(crate) fn reached(events: &[Event], done: usize, page_end: Position) -> Position {
    if done == events.len() { page_end } else { Position(events[done].position.0 - 1) }
}
