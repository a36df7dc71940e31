//! The host as the rest of the crate sees it: the imports on Wasm, a small host in memory everywhere else.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod memory;

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::{
    lantern::module::documents,
    wasi::{config::store, logging::logging, otel::tracing},
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use memory::{documents, logging, store, tracing};
