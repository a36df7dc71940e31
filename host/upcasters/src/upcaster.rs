//! An upcaster at work: its module and a few instances of it, lent out for a call each.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lantern_core::{
    Event, Name,
    module::{Failure, FailureKind},
    upcasting::{Form, UpcasterInstance, UpcasterModule},
};

/// How many instances there are at most. A step is short and only computes, so that more would wait for a processor.
const INSTANCES: usize = 16;

/// An upcaster at work.
pub(crate) struct Upcaster {
    pub(crate) name: Name,
    pub(crate) module: Arc<dyn UpcasterModule>,
    instances: Mutex<Instances>,
    returned: Condvar,
}

#[derive(Default)]
struct Instances {
    idle: Vec<Box<dyn UpcasterInstance>>,
    lent: usize,
}

impl Upcaster {
    pub(crate) fn new(name: Name, module: Arc<dyn UpcasterModule>) -> Self {
        Self { name, module, instances: Mutex::default(), returned: Condvar::new() }
    }

    /// Has an instance take a step, and waits for one where all are lent out. Blocks.
    pub(crate) fn upcast(&self, event: &Event, form: &Form) -> Result<Form, Failure> {
        let (mut loan, mut instance) = self.lend();
        let result = instance.upcast(event, form);
        let said = |failure: &Failure| matches!(failure.kind, FailureKind::Permanent | FailureKind::Transient);
        // What failed otherwise may be broken inside, and is thrown away.
        if result.as_ref().err().is_none_or(said) {
            loan.returned = Some(instance);
        }
        result
    }

    fn lend(&self) -> (Loan<'_>, Box<dyn UpcasterInstance>) {
        let all_lent = |instances: &mut Instances| instances.lent == INSTANCES;
        let instances = self.returned.wait_while(self.instances(), all_lent);
        let mut instances = instances.unwrap_or_else(PoisonError::into_inner);
        instances.lent += 1;
        let idle = instances.idle.pop();
        drop(instances);
        let loan = Loan { upcaster: self, returned: None };
        (loan, idle.unwrap_or_else(|| self.module.instance()))
    }

    fn instances(&self) -> MutexGuard<'_, Instances> {
        // Nothing that can panic runs while the list and the count disagree.
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance that is lent out. When this ends, also by a panic, another one may be.
struct Loan<'a> {
    upcaster: &'a Upcaster,
    returned: Option<Box<dyn UpcasterInstance>>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut instances = self.upcaster.instances();
        instances.lent -= 1;
        instances.idle.extend(self.returned.take());
        drop(instances);
        self.upcaster.returned.notify_one();
    }
}
