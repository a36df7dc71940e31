//! A component as core's module of an upcaster, and its instances: started at the first call, thrown away when they trap.

use std::sync::Arc;

use lantern_core::{
    Digest, Event, EventType,
    module::{Described, Failure, FailureKind},
    upcasting::{Form, UpcasterDescription, UpcasterInstance, UpcasterModule},
};

use crate::{
    bindings::upcaster::{Upcaster, UpcasterPre, exports::lantern::module::upcasters as wit},
    described,
    guest::Guest,
    lifted::content,
    lowered,
    ready::Ready,
    running::Running,
    state::{Deployment, Moment, cut, payload},
};

/// An upcaster's module, ready for one deployment.
pub(crate) struct WasmUpcaster {
    // Kept so that the library finds it while it is in use.
    ready: Arc<Ready>,
    description: UpcasterDescription,
    pre: UpcasterPre<Guest>,
    deployment: Arc<Deployment>,
}

impl WasmUpcaster {
    /// A module for a deployment.
    pub(crate) fn new(
        ready: Arc<Ready>,
        description: UpcasterDescription,
        pre: UpcasterPre<Guest>,
        deployment: Deployment,
    ) -> Self {
        Self { ready, description, pre, deployment: Arc::new(deployment) }
    }
}

impl UpcasterModule for WasmUpcaster {
    fn digest(&self) -> Digest {
        self.ready.digest
    }

    fn description(&self) -> &UpcasterDescription {
        &self.description
    }

    fn instance(&self) -> Box<dyn UpcasterInstance> {
        Box::new(WasmInstance { pre: self.pre.clone(), deployment: self.deployment.clone(), running: None })
    }
}

/// Asks a module what it is.
pub(crate) fn describe(pre: &UpcasterPre<Guest>, deployment: &Arc<Deployment>) -> Result<Described, String> {
    let told = start(pre, deployment).and_then(|mut running| {
        let described = running.call(|exports, store| exports.lantern_module_upcasters().call_describe(store));
        described.map_err(|error| running.failure(&error))
    });
    described::upcaster(told.map_err(|failure| format!("its function `describe` failed: {failure}"))?)
}

fn start(pre: &UpcasterPre<Guest>, deployment: &Arc<Deployment>) -> Result<Running<Upcaster>, Failure> {
    Running::start(pre.engine(), deployment, |store| pre.instantiate(store))
}

/// One copy of a module, running or not.
struct WasmInstance {
    pre: UpcasterPre<Guest>,
    deployment: Arc<Deployment>,
    running: Option<Running<Upcaster>>,
}

impl UpcasterInstance for WasmInstance {
    fn upcast(&mut self, event: &Event, form: &Form) -> Result<Form, Failure> {
        let mut running = self.running.take().map_or_else(|| start(&self.pre, &self.deployment), Ok)?;
        running.store.data_mut().begin(Moment { time: event.time, id: event.id, trace: None });
        let answer = running.call(|exports, store| {
            let (content_type, data) = lowered::payload(&form.data);
            let (event_type, schema_version) = (form.event_type.as_str(), form.schema_version);
            let form = wit::FormParam { event_type, schema_version, content_type, data };
            exports.lantern_module_upcasters().call_upcast(store, form)
        });
        let (result, keep) = match answer {
            Ok(Ok(form)) => (checked(form), true),
            Ok(Err(message)) => (Err(Failure::new(FailureKind::Permanent, cut(&message))), true),
            Err(error) => (Err(running.failure(&error)), false),
        };
        let guest = running.store.data_mut();
        guest.end();
        if keep && !guest.meter.is_swollen() {
            self.running = Some(running);
        }
        result
    }
}

/// The form a module made, where it keeps the rules of the log.
fn checked(form: wit::FormResult) -> Result<Form, Failure> {
    let wit::FormResult { event_type, schema_version, content_type, data } = form;
    let broken = |reason: String| Failure::new(FailureKind::Limit, format!("the upcaster made an event that {reason}"));
    let event_type = EventType::new(event_type).map_err(|error| broken(format!("has a wrong type: {error}")))?;
    if schema_version == 0 {
        return Err(broken("has the schema version 0: versions begin at 1".into()));
    }
    let data = payload(content_type.map(Arc::from), content(data)).map_err(broken)?;
    Ok(Form { event_type, schema_version, data })
}
