//! `lantern:module/publish`: messages a handler publishes. Linked by hand, as `emit` is.

use std::sync::Arc;

use wasmtime::{StoreContextMut, component::Linker};

use crate::{guest::Guest, lifted::NewEvent, state::State};

/// The name under which the interface is served.
pub(super) const NAME: &str = "lantern:module/publish@0.1.0";

/// Serves the interface.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(NAME)?.func_wrap("publish", publish)
}

fn publish(
    mut store: StoreContextMut<'_, Guest>,
    (bus, topic, stream, event): (Arc<str>, Arc<str>, Arc<str>, NewEvent),
) -> wasmtime::Result<()> {
    let State { emissions, room, deployment, .. } = &mut store.data_mut().state;
    Ok(emissions.publish(room, &deployment.settings.grants, (bus, topic), stream, event.into())?)
}
