//! An aggregate and its state, as the resource that the host holds.

use crate::bindings::aggregate::exports::lantern::module::aggregates::{self, GuestAggregate};
use crate::bindings::lantern::module::types;
use crate::{Aggregate, Context, Event, NewEvent, Rejection, TraceContext, data, new_event, processor, span};
use std::cell::RefCell;

/// What an aggregate says of itself. [`aggregate!`](crate::aggregate!) calls this.
#[must_use]
pub fn describe_aggregate<A: Aggregate>(version: &str) -> aggregates::Description {
    aggregates::Description {
        name: A::NAME.to_owned(),
        version: version.to_owned(),
        commands: processor::owned(data::names::<A::Command>()),
        state_version: A::STATE_VERSION,
        schema_versions: processor::versions(A::SCHEMA_VERSIONS),
    }
}

/// One aggregate and its state.
pub struct Loaded<A: Aggregate> {
    stream: String,
    state: RefCell<A::State>,
}

impl<A: Aggregate> Loaded<A> {
    /// The aggregate of a stream, without events.
    #[must_use]
    pub fn empty(stream: String) -> Self {
        Self { stream, state: RefCell::default() }
    }

    /// The aggregate as a snapshot holds it.
    pub fn restored(stream: String, state: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(state) {
            Ok(state) => Ok(Self { stream, state: RefCell::new(state) }),
            Err(error) => Err(format!(
                "the snapshot of {stream} is no {}: {error}; raise STATE_VERSION when the state changes",
                std::any::type_name::<A::State>()
            )),
        }
    }

    /// Folds events into the state.
    pub fn fold(&self, events: Vec<types::Event>) -> Result<(), String> {
        let mut state = self.state.borrow_mut();
        for event in events {
            let event = Event::new(event, TraceContext::default());
            if let Some(data) = event.read().map_err(|failure| failure.reason().to_owned())? {
                A::evolve(&mut state, data);
            }
        }
        Ok(())
    }

    /// Decides on a command.
    pub fn answer(
        &self,
        context: types::TraceContext,
        command: aggregates::Command,
    ) -> Result<Vec<types::NewEvent>, Rejection> {
        let context = Context::new(&self.stream, command, context.into());
        span::enter(context.trace(), A::NAME, "");
        new_event::enter(A::SCHEMA_VERSIONS);
        let raw = context.raw();
        let data = match data::read(&raw.command_type, &raw.data) {
            Ok(Some(data)) => data,
            Ok(None) => return Err(unknown::<A>(&raw.command_type)),
            Err(misfit) => return Err(unreadable(&raw.command_type, &misfit)),
        };
        let events = A::decide(&self.state.borrow(), data, &context).map_err(Into::into)?;
        // An event that cannot be written is a fault of the module and no answer to the sender: the panic reaches the
        // host as a trap, with this text.
        Ok(events
            .iter()
            .map(|event| match NewEvent::of(event) {
                Ok(event) => event.into(),
                Err(failure) => panic!("{}", failure.reason()),
            })
            .collect())
    }

    /// The state as JSON.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        match serde_json::to_vec(&*self.state.borrow()) {
            Ok(state) => state,
            Err(error) => panic!("the state of {} cannot be written as JSON: {error}", self.stream),
        }
    }
}

fn unknown<A: Aggregate>(command_type: &str) -> Rejection {
    let known = data::names::<A::Command>().join("`, `");
    Rejection::new("unknown-command", format!("{} does not decide on `{command_type}`; it knows `{known}`", A::NAME))
}

fn unreadable(command_type: &str, misfit: &data::Misfit) -> Rejection {
    Rejection::new("invalid-data", format!("the data of {command_type} does not fit: {misfit}"))
}

impl<A: Aggregate + 'static> GuestAggregate for Loaded<A> {
    fn new(stream: String) -> Self {
        Self::empty(stream)
    }

    fn restore(stream: String, state: Vec<u8>) -> Result<aggregates::Aggregate, String> {
        Self::restored(stream, &state).map(aggregates::Aggregate::new)
    }

    fn evolve(&self, events: Vec<types::Event>) -> Result<(), String> {
        self.fold(events)
    }

    fn decide(
        &self,
        context: types::TraceContext,
        command: aggregates::Command,
    ) -> Result<Vec<types::NewEvent>, aggregates::Rejection> {
        Ok(self.answer(context, command)?)
    }

    fn snapshot(&self) -> Vec<u8> {
        self.state()
    }
}
