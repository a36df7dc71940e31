//! An aggregate and its state, as the resource that the host holds.

use crate::bindings::aggregate::exports::lantern::module::aggregates::{self, GuestAggregate, Refusal};
use crate::bindings::lantern::module::types;
use crate::{Aggregate, Context, Event, NewEvent, Rejection, TraceContext, data, new_event, processor, span};
use std::cell::RefCell;

/// An aggregate as a module of a version. [`aggregate!`](crate::aggregate!) implements this.
pub trait AggregateModule: 'static {
    /// The aggregate.
    type Aggregate: Aggregate;

    /// The module's own version.
    const VERSION: &'static str;
}

type State<M> = <<M as AggregateModule>::Aggregate as Aggregate>::State;

/// What an aggregate says of itself. [`aggregate!`](crate::aggregate!) calls this.
#[must_use]
pub fn describe_aggregate<M: AggregateModule>() -> aggregates::Description {
    aggregates::Description {
        name: M::Aggregate::NAME.to_owned(),
        version: M::VERSION.to_owned(),
        commands: processor::owned(data::names::<<M::Aggregate as Aggregate>::Command>()),
        state_version: M::Aggregate::STATE_VERSION,
        schema_versions: processor::versions(M::Aggregate::SCHEMA_VERSIONS),
    }
}

/// One aggregate and its state.
pub struct Loaded<M: AggregateModule> {
    stream: String,
    state: RefCell<State<M>>,
}

