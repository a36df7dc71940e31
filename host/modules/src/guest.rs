//! What the store of a running module holds: the state of the call, and what the engine and WASI need beside it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lantern_core::{Call, Effects, View, Witness};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    imports::Requests,
    limits::Meter,
    state::{Deployment, Moment, State},
};

/// How many handles (streams, pollables) a module may hold at once.
const HANDLES: usize = 1_000;

/// What the store of a running module holds.
pub(crate) struct Guest {
    /// What the call in hand may see and has asked for.
    pub(crate) state: State,
    /// Memory and tables used.
    pub(crate) meter: Meter,
    /// The parts of WASI that are empty: arguments, environment, files, sockets.
    pub(crate) wasi: WasiCtx,
    /// The HTTP requests of the call in hand.
    pub(crate) requests: Requests,
    /// The handles the module holds.
    pub(crate) table: ResourceTable,
    /// When the instance was started.
    pub(crate) started: Instant,
    /// Until when the module may wait for alarms: the end of the call, where its clocks are real.
    pub(crate) deadline: Option<Instant>,
}

impl Guest {
    /// For an instance that is about to start.
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let meter = Meter::new(&deployment.settings.limits);
        let requests = Requests::new(deployment.clone());
        let (wasi, started) = (WasiCtx::default(), Instant::now());
        Self { state: State::new(deployment), meter, wasi, requests, table, started, deadline: None }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, moment: Moment<'_>) {
        self.state.begin(moment);
        self.meter.begin();
        let milliseconds = self.state.deployment.settings.limits.deadline_ms;
        self.deadline = self.has_time().then(|| Instant::now() + Duration::from_millis(milliseconds));
    }

    /// Ends the call: what was said meanwhile.
    pub(crate) fn end(&mut self) -> Witness {
        self.state.end()
    }

    /// Takes the event in hand.
    pub(crate) fn begin_event(&mut self, call: &Call<'_>, view: &Arc<dyn View>) {
        let Call { event, trace, .. } = call;
        self.begin(Moment { time: event.time, id: event.id, trace: trace.as_ref() });
        self.state.open(view);
        self.requests.begin(call);
    }

    /// Lets go of the event: what the call asked for, and what was said meanwhile.
    pub(crate) fn end_event(&mut self) -> (Effects, Witness) {
        self.requests.end(&mut self.state.telemetry);
        (self.state.close(), self.end())
    }

    /// Whether its clocks are real.
    pub(crate) fn has_time(&self) -> bool {
        self.state.deployment.settings.grants.time
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
