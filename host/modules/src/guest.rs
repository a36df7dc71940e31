//! What the store of a running module holds: the state of the call, and what the engine and WASI need beside it.

use std::sync::Arc;

use lantern_core::{Call, Effects, View, Witness};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    imports::Requests,
    limits::Meter,
    state::{Deployment, State},
};

/// How many handles (streams, pollables) a module may hold at once.
const HANDLES: usize = 1_000;

/// What the store of a running module holds.
pub(crate) struct Guest {
    /// What the call in hand may see and has asked for.
    pub(crate) state: State,
    /// Memory and tables used.
    pub(crate) meter: Meter,
    /// The parts of WASI that are empty for a projection: arguments, environment, files, network.
    pub(crate) wasi: WasiCtx,
    /// The HTTP requests of the call in hand.
    pub(crate) requests: Requests,
    /// The handles the module holds.
    pub(crate) table: ResourceTable,
}

impl Guest {
    /// For an instance that is about to start.
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let meter = Meter::new(&deployment.settings.limits);
        let requests = Requests::new(deployment.clone());
        Self { state: State::new(deployment), meter, wasi: WasiCtx::default(), requests, table }
    }

    /// Takes the event in hand.
    pub(crate) fn begin(&mut self, call: &Call<'_>, view: &Arc<dyn View>) {
        self.state.begin(call, view);
        self.requests.begin(call);
        self.meter.begin();
    }

    /// Ends the call: what it asked for, and what was said meanwhile.
    pub(crate) fn end(&mut self) -> (Effects, Witness) {
        self.requests.end(&mut self.state.telemetry);
        self.state.end()
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
