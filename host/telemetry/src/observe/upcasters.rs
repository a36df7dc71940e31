//! Upcasters, watched: a line for a step that failed. There are no spans: they run for every old event, and what fails is
//! told by the span of the call around it.

use std::sync::Arc;

use lantern_core::{
    Digest, Event, Name,
    module::Failure,
    upcasting::{Form, UpcasterDescription, UpcasterInstance, UpcasterModule},
};

use super::witness::LogBudget;
use crate::{record::kind_name, view};

/// How many failures of one instance are told in a second: the dead letters have all of them.
const MAX_LINES: usize = 10;

struct ObservedModule {
    inner: Arc<dyn UpcasterModule>,
    name: Name,
}

struct ObservedInstance {
    inner: Box<dyn UpcasterInstance>,
    name: Name,
    logs: LogBudget,
}

/// Watches an upcaster's module and its instances.
pub(super) fn module(inner: Arc<dyn UpcasterModule>, name: Name) -> Arc<dyn UpcasterModule> {
    Arc::new(ObservedModule { inner, name })
}

impl UpcasterModule for ObservedModule {
    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn description(&self) -> &UpcasterDescription {
        self.inner.description()
    }

    fn instance(&self) -> Box<dyn UpcasterInstance> {
        let (inner, name) = (self.inner.instance(), self.name.clone());
        Box::new(ObservedInstance { inner, name, logs: LogBudget::default() })
    }
}

impl UpcasterInstance for ObservedInstance {
    fn upcast(&mut self, event: &Event, form: &Form) -> Result<Form, Failure> {
        let result = self.inner.upcast(event, form);
        if let Err(failure) = &result
            && self.logs.take(1, MAX_LINES) == 1
        {
            tell(&self.name, event, form, failure);
        }
        result
    }
}

fn tell(name: &Name, event: &Event, form: &Form, failure: &Failure) {
    let trace = event.metadata.trace.as_ref();
    tracing::warn!(
        target: "lantern::upcaster",
        trace_id = trace.map(|trace| view::trace_id(trace.trace_id)),
        span_id = trace.map(|trace| view::span_id(trace.span_id)),
        upcaster = name.as_str(),
        position = event.position.0,
        event_type = form.event_type.as_str(),
        schema_version = form.schema_version,
        kind = kind_name(failure.kind),
        "an event could not be upcast: {}",
        failure.message
    );
}

#[cfg(test)]
mod tests {
    use lantern_core::{Kind, module::FailureKind};

    use super::*;
    use crate::{
        fixture::{self, ports},
        logging::Format,
        observe,
    };

    #[test]
    fn failures_are_told_and_a_flood_is_cut_short() {
        let library = observe::library(Arc::new(ports::Closure::new(|_| ports::well())), &fixture::telemetry());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let settings = ports::settings(Kind::Upcaster, "order-placed");
        let module = runtime.block_on(library.load_upcaster(Digest([7; 32]), &settings)).unwrap();
        let event = ports::event(Some(ports::context(10, 20)));
        let (event_type, data) = (event.event_type.clone(), event.data.clone());
        let form = Form { event_type, schema_version: 1, data };
        let log = fixture::written(Format::Json, "info", || {
            let mut instance = module.instance();
            for _ in 0..1_000 {
                assert_eq!(instance.upcast(&event, &form).unwrap_err().kind, FailureKind::Trap);
            }
        });
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told = ["logger", "upcaster", "event_type", "kind", "trace_id"].map(|key| lines[0][key].as_str().unwrap());
        let trace_id = "0000000000000000000000000000000a";
        assert_eq!(told, ["lantern::upcaster", "order-placed", "OrderPlaced", "trap", trace_id]);
        assert_eq!((&lines[0]["position"], &lines[0]["schema_version"]), (&9.into(), &1.into()));
        assert_eq!(lines[0]["message"], "an event could not be upcast: no field `total`");
        assert!(lines.len() < 1_000, "{}", lines.len());
    }
}
