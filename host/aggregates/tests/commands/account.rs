//! The module of the tests: it keeps accounts, and fails on demand.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use lantern_core::{
    AggregateInstance, AggregateModule, Command, Decision, Digest, Draft, Event, EventType, Payload, Rejection,
    StreamName,
    aggregate::{AggregateDescription, Decide, Decided},
    module::{Failure, FailureKind},
    upcasting::Accepted,
};

/// What a module of a test does at an event beside folding it.
type OnEvent = dyn Fn(&Event) -> Result<(), Failure> + Send + Sync;

/// What it does before a decision.
type OnCommand = dyn Fn(&Command) -> Result<(), Failure> + Send + Sync;

/// A module that keeps an account.
///
/// `Add` n adds n; `Take` n takes n, or is rejected when there is not so much; `Split` n adds 1 n times; `Rest` does
/// nothing.
#[derive(Clone)]
pub(crate) struct Account {
    digest: Digest,
    description: AggregateDescription,
    behaviour: Arc<Behaviour>,
}

struct Behaviour {
    on_event: Box<OnEvent>,
    on_command: Box<OnCommand>,
    on_restore: Option<FailureKind>,
    memory: u64,
    living: Arc<AtomicU64>,
}

impl Account {
    pub(crate) fn new(name: &str) -> Self {
        let description = AggregateDescription {
            name: name.into(),
            version: "1".into(),
            commands: ["Add", "Take", "Split", "Rest"].map(String::from).into(),
            state_version: 1,
            schema_versions: Accepted::new(),
        };
        let behaviour = Behaviour {
            on_event: Box::new(|_| Ok(())),
            on_command: Box::new(|_| Ok(())),
            on_restore: None,
            memory: 100,
            living: Arc::default(),
        };
        Self { digest: Digest::of(name.as_bytes()), description, behaviour: Arc::new(behaviour) }
    }

    fn change(mut self, change: impl FnOnce(&mut Behaviour)) -> Self {
        change(Arc::get_mut(&mut self.behaviour).expect("nobody has it yet"));
        self
    }

    pub(crate) fn at_event(self, on_event: impl Fn(&Event) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        self.change(|own| own.on_event = Box::new(on_event))
    }

    pub(crate) fn at_command(
        self,
        on_command: impl Fn(&Command) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        self.change(|own| own.on_command = Box::new(on_command))
    }

    pub(crate) fn refusing_snapshots(self, kind: FailureKind) -> Self {
        self.change(|own| own.on_restore = Some(kind))
    }

    pub(crate) fn of_size(self, memory: u64) -> Self {
        self.change(|own| own.memory = memory)
    }

    pub(crate) fn state_version(mut self, version: u32) -> Self {
        self.description.state_version = version;
        self
    }

    pub(crate) fn accepting(mut self, event_type: &str, version: u32) -> Self {
        self.description.schema_versions.insert(event_type.into(), version);
        self
    }

    /// How many instances there are.
    pub(crate) fn living(&self) -> Arc<AtomicU64> {
        self.behaviour.living.clone()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

impl AggregateModule for Account {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn description(&self) -> &AggregateDescription {
        &self.description
    }

    fn instance(&self, stream: &StreamName) -> Box<dyn AggregateInstance> {
        self.behaviour.living.fetch_add(1, Ordering::Relaxed);
        Box::new(Instance { stream: stream.clone(), state: State::default(), behaviour: self.behaviour.clone() })
    }
}

struct Instance {
    stream: StreamName,
    state: State,
    behaviour: Arc<Behaviour>,
}

/// What is on an account, and how many events it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) sum: u64,
    pub(crate) events: u64,
}

impl State {
    pub(crate) fn fold(&mut self, event: &Event) {
        let amount = number(&event.data);
        match event.event_type.as_str() {
            "Added" => self.sum += amount,
            "Taken" => self.sum = self.sum.checked_sub(amount).expect("nothing is taken that is not there"),
            _ => {}
        }
        self.events += 1;
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (sum, events) = std::str::from_utf8(bytes).ok()?.split_once(',')?;
        Some(Self { sum: sum.parse().ok()?, events: events.parse().ok()? })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.behaviour.living.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AggregateInstance for Instance {
    fn restore(&mut self, state: &[u8]) -> Result<(), Failure> {
        if let Some(kind) = self.behaviour.on_restore {
            return Err(Failure::new(kind, "no snapshot, please"));
        }
        self.state = State::read(state).ok_or_else(|| Failure::new(FailureKind::Permanent, "this is no state"))?;
        Ok(())
    }

    fn evolve(&mut self, events: &[Event]) -> Result<(), Failure> {
        for event in events {
            assert_eq!(event.stream, self.stream, "an event of another stream");
            assert_eq!(event.version.0, self.state.events + 1, "events come in order, each once");
            (self.behaviour.on_event)(event)?;
            self.state.fold(event);
        }
        Ok(())
    }

    fn decide(&mut self, call: &Decide<'_>) -> Decided {
        let result = self.evolve(call.news).and_then(|()| (self.behaviour.on_command)(call.command));
        let result = result.map(|()| decide(self.state, call.command));
        // As with a real module, it is not known what it trapped at.
        Decided { is_folded: result.is_ok() || call.news.is_empty(), ..Decided::from(result) }
    }

    fn snapshot(&mut self) -> Result<Bytes, Failure> {
        Ok(format!("{},{}", self.state.sum, self.state.events).into())
    }

    fn memory(&self) -> u64 {
        self.behaviour.memory
    }
}

pub(crate) fn decide(state: State, command: &Command) -> Decision {
    let amount = number(&command.data);
    let draft = |event_type: &str, amount: u64| Draft {
        event_type: EventType::new(event_type).unwrap(),
        schema_version: 1,
        data: Payload::Json(amount.to_string().into()),
        extra: None,
    };
    match command.command_type.as_str() {
        "Add" => Decision::Accepted(vec![draft("Added", amount)]),
        "Take" if amount > state.sum => Decision::Rejected(Rejection {
            code: "too-little".into(),
            message: format!("there is {}", state.sum),
            details: None,
        }),
        "Take" => Decision::Accepted(vec![draft("Taken", amount)]),
        "Split" => Decision::Accepted((0..amount).map(|_| draft("Added", 1)).collect()),
        _ => Decision::Accepted(Vec::new()),
    }
}

fn number(data: &Payload) -> u64 {
    std::str::from_utf8(data.as_bytes()).unwrap().parse().unwrap()
}

pub(crate) fn trap() -> Failure {
    Failure { backtrace: Some("at the test".into()), ..Failure::new(FailureKind::Trap, "a trap of the test") }
}
