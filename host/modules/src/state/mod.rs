//! What one call may see and what it has asked for: the leaf on which the imports stand. Knows core only, no engine.

mod console;
mod documents;
mod draft;
mod emissions;
mod random;
mod room;
mod sql;
mod telemetry;

use std::sync::Arc;

use lantern_core::{Clock, Effects, Grants, Kind, Timestamp, TraceContext, View, Witness, module::Settings};
use uuid::Uuid;

pub(crate) use console::{Console, Pipe};
pub(crate) use documents::Documents;
pub(crate) use draft::{Content, Handed, payload};
pub(crate) use emissions::Emissions;
pub(crate) use random::Random;
pub(crate) use room::Room;
pub(crate) use sql::Sql;
pub(crate) use telemetry::{Line, Telemetry, cut};

/// What stays the same from call to call.
pub(crate) struct Deployment {
    /// What the module may use and is told.
    pub(crate) settings: Settings,
    /// The collections it declared.
    pub(crate) collections: Vec<Arc<str>>,
    /// The host's clock, for spans and log lines.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Deployment {
    /// A deployment of a module that declared these collections. Grants are for handlers: another kind has none.
    pub(crate) fn new(mut settings: Settings, collections: &[String], clock: Arc<dyn Clock>) -> Self {
        if settings.kind != Kind::Handler {
            settings.grants = Grants::default();
        }
        let collections = collections.iter().map(|name| Arc::from(name.as_str())).collect();
        Self { settings, collections, clock }
    }
}

/// What a call is about: what its clocks show, what its random numbers come from, and the span around it.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    /// When what is in hand happened.
    pub(crate) time: Timestamp,
    /// Its identity.
    pub(crate) id: Uuid,
    /// The span around the call, where it is traced.
    pub(crate) trace: Option<&'a TraceContext>,
}

impl Moment<'_> {
    /// Nothing is in hand: it is 1970, and random numbers are always the same. So what a module does then does not
    /// depend on when that happens.
    pub(crate) const NOTHING: Self = Self { time: Timestamp(0), id: Uuid::nil(), trace: None };
}

/// What one call may see and what it has asked for so far.
pub(crate) struct State {
    /// What stays the same.
    pub(crate) deployment: Arc<Deployment>,
    /// How much the call may hand over.
    pub(crate) room: Room,
    /// The read model and the writes to it.
    pub(crate) documents: Documents,
    /// The SQL tables of the read model.
    pub(crate) sql: Sql,
    /// The events asked for.
    pub(crate) emissions: Emissions,
    /// Spans and log lines.
    pub(crate) telemetry: Telemetry,
    /// What the module wrote to its standard output and error.
    pub(crate) console: Console,
    /// When what is in hand happened.
    now: Timestamp,
    /// The random numbers that are called secure. Unless real ones are granted, they are as secret as the event's id.
    pub(crate) random: Random,
    /// The random numbers that are called insecure.
    pub(crate) insecure: Random,
}

impl State {
    /// The state of an instance that has nothing in hand and no documents.
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        let mut state = Self {
            room: Room::new(deployment.settings.limits.host_call_bytes),
            documents: Documents::new(deployment.clone()),
            sql: Sql::new(deployment.clone()),
            emissions: Emissions::default(),
            telemetry: Telemetry::new(deployment.clone()),
            console: Console::default(),
            now: Timestamp(0),
            random: Random::new(b"secure"),
            insecure: Random::new(b"insecure"),
            deployment,
        };
        state.begin(Moment::NOTHING);
        state
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, moment: Moment<'_>) {
        self.room.clear();
        self.telemetry.begin(moment.trace);
        self.now = moment.time;
        // A fresh seed of the system's makes numbers nobody can foresee.
        let seed = if self.deployment.settings.grants.random { Uuid::new_v4() } else { moment.id };
        self.random.seed(seed.as_bytes());
        self.insecure.seed(seed.as_bytes());
    }

    /// Opens what only a call for an event has: documents on top of what a view shows, and events to ask for.
    pub(crate) fn open(&mut self, view: &Arc<dyn View>) {
        self.documents.begin(view.clone());
        self.sql.begin(view.clone());
        self.emissions.begin();
    }

    /// Closes what only a call for an event has: what it asked for.
    pub(crate) fn close(&mut self) -> Effects {
        let (emitted, timers, published) = self.emissions.end();
        self.sql.end();
        Effects { writes: self.documents.end(), emitted, timers, published }
    }

    /// Ends the call: what it said meanwhile.
    pub(crate) fn end(&mut self) -> Witness {
        self.telemetry.take_lines(&mut self.console);
        let (statements, statement_time) = self.sql.ran();
        Witness { statements, statement_time, ..self.telemetry.end() }
    }

    /// What the module's clock shows: when what is in hand happened, unless it is granted the real time.
    pub(crate) fn time(&self) -> Timestamp {
        if self.deployment.settings.grants.time { self.deployment.clock.now() } else { self.now }
    }
}

/// A text of the module as an error shows it: a key may be a megabyte long.
fn shown(text: &str) -> String {
    let mut shown = text.chars().take(100).collect::<String>().escape_debug().to_string();
    if text.chars().nth(100).is_some() {
        shown.push('…');
    }
    shown
}