impl<M: AggregateModule> Loaded<M> {
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
                std::any::type_name::<State<M>>()
            )),
        }
    }

    /// Folds events into the state.
    pub fn fold(&self, events: Vec<types::Event>) -> Result<(), String> {
        let mut state = self.state.borrow_mut();
        for event in events {
            let event = Event::new(event, TraceContext::default());
            if let Some(data) = event.read().map_err(|failure| failure.reason().to_owned())? {
                M::Aggregate::evolve(&mut state, data);
            }
        }
        Ok(())
    }

    /// Folds the news and decides on a command.
    pub fn answer(
        &self,
        context: types::TraceContext,
        news: Vec<types::Event>,
        command: aggregates::Command,
    ) -> Result<Vec<types::NewEvent>, Refusal> {
        let context = Context::new(&self.stream, command, context.into());
        span::enter(context.trace(), M::Aggregate::NAME, M::VERSION);
        new_event::enter(M::Aggregate::SCHEMA_VERSIONS);
        self.fold(news).map_err(Refusal::Unfolded)?;
        self.decision(&context).map_err(|rejection| Refusal::Rejected(rejection.into()))
    }

    fn decision(&self, context: &Context) -> Result<Vec<types::NewEvent>, Rejection> {
        let raw = context.raw();
        let data = match data::read(&raw.command_type, &raw.data) {
            Ok(Some(data)) => data,
            Ok(None) => return Err(unknown::<M::Aggregate>(&raw.command_type)),
            Err(misfit) => return Err(unreadable(&raw.command_type, &misfit)),
        };
        let events = M::Aggregate::decide(&self.state.borrow(), data, context).map_err(Into::into)?;
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

impl<M: AggregateModule> GuestAggregate for Loaded<M> {
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
        news: Vec<types::Event>,
        command: aggregates::Command,
    ) -> Result<Vec<types::NewEvent>, Refusal> {
        self.answer(context, news, command)
    }

    fn snapshot(&self) -> Vec<u8> {
        self.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize)]
    struct Count {
        count: u64,
    }

    #[derive(Deserialize)]
    enum Change {
        Raise,
    }

    #[derive(Serialize, Deserialize)]
    enum Changed {
        Raised { by: u64 },
    }

    struct Counter;

    impl Aggregate for Counter {
        const NAME: &'static str = "Counter";
        const STATE_VERSION: u32 = 3;
        const SCHEMA_VERSIONS: &'static [(&'static str, u32)] = &[("Raised", 2)];
        type State = Count;
        type Command = Change;
        type Event = Changed;
        type Rejection = Rejection;

        fn decide(_: &Count, _: Change, _: &Context) -> Result<Vec<Changed>, Rejection> {
            Ok(vec![Changed::Raised { by: 1 }])
        }

        fn evolve(count: &mut Count, Changed::Raised { by }: Changed) {
            count.count += by;
        }
    }

    impl AggregateModule for Counter {
        type Aggregate = Self;
        const VERSION: &'static str = "1.2.0";
    }

    fn event(event_type: &str, data: &str) -> types::Event {
        types::Event {
            id_high: 0,
            id_low: 1,
            event_type: event_type.to_owned(),
            schema_version: 2,
            stream: "Counter-1".to_owned(),
            version: 1,
            position: 1,
            time: 0,
            content_type: None,
            data: types::Payload::Json(data.to_owned()),
            metadata: Vec::new(),
        }
    }

    fn command(command_type: &str) -> aggregates::Command {
        aggregates::Command {
            id_high: 0,
            id_low: 7,
            command_type: command_type.to_owned(),
            time: 0,
            content_type: None,
            data: types::Payload::Json("{}".to_owned()),
            metadata: Vec::new(),
        }
    }

    fn untraced() -> types::TraceContext {
        types::TraceContext { trace_id_high: 0, trace_id_low: 0, span_id: 0, flags: 0, state: None }
    }

    #[test]
    fn it_describes_itself() {
        let description = describe_aggregate::<Counter>();
        assert_eq!((description.name.as_str(), description.version.as_str()), ("Counter", "1.2.0"));
        assert_eq!((description.commands, description.state_version), (vec!["Raise".to_owned()], 3));
        assert_eq!(description.schema_versions, [("Raised".to_owned(), 2)]);
    }

    #[test]
    fn a_decision_changes_no_state_and_its_events_do() {
        let loaded = Loaded::<Counter>::empty("Counter-1".to_owned());
        let events = loaded.answer(untraced(), Vec::new(), command("Raise")).unwrap();
        assert_eq!((events[0].event_type.as_str(), events[0].schema_version), ("Raised", 2));
        assert_eq!(loaded.state(), br#"{"count":0}"#);
        loaded.fold(vec![event("Raised", r#"{"by":2}"#), event("Painted", "{}")]).unwrap();
        assert_eq!(loaded.state(), br#"{"count":2}"#);
    }

    #[test]
    fn news_are_folded_before_the_decision() {
        let loaded = Loaded::<Counter>::empty("Counter-1".to_owned());
        let news = vec![event("Raised", r#"{"by":2}"#), event("Raised", r#"{"by":3}"#)];
        loaded.answer(untraced(), news, command("Raise")).unwrap();
        assert_eq!(loaded.state(), br#"{"count":5}"#);
        loaded.answer(untraced(), vec![event("Raised", r#"{"by":1}"#)], command("Halve")).unwrap_err();
        assert_eq!(loaded.state(), br#"{"count":6}"#, "a rejection is an answer too");
    }

    #[test]
    fn an_event_that_does_not_fit_is_named() {
        let loaded = Loaded::<Counter>::empty("Counter-1".to_owned());
        let reason = loaded.fold(vec![event("Raised", "{}")]).unwrap_err();
        assert!(reason.contains("Raised at position 1 (Counter-1, version 1)"), "{reason}");
        let refusal = loaded.answer(untraced(), vec![event("Raised", "{}")], command("Raise")).unwrap_err();
        assert!(matches!(refusal, Refusal::Unfolded(told) if told == reason), "it is no rejection");
    }

    #[test]
    fn a_snapshot_of_another_form_is_refused() {
        let restored = Loaded::<Counter>::restored("Counter-1".to_owned(), br#"{"count":5}"#).unwrap();
        assert_eq!(restored.state(), br#"{"count":5}"#);
        let reason = Loaded::<Counter>::restored("Counter-1".to_owned(), b"{}").err().unwrap();
        assert!(reason.contains("missing field `count`") && reason.contains("STATE_VERSION"), "{reason}");
    }

    #[test]
    fn a_command_it_does_not_know_is_rejected_with_those_it_knows() {
        let loaded = Loaded::<Counter>::empty("Counter-1".to_owned());
        let refusal = loaded.answer(untraced(), Vec::new(), command("Halve")).unwrap_err();
        let Refusal::Rejected(rejection) = refusal else { panic!("{refusal:?}") };
        assert_eq!(rejection.code, "unknown-command");
        assert_eq!(rejection.message, "Counter does not decide on `Halve`; it knows `Raise`");
    }
}
