//! What one call may see and what it has asked for: the leaf on which the imports stand. Knows core only, no engine.

mod console;
mod documents;
mod random;
mod telemetry;

use std::sync::Arc;

use lantern_core::{Call, Clock, Effects, Timestamp, View, Witness, module::Settings};

pub(crate) use console::{Console, Pipe};
pub(crate) use documents::Documents;
pub(crate) use random::Random;
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

/// What one call may see and what it has asked for so far.
pub(crate) struct State {
    /// What stays the same.
    pub(crate) deployment: Arc<Deployment>,
    /// The read model and the writes to it.
    pub(crate) documents: Documents,
    /// Spans and log lines.
    pub(crate) telemetry: Telemetry,
    /// What the module wrote to its standard output and error.
    pub(crate) console: Console,
    /// What the module's clock shows: the time of the event.
    pub(crate) now: Timestamp,
    /// The random numbers that are called secure. They are as secret as the event's id.
    pub(crate) random: Random,
    /// The random numbers that are called insecure.
    pub(crate) insecure: Random,
}

impl State {
    /// The state of an instance that has no event in hand: its clock shows 1970, its random numbers are always the same
    /// and it has no documents. So what an instance does when it starts does not depend on when that happens.
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        Self {
            documents: Documents::new(deployment.clone()),
            telemetry: Telemetry::new(deployment.clone()),
            console: Console::default(),
            now: Timestamp(0),
            random: Random::new(b"secure"),
            insecure: Random::new(b"insecure"),
            deployment,
        }
    }

    /// Takes the event in hand.
    pub(crate) fn begin(&mut self, call: &Call<'_>, view: &Arc<dyn View>) {
        self.documents.begin(view.clone());
        self.telemetry.begin(call.trace.as_ref());
        self.now = call.event.time;
        self.random.seed(call.event.id.as_bytes());
        self.insecure.seed(call.event.id.as_bytes());
    }

    /// Ends the call: what it asked for, and what it said meanwhile.
    pub(crate) fn end(&mut self) -> (Effects, Witness) {
        self.telemetry.take_lines(&mut self.console);
        (self.documents.end(), self.telemetry.end())
    }
}
