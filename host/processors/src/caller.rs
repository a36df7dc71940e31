//! A module at work: an event is brought into the form the module understands, then handed to an instance of it.

use std::{borrow::Cow, sync::Arc};

use lantern_core::{Call, Cause, Digest, Event, Filter, Instance, Module, Outcome, Upcasting, View};

use crate::emission;

/// An instance of a module and what stands before it.
pub(crate) struct Caller {
    module: Arc<dyn Module>,
    instance: Box<dyn Instance>,
    upcasting: Arc<dyn Upcasting>,
    /// What the module wants, of events in their newest form.
    wanted: Filter,
    /// Whether events are read that the module may not want once they are in their newest form.
    widened: bool,
}

impl Caller {
    /// A new instance of a module. Cheap: what costs is done at the first call.
    pub(crate) fn new(module: Arc<dyn Module>, upcasting: Arc<dyn Upcasting>) -> Self {
        let (instance, wanted) = (module.instance(), module.description().filter());
        let widened = upcasting.widen(wanted.clone()) != wanted;
        Self { module, instance, upcasting, wanted, widened }
    }

    /// The module's address.
    pub(crate) fn digest(&self) -> Digest {
        self.module.digest()
    }

    /// Notes that the chain of upcasters is another one.
    pub(crate) fn adapt(&mut self) {
        self.widened = self.upcasting.widen(self.wanted.clone()) != self.wanted;
    }

    /// Calls the module for one event. What it does to SQL tables stays if it succeeds, and nothing of it otherwise. `None` when the module does not want the event in its newest form. An upcaster
    /// that fails, and a call that asks for too much, are failures of the event like the module's own.
    pub(crate) fn call(
        &mut self,
        event: &Event,
        cause: Cause<'_>,
        attempt: u32,
        view: &Arc<dyn View>,
    ) -> Option<Outcome> {
        let newest = match self.upcasting.upcast(event, &self.module.description().schema_versions) {
            Ok(newest) => newest,
            Err(failure) => return Some(Err(failure).into()),
        };
        let doubtful = self.widened || matches!(newest, Cow::Owned(_));
        if doubtful && !self.wanted.fits(&newest) {
            return None;
        }
        let call = Call { event: &newest, cause, attempt, trace: None };
        let Some(tables) = view.tables() else { return Some(handled(&mut *self.instance, &call, view)) };
        if let Err(error) = tables.mark() {
            return Some(Err(error.into()).into());
        }
        let mut outcome = handled(&mut *self.instance, &call, view);
        let settled = if outcome.result.is_ok() { tables.keep() } else { tables.undo() };
        if let Err(error) = settled {
            outcome.result = Err(error.into());
        }
        Some(outcome)
    }
}

/// Hands an event to an instance.
fn handled(instance: &mut dyn Instance, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome {
    let mut outcome = instance.handle(call, view);
    outcome.result = outcome.result.and_then(emission::bounded);
    outcome
}

/// Which events are read for a module: those it wants, in their older forms too.
pub(crate) fn filter(module: &dyn Module, upcasting: &dyn Upcasting) -> Filter {
    upcasting.widen(module.description().filter())
}
