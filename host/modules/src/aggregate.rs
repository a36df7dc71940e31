//! A component as core's module of an aggregate, and its loaded aggregates: each a store of its own that holds one state.
//!
//! An aggregate is started by its first call and lives until it is dropped. Only `decide` says anything: what a module
//! logs while it is loaded would be said again with every load.

use std::sync::Arc;

use bytes::Bytes;
use lantern_core::{
    AggregateInstance, AggregateModule, Decision, Digest, Event, Rejection, StreamName,
    aggregate::{AggregateDescription, Decide, Decided},
    log::MAX_APPEND,
    module::{Described, Failure, FailureKind},
};
use serde_json::value::RawValue;
use wasmtime::{Store, component::ResourceAny};

use crate::{
    bindings::aggregate::{Aggregate, AggregatePre, exports::lantern::module::aggregates as wit},
    described,
    guest::Guest,
    lifted::NewEvent,
    lowered::{command, context, with_events, with_pairs},
    ready::Ready,
    running::Running,
    state::{Deployment, Handed, Moment, cut},
};

/// The most events, and the most bytes of data, that one call takes: the deadline is for each such page, and of the news
/// for the last one together with the decision.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 1 << 20;

/// The longest code of a rejection, in bytes.
const CODE: usize = 256;

/// An aggregate's module, ready for one deployment.
pub(crate) struct WasmAggregate {
    // Kept so that the library finds it while it is in use.
    ready: Arc<Ready>,
    description: AggregateDescription,
    pre: AggregatePre<Guest>,
    deployment: Arc<Deployment>,
}

impl WasmAggregate {
    /// A module for a deployment.
    pub(crate) fn new(
        ready: Arc<Ready>,
        description: AggregateDescription,
        pre: AggregatePre<Guest>,
        deployment: Deployment,
    ) -> Self {
        Self { ready, description, pre, deployment: Arc::new(deployment) }
    }
}

impl AggregateModule for WasmAggregate {
    fn digest(&self) -> Digest {
        self.ready.digest
    }

    fn description(&self) -> &AggregateDescription {
        &self.description
    }

    fn instance(&self, stream: &StreamName) -> Box<dyn AggregateInstance> {
        Box::new(WasmInstance {
            pre: self.pre.clone(),
            deployment: self.deployment.clone(),
            stream: stream.clone(),
            inside: Inside::Fresh,
        })
    }
}

/// Asks a module what it is.
pub(crate) fn describe(pre: &AggregatePre<Guest>, deployment: &Arc<Deployment>) -> Result<Described, String> {
    let told = start(pre, deployment).and_then(|mut running| {
        let described = running.call(|exports, store| exports.lantern_module_aggregates().call_describe(store));
        described.map_err(|error| running.failure(&error))
    });
    described::aggregate(told.map_err(|failure| format!("its function `describe` failed: {failure}"))?)
}

fn start(pre: &AggregatePre<Guest>, deployment: &Arc<Deployment>) -> Result<Running<Aggregate>, Failure> {
    Running::start(pre.engine(), deployment, |store| pre.instantiate(store))
}

/// One aggregate.
struct WasmInstance {
    pre: AggregatePre<Guest>,
    deployment: Arc<Deployment>,
    stream: StreamName,
    inside: Inside,
}

/// What is inside of an instance.
enum Inside {
    /// Nothing was asked of it yet.
    Fresh,
    /// The module runs; it has a state once there was need of one.
    Running(Box<Running<Aggregate>>, Option<ResourceAny>),
    /// A call failed, and the state with it.
    Gone,
}

impl WasmInstance {
    /// The running module and its state, each made where it is not there yet. Both are put back by who succeeds.
    fn take(&mut self) -> Result<(Box<Running<Aggregate>>, ResourceAny), Failure> {
        let (mut running, state) = self.take_running()?;
        if let Some(state) = state {
            return Ok((running, state));
        }
        let stream = self.stream.as_str();
        let state = call(&mut running, Moment::NOTHING, |aggregate, store| aggregate.call_constructor(store, stream))?;
        Ok((running, state))
    }

    fn take_running(&mut self) -> Result<(Box<Running<Aggregate>>, Option<ResourceAny>), Failure> {
        match std::mem::replace(&mut self.inside, Inside::Gone) {
            Inside::Fresh => Ok((Box::new(start(&self.pre, &self.deployment)?), None)),
            Inside::Running(running, state) => Ok((running, state)),
            Inside::Gone => Err(Failure::new(
                FailureKind::Trap,
                format!("the aggregate `{}` failed in an earlier call: it must be loaded anew", self.stream),
            )),
        }
    }

    /// Folds a page of events.
    fn fold(&mut self, events: &[Event]) -> Result<(), Failure> {
        let Some(last) = events.last() else { return Ok(()) };
        let (mut running, state) = self.take()?;
        let moment = Moment { time: last.time, id: last.id, trace: None };
        let answer = call(&mut running, moment, |aggregate, store| {
            with_events(events, |events| aggregate.call_evolve(store, state, events))
        })?;
        self.inside = Inside::Running(running, Some(state));
        answer.map_err(|message| permanent(&message))
    }

