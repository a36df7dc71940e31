//! `wasi:logging/logging`: log lines. Linked by hand, so that a line which is not kept is not copied either.

use lantern_core::witness::Level;
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmStr},
};

use crate::{
    bindings::processor::wasi::logging::logging as wit,
    guest::Guest,
    state::{Line, cut},
};

/// The name under which the interface is served.
pub(super) const NAME: &str = "wasi:logging/logging@0.1.0-draft";

/// Serves the interface.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(NAME)?.func_wrap("log", log)
}

fn log(
    mut store: StoreContextMut<'_, Guest>,
    (level, context, message): (wit::Level, WasmStr, WasmStr),
) -> wasmtime::Result<()> {
    if !store.data_mut().state.telemetry.wants_line() {
        return Ok(());
    }
    let (context, message) = (cut(&context.to_str(&store)?), cut(&message.to_str(&store)?));
    let line = Line { level: severity(level), context, message, span: None, attributes: Vec::new() };
    store.data_mut().state.telemetry.log(line);
    Ok(())
}

fn severity(level: wit::Level) -> Level {
    match level {
        wit::Level::Trace => Level::Trace,
        wit::Level::Debug => Level::Debug,
        wit::Level::Info => Level::Info,
        wit::Level::Warn => Level::Warn,
        wit::Level::Error => Level::Error,
        wit::Level::Critical => Level::Critical,
    }
}
