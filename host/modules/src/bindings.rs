//! The generated bindings of the worlds. Nothing is written by hand here.
//!
//! Those of `handler` stand for `projection` as well, whose exports are the same and whose imports are fewer. What several
//! worlds share exists once, in those of `handler`.

#![allow(dead_code, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

/// Projections and handlers.
pub mod processor {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "handler",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "wasi:clocks/wall-clock": wasmtime_wasi::p2::bindings::clocks::wall_clock },
    });
}

/// The types of aggregates: those of processors, but that what is decided on is handed on without copies.
pub mod decided {
    pub use super::processor::lantern::module::types::*;
    pub use crate::lifted::NewEvent;
}

/// Aggregates.
pub mod aggregate {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "aggregate",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "lantern:module/types": crate::bindings::decided,
            "wasi:clocks/wall-clock": wasmtime_wasi::p2::bindings::clocks::wall_clock,
            "wasi:config/store": crate::bindings::processor::wasi::config::store,
            "wasi:logging/logging": crate::bindings::processor::wasi::logging::logging,
            "wasi:otel/types": crate::bindings::processor::wasi::otel::types,
            "wasi:otel/tracing": crate::bindings::processor::wasi::otel::tracing,
            "wasi:otel/logs": crate::bindings::processor::wasi::otel::logs,
        },
    });
}

/// Upcasters.
pub mod upcaster {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "upcaster",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "lantern:module/types": crate::bindings::processor::lantern::module::types,
            "wasi:config/store": crate::bindings::processor::wasi::config::store,
            "wasi:logging/logging": crate::bindings::processor::wasi::logging::logging,
        },
    });
}
