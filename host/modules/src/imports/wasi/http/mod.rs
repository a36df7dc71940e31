//! `wasi:http/outgoing-handler` and `types`: requests of handlers to origins their deployment lists.
//!
//! Heads and bodies are those of `wasmtime-wasi-http`; what is sent, and where to, is decided here. A request goes to a
//! listed origin or nowhere, at an address that is public or listed, resolved and checked once. It ends before the call
//! that sent it has to, goes through no proxy, carries the trace and, where it changes something, an id that is the same whenever the event is
//! handled again. Dry runs send nothing.

mod addresses;
mod bodies;
mod connection;
mod exchange;
mod record;
mod refusal;
mod requests;

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    WasiHttp, WasiHttpCtxView, WasiHttpView,
    p2::{
        HttpError, HttpResult,
        bindings::http::{outgoing_handler::Host as _, types},
        types::{HostFutureIncomingResponse, HostOutgoingRequest},
    },
};

pub(crate) use self::requests::{NothingSent, Requests};
use crate::guest::Guest;

/// The names under which the interfaces are served. Another 0.2 version of each fits as well.
pub(crate) const NAMES: [&str; 2] = [HANDLER, "wasi:http/types@0.2.12"];

const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Serves the interfaces.
pub(crate) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let handle =
        |mut store: StoreContextMut<'_, Guest>, (request, options)| match store.data_mut().send(request, options) {
            Ok(answer) => Ok((Ok(answer),)),
            Err(error) => Ok((Err(error.downcast()?),)),
        };
    linker.instance(HANDLER)?.func_wrap("handle", handle)?;
    types::add_to_linker::<_, WasiHttp>(linker, &types::LinkOptions::default(), Guest::http)
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Requests { fields, hooks } = &mut self.requests;
        WasiHttpCtxView { hooks, table: &mut self.table, ctx: fields }
    }
}

impl Guest {
    fn send(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<types::RequestOptions>>,
    ) -> HttpResult<Resource<HostFutureIncomingResponse>> {
        // The answer of a request that is not sent cannot be known, so that nothing after it can be tried.
        if self.requests.hooks.is_dry() {
            return Err(HttpError::trap(NothingSent));
        }
        let around = self.state.telemetry.around();
        let runtime = self.requests.hooks.prepare(around)?;
        let _entered = runtime.enter();
        self.http().handle(request, options)
    }
}
