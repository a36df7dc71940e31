//! `lantern:module/emit`: events a handler asks for. Linked by hand, so that contents are handed on without copies.

use std::sync::Arc;

use wasmtime::{StoreContextMut, component::Linker};

use crate::{guest::Guest, lifted::NewEvent, state::State};

/// The name under which the interface is served.
pub(super) const NAME: &str = "lantern:module/emit@0.1.0";

/// Serves the interface.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(NAME)?.func_wrap("emit", emit)
}

fn emit(mut store: StoreContextMut<'_, Guest>, (stream, event): (Arc<str>, NewEvent)) -> wasmtime::Result<()> {
    let State { emissions, room, .. } = &mut store.data_mut().state;
    Ok(emissions.emit(room, stream, event.into())?)
}
