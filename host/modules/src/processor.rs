//! A component as core's module of a projection or handler, and its instances: started at the first call, thrown away when
//! they trap.

use std::sync::Arc;

use lantern_core::{
    Call, Digest, Instance, Module, Outcome, View,
    module::{Described, Description, Failure, FailureKind},
};

use crate::{
    bindings::processor::{Handler, HandlerPre, lantern::module::types as wit},
    described,
    guest::Guest,
    imports::NothingSent,
    lowered::{context, event, with_pairs},
    ready::Ready,
    running::Running,
    state::{Deployment, cut},
};

/// A projection's or handler's module, ready for one deployment.
pub(crate) struct WasmProcessor {
    // Kept so that the library finds it while it is in use.
    ready: Arc<Ready>,
    description: Description,
    pre: HandlerPre<Guest>,
    deployment: Arc<Deployment>,
}

impl WasmProcessor {
    /// A module for a deployment.
    pub(crate) fn new(
        ready: Arc<Ready>,
        description: Description,
        pre: HandlerPre<Guest>,
        deployment: Deployment,
    ) -> Self {
        Self { ready, description, pre, deployment: Arc::new(deployment) }
    }
}

impl Module for WasmProcessor {
    fn digest(&self) -> Digest {
        self.ready.digest
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn instance(&self) -> Box<dyn Instance> {
        Box::new(WasmInstance { pre: self.pre.clone(), deployment: self.deployment.clone(), running: None })
    }
}

/// Asks a module what it is, without an event in hand.
pub(crate) fn describe(pre: &HandlerPre<Guest>, deployment: &Arc<Deployment>) -> Result<Described, String> {
    let told = start(pre, deployment).and_then(|mut running| {
        let described = running.call(|exports, store| exports.call_describe(store));
        described.map_err(|error| running.failure(&error))
    });
    described::processor(told.map_err(|failure| format!("its function `describe` failed: {failure}"))?)
}

fn start(pre: &HandlerPre<Guest>, deployment: &Arc<Deployment>) -> Result<Running<Handler>, Failure> {
    Running::start(pre.engine(), deployment, |store| pre.instantiate(store))
}

/// One copy of a module, running or not.
struct WasmInstance {
    pre: HandlerPre<Guest>,
    deployment: Arc<Deployment>,
    running: Option<Running<Handler>>,
}

impl Instance for WasmInstance {
    fn handle(&mut self, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome {
        let mut running = match self.running.take().map_or_else(|| start(&self.pre, &self.deployment), Ok) {
            Ok(running) => running,
            Err(failure) => return Outcome::from(Err(failure)),
        };
        running.store.data_mut().begin_event(call, view);
        let answer = running.call(|exports, store| {
            with_pairs(&call.event.metadata, |pairs| {
                exports.call_handle(store, context(call.trace.as_ref()), event(call.event, pairs))
            })
        });
        let (result, keep) = match answer {
            Ok(Ok(())) => (Ok(()), true),
            Ok(Err(failure)) => (Err(returned(failure)), true),
            // What a dry run cannot try is good until it fails.
            Err(error) if error.is::<NothingSent>() => (Ok(()), false),
            Err(error) => (Err(running.failure(&error)), false),
        };
        let guest = running.store.data_mut();
        let (effects, witness) = guest.end_event();
        if keep && !guest.meter.is_swollen() {
            self.running = Some(running);
        }
        Outcome { result: result.map(|()| effects), witness, trace: None }
    }
}

fn returned(failure: wit::Failure) -> Failure {
    match failure {
        wit::Failure::Transient(message) => Failure::new(FailureKind::Transient, cut(&message)),
        wit::Failure::Permanent(message) => Failure::new(FailureKind::Permanent, cut(&message)),
    }
}
