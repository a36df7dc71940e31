//! `lantern:module/schedule`: events a handler wants later. Linked by hand, as `emit` is.

use std::sync::Arc;

use lantern_core::Timestamp;
use wasmtime::{StoreContextMut, component::Linker};

use crate::{guest::Guest, lifted::NewEvent, state::State};

/// The name under which the interface is served.
pub(super) const NAME: &str = "lantern:module/schedule@0.1.0";

/// Serves the interface.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(NAME)?;
    interface.func_wrap("emit-at", emit_at)?;
    interface.func_wrap("cancel", cancel)
}

fn emit_at(
    mut store: StoreContextMut<'_, Guest>,
    (key, time, stream, event): (Arc<str>, i64, Arc<str>, NewEvent),
) -> wasmtime::Result<()> {
    let State { emissions, room, .. } = &mut store.data_mut().state;
    Ok(emissions.set(room, key, Timestamp(time), stream, event.into())?)
}

fn cancel(mut store: StoreContextMut<'_, Guest>, (key,): (Arc<str>,)) -> wasmtime::Result<()> {
    let State { emissions, room, .. } = &mut store.data_mut().state;
    Ok(emissions.cancel(room, key)?)
}
