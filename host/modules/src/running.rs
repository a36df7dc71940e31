//! A module that runs: started and called under the deadline of its deployment, and no longer than that.

use std::sync::Arc;

use lantern_core::module::Failure;
use wasmtime::{Engine, Store};

use crate::{engine::ticks, guest::Guest, state::Deployment, trap};

/// A module that runs, with its exports.
pub(crate) struct Running<E> {
    /// What it holds.
    pub(crate) store: Store<Guest>,
    exports: E,
    ticks: u64,
}

impl<E> Running<E> {
    /// Starts a module, under the same deadline as a call.
    pub(crate) fn start(
        engine: &Engine,
        deployment: &Arc<Deployment>,
        instantiate: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<E>,
    ) -> Result<Self, Failure> {
        let limits = &deployment.settings.limits;
        let ticks = ticks(limits.deadline_ms);
        let mut store = Store::new(engine, Guest::new(deployment.clone()));
        store.limiter(|guest| &mut guest.meter);
        store.set_epoch_deadline(ticks);
        store.set_hostcall_fuel(usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX));
        match instantiate(&mut store) {
            Ok(exports) => {
                store.data_mut().meter.started();
                Ok(Self { store, exports, ticks })
            }
            Err(error) => Err(trap::failure(&error, store.data())),
        }
    }

    /// Calls an export. After an error the module must not be called again.
    pub(crate) fn call<T>(
        &mut self,
        call: impl FnOnce(&E, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        self.store.set_epoch_deadline(self.ticks);
        call(&self.exports, &mut self.store)
    }

    /// The failure of a call that did not return.
    pub(crate) fn failure(&self, error: &wasmtime::Error) -> Failure {
        trap::failure(error, self.store.data())
    }
}