    /// Decides, with as many news as one call takes.
    fn decide_on(&mut self, news: &[Event], asked: &Decide<'_>) -> Decided {
        let (mut running, state) = match self.take() {
            Ok(taken) => taken,
            Err(failure) => return Decided { is_folded: news.is_empty(), ..Decided::from(Err(failure)) },
        };
        let (wanted, trace) = (asked.command, asked.trace.as_ref());
        running.store.data_mut().begin(Moment { time: wanted.received_at, id: wanted.id, trace });
        let answer = running.call(|exports, store| {
            with_events(news, |news| {
                with_pairs(&wanted.metadata, |pairs| {
                    let aggregate = exports.lantern_module_aggregates().aggregate();
                    aggregate.call_decide(store, state, context(trace), news, command(wanted, pairs))
                })
            })
        });
        let (result, is_folded) = match answer {
            Ok(Ok(events)) => (accepted(events), true),
            Ok(Err(wit::Refusal::Rejected(rejection))) => (rejected(rejection), true),
            Ok(Err(wit::Refusal::Unfolded(message))) => (Err(permanent(&message)), false),
            Err(error) => (Err(running.failure(&error)), news.is_empty()),
        };
        let witness = running.store.data_mut().end();
        if result.is_ok() {
            self.inside = Inside::Running(running, Some(state));
        }
        Decided { result, is_folded, witness, trace: None }
    }
}

impl AggregateInstance for WasmInstance {
    fn restore(&mut self, state: &[u8]) -> Result<(), Failure> {
        let (mut running, before) = self.take_running()?;
        if let Some(before) = before {
            let dropped = running.call(|_, store| before.resource_drop(store));
            dropped.map_err(|error| running.failure(&error))?;
        }
        let stream = self.stream.as_str();
        let answer =
            call(&mut running, Moment::NOTHING, |aggregate, store| aggregate.call_restore(store, stream, state))?;
        let (state, answer) = match answer {
            Ok(state) => (Some(state), Ok(())),
            Err(message) => (None, Err(permanent(&message))),
        };
        self.inside = Inside::Running(running, state);
        answer
    }

    fn evolve(&mut self, mut events: &[Event]) -> Result<(), Failure> {
        while !events.is_empty() {
            let (page, rest) = events.split_at(page(events));
            self.fold(page)?;
            events = rest;
        }
        Ok(())
    }

    fn decide(&mut self, call: &Decide<'_>) -> Decided {
        let mut news = call.news;
        loop {
            let (page, rest) = news.split_at(page(news));
            if rest.is_empty() {
                return self.decide_on(page, call);
            }
            if let Err(failure) = self.fold(page) {
                return Decided { is_folded: false, ..Decided::from(Err(failure)) };
            }
            news = rest;
        }
    }

    fn snapshot(&mut self) -> Result<Bytes, Failure> {
        let (mut running, state) = self.take()?;
        let snapshot = call(&mut running, Moment::NOTHING, |aggregate, store| aggregate.call_snapshot(store, state))?;
        self.inside = Inside::Running(running, Some(state));
        Ok(snapshot.into())
    }

    fn memory(&self) -> u64 {
        match &self.inside {
            Inside::Running(running, _) => running.store.data().meter.memory(),
            Inside::Fresh | Inside::Gone => 0,
        }
    }
}

/// Makes a call whose words nobody hears.
fn call<T>(
    running: &mut Running<Aggregate>,
    moment: Moment<'_>,
    call: impl FnOnce(wit::GuestAggregate<'_>, &mut Store<Guest>) -> wasmtime::Result<T>,
) -> Result<T, Failure> {
    running.store.data_mut().begin(moment);
    let answer = running.call(|exports, store| call(exports.lantern_module_aggregates().aggregate(), store));
    let answer = answer.map_err(|error| running.failure(&error));
    running.store.data_mut().end();
    answer
}

/// How many of some events make the first page: one at least, where there are any.
fn page(events: &[Event]) -> usize {
    let mut bytes = 0;
    let fits = |event: &&Event| {
        bytes += event.data.as_bytes().len();
        bytes <= PAGE_BYTES
    };
    events.iter().take(PAGE).take_while(fits).count().max(1).min(events.len())
}

/// The events a module decided on, where they keep the rules.
fn accepted(events: Vec<NewEvent>) -> Result<Decision, Failure> {
    if events.len() > MAX_APPEND {
        return Err(broken(&format!("decided on {} events: at most {MAX_APPEND} are allowed", events.len())));
    }
    let drafts = events.into_iter().map(|event| Handed::from(event).check()).collect::<Result<_, _>>();
    drafts.map(Decision::Accepted).map_err(|reason| broken(&format!("decided on an event that cannot be: {reason}")))
}

/// A rejection, where it keeps the rules.
fn rejected(rejection: wit::Rejection) -> Result<Decision, Failure> {
    let wit::Rejection { code, message, details } = rejection;
    if code.is_empty() || code.len() > CODE || code.chars().any(char::is_control) {
        let code = cut(&code);
        return Err(broken(&format!(
            "rejected with the code {code:?}: 1 to {CODE} bytes without control characters are needed"
        )));
    }
    if let Some(Err(error)) = details.as_deref().map(serde_json::from_str::<&RawValue>) {
        return Err(broken(&format!("rejected as `{code}` with details that are no JSON: {error}")));
    }
    Ok(Decision::Rejected(Rejection { code, message: cut(&message), details: details.map(Arc::from) }))
}

fn broken(reason: &str) -> Failure {
    Failure::new(FailureKind::Limit, format!("the module {reason}"))
}

fn permanent(message: &str) -> Failure {
    Failure::new(FailureKind::Permanent, cut(message))
}
