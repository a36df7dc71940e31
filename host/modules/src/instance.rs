//! One running copy of a module: started at the first call, thrown away when it traps.

use std::sync::Arc;

use lantern_core::{
    Call, Event, Instance, Outcome, Payload, TraceContext, View,
    module::{Description, Failure, FailureKind},
};
use wasmtime::Store;

use crate::{
    bindings::{Projection, ProjectionPre, lantern::module::types as wit},
    engine::ticks,
    guest::Guest,
    imports::NothingSent,
    state::{Deployment, cut},
    trap,
};

/// One copy of a module, running or not.
pub(crate) struct WasmInstance {
    pre: ProjectionPre<Guest>,
    deployment: Arc<Deployment>,
    running: Option<Running>,
    ticks: u64,
}

struct Running {
    store: Store<Guest>,
    exports: Projection,
}

impl WasmInstance {
    /// A copy that is started by its first call.
    pub(crate) fn new(pre: ProjectionPre<Guest>, deployment: Arc<Deployment>) -> Self {
        let ticks = ticks(deployment.settings.limits.deadline_ms);
        Self { pre, deployment, running: None, ticks }
    }

    /// Asks the module what it is, without an event in hand.
    pub(crate) fn describe(&mut self) -> Result<Description, Failure> {
        let mut running = self.start()?;
        running.store.set_epoch_deadline(self.ticks);
        match running.exports.call_describe(&mut running.store) {
            Ok(description) => Ok(described(description)),
            Err(error) => Err(trap::failure(&error, running.store.data())),
        }
    }

    /// Starts the module, under the same deadline as a call.
    fn start(&self) -> Result<Running, Failure> {
        let mut store = Store::new(self.pre.engine(), Guest::new(self.deployment.clone()));
        store.limiter(|guest| &mut guest.meter);
        store.set_epoch_deadline(self.ticks);
        let room = self.deployment.settings.limits.host_call_bytes;
        store.set_hostcall_fuel(usize::try_from(room).unwrap_or(usize::MAX));
        match self.pre.instantiate(&mut store) {
            Ok(exports) => {
                store.data_mut().meter.started();
                Ok(Running { store, exports })
            }
            Err(error) => Err(trap::failure(&error, store.data())),
        }
    }
}

impl Instance for WasmInstance {
    fn handle(&mut self, call: &Call<'_>, view: &Arc<dyn View>) -> Outcome {
        let mut running = match self.running.take().map_or_else(|| self.start(), Ok) {
            Ok(running) => running,
            Err(failure) => return Outcome::from(Err(failure)),
        };
        let Running { store, exports } = &mut running;
        store.data_mut().begin(call, view);
        store.set_epoch_deadline(self.ticks);
        let answer = hand_over(exports, store, call);
        let guest = store.data_mut();
        let (result, keep) = match answer {
            Ok(Ok(())) => (Ok(()), true),
            Ok(Err(failure)) => (Err(returned(failure)), true),
            // What a dry run cannot try is good until it fails.
            Err(error) if error.is::<NothingSent>() => (Ok(()), false),
            Err(error) => (Err(trap::failure(&error, guest)), false),
        };
        let (effects, witness) = guest.end();
        if keep && !guest.meter.is_swollen() {
            self.running = Some(running);
        }
        Outcome { result: result.map(|()| effects), witness, trace_id: None }
    }
}

/// Calls `handle`. Everything is lent to the engine, which copies it straight into the module's memory.
fn hand_over(
    exports: &Projection,
    store: &mut Store<Guest>,
    call: &Call<'_>,
) -> wasmtime::Result<Result<(), wit::Failure>> {
    let event = call.event;
    let metadata = &event.metadata;
    // The usual event has no free pairs, so that its metadata need no allocation.
    let mut named = [("", ""); 4];
    let mut count = 0;
    let ids = [
        ("correlation-id", &metadata.correlation_id),
        ("causation-id", &metadata.causation_id),
        ("tenant", &metadata.tenant),
        ("actor", &metadata.actor),
    ];
    for (name, value) in ids {
        if let Some(value) = value {
            named[count] = (name, value);
            count += 1;
        }
    }
    let named = &named[..count];
    let context = context(call.trace.as_ref());
    let Some(extra) = &metadata.extra else {
        return exports.call_handle(store, context, lowered(event, named));
    };
    let extra = extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all = named.iter().copied().chain(extra).collect::<Vec<_>>();
    exports.call_handle(store, context, lowered(event, &all))
}

fn lowered<'a>(event: &'a Event, metadata: &'a [(&'a str, &'a str)]) -> wit::Event<'a> {
    let (id_high, id_low) = event.id.as_u64_pair();
    let (content_type, data) = match &event.data {
        Payload::Json(text) => (None, wit::Payload::Json(text)),
        Payload::Bytes { content_type, data } => (Some(&**content_type), wit::Payload::Bytes(data)),
    };
    wit::Event {
        id_high,
        id_low,
        event_type: event.event_type.as_str(),
        schema_version: event.schema_version,
        stream: event.stream.as_str(),
        version: event.version.0,
        position: event.position.0,
        time: event.time.0,
        content_type,
        data,
        metadata,
    }
}

/// All zero when the call is not traced.
fn context(trace: Option<&TraceContext>) -> wit::TraceContext<'_> {
    wit::TraceContext {
        trace_id_high: trace.map_or(0, |trace| (trace.trace_id >> 64) as u64),
        trace_id_low: trace.map_or(0, |trace| trace.trace_id as u64),
        span_id: trace.map_or(0, |trace| trace.span_id),
        flags: trace.map_or(0, |trace| trace.flags),
        state: trace.and_then(|trace| trace.state.as_deref()),
    }
}

fn returned(failure: wit::Failure) -> Failure {
    match failure {
        wit::Failure::Transient(message) => Failure::new(FailureKind::Transient, cut(&message)),
        wit::Failure::Permanent(message) => Failure::new(FailureKind::Permanent, cut(&message)),
    }
}

fn described(description: wit::Description) -> Description {
    let wit::Description { name, version, categories, event_types, collections } = description;
    Description { name, version, categories, event_types, collections }
}
