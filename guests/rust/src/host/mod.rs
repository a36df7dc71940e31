//! The host as the rest of the crate sees it: the imports on Wasm, a small host in memory everywhere else.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod memory;

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::{
    handler::lantern::module::{emit, publish, schedule},
    lantern::module::{documents, sql},
    wasi::{config::store, logging::logging, otel::tracing},
};
#[cfg(target_arch = "wasm32")]
pub(crate) use crate::http::wasi as http;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use memory::{documents, emit, http, logging, publish, schedule, sql, store, tracing};
