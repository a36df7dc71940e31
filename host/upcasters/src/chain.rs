//! The chain: the steps of all deployed upcasters as one value that never changes.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use lantern_core::{
    Event, EventType, Filter,
    module::Failure,
    upcasting::{Accepted, Form, Step},
};

use crate::{Refusal, step::ChainStep, upcaster::Upcaster};

/// The steps of all deployed upcasters. From every form leads at most one, and each way has an end.
#[derive(Default)]
pub(crate) struct Chain {
    /// By the event type they take.
    steps: HashMap<String, Vec<ChainStep>>,
    /// The steps that change the type: from which, to which.
    renames: Vec<(String, String)>,
}

impl Chain {
    /// The chain of some upcasters, or why they do not go together.
    pub(crate) fn of(upcasters: impl IntoIterator<Item = Arc<Upcaster>>) -> Result<Self, Refusal> {
        let mut chain = Self::default();
        for upcaster in upcasters {
            for step in &upcaster.module.description().steps {
                chain.add(&upcaster, step)?;
            }
        }
        chain.check_ends()?;
        Ok(chain)
    }

    fn add(&mut self, upcaster: &Arc<Upcaster>, step: &Step) -> Result<(), Refusal> {
        let to_type = check(upcaster, step)?;
        let steps = self.steps.entry(step.event_type.clone()).or_default();
        if let Some(other) = steps.iter().find(|other| other.from_version == step.schema_version) {
            return Err(Refusal::Collision {
                event_type: step.event_type.clone(),
                schema_version: step.schema_version,
                first: other.upcaster.name.clone(),
                second: upcaster.name.clone(),
            });
        }
        let (from_version, to_version) = (step.schema_version, step.to_version);
        steps.push(ChainStep { from_version, to_type, to_version, upcaster: upcaster.clone() });
        if step.to_type != step.event_type {
            self.renames.push((step.event_type.clone(), step.to_type.clone()));
        }
        Ok(())
    }

    /// Refuses steps that lead back to where they began. Only those that change the type can.
    fn check_ends(&self) -> Result<(), Refusal> {
        for (event_type, steps) in &self.steps {
            for first in steps {
                let mut way: Vec<(&str, u32)> = vec![(event_type, first.from_version)];
                let mut next = Some(first);
                while let Some(step) = next {
                    let form = (step.to_type.as_str(), step.to_version);
                    let begins = way.iter().position(|earlier| *earlier == form);
                    way.push(form);
                    if let Some(begins) = begins {
                        let show = |(event_type, version): &(&str, u32)| format!("version {version} of `{event_type}`");
                        return Err(Refusal::Circle { forms: way[begins..].iter().map(show).collect() });
                    }
                    next = self.step(form.0, form.1);
                }
            }
        }
        Ok(())
    }

    /// Whether it has no step.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The step that takes a form.
    fn step(&self, event_type: &str, schema_version: u32) -> Option<&ChainStep> {
        self.steps.get(event_type)?.iter().find(|step| step.from_version == schema_version)
    }

    /// The step that takes a form, if the reader understands what it makes.
    ///
    /// A type the reader does not name is understood in every version, with one exception: a reader that names the old
    /// type and not the new one was made before the type changed, and keeps what it knows.
    fn next(&self, event_type: &EventType, schema_version: u32, accepted: &Accepted) -> Option<&ChainStep> {
        let step = self.step(event_type.as_str(), schema_version)?;
        let understood = match accepted.get(step.to_type.as_str()) {
            Some(newest) => step.to_version <= *newest,
            None => step.to_type == *event_type || !accepted.contains_key(event_type.as_str()),
        };
        understood.then_some(step)
    }

    /// Whether the reader understands a newer form of an event.
    pub(crate) fn applies(&self, event: &Event, accepted: &Accepted) -> bool {
        self.next(&event.event_type, event.schema_version, accepted).is_some()
    }

    /// An event in the newest form the reader understands. Blocks where a step is taken.
    pub(crate) fn upcast<'e>(&self, event: &'e Event, accepted: &Accepted) -> Result<Cow<'e, Event>, Failure> {
        let Event { event_type, schema_version, data, .. } = event;
        let Some(first) = self.next(event_type, *schema_version, accepted) else { return Ok(Cow::Borrowed(event)) };
        let oldest = Form { event_type: event_type.clone(), schema_version: *schema_version, data: data.clone() };
        let mut form = first.take(event, &oldest)?;
        while let Some(step) = self.next(&form.event_type, form.schema_version, accepted) {
            form = step.take(event, &form)?;
        }
        let Form { event_type, schema_version, data } = form;
        Ok(Cow::Owned(Event { event_type, schema_version, data, ..event.clone() }))
    }

    /// The filter that also fits the older forms of what a filter wants.
    pub(crate) fn widen(&self, mut filter: Filter) -> Filter {
        let wanted = &mut filter.event_types;
        // No type wanted means all of them.
        if wanted.is_empty() {
            return filter;
        }
        let is_older =
            |wanted: &BTreeSet<String>, (from, to): &(String, String)| wanted.contains(to) && !wanted.contains(from);
        while let Some((from, _)) = self.renames.iter().find(|rename| is_older(wanted, rename)) {
            wanted.insert(from.clone());
        }
        filter
    }
}

/// Refuses a step that leads nowhere newer. Answers the type it makes.
fn check(upcaster: &Upcaster, step: &Step) -> Result<EventType, Refusal> {
    let refused = |mend| Refusal::Step { name: upcaster.name.clone(), step: step.clone(), mend };
    if step.schema_version == 0 || step.to_version == 0 {
        return Err(refused("schema versions begin with 1"));
    }
    if step.to_type == step.event_type && step.to_version <= step.schema_version {
        return Err(refused("a step raises the version or changes the type"));
    }
    EventType::new(step.to_type.as_str())
        .map_err(|_| refused("an event type has 1 to 256 bytes and no control characters"))
}
