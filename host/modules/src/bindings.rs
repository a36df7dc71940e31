//! The generated bindings of the world `projection`. Nothing is written by hand here.

#![allow(dead_code, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "projection",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: true },
    with: { "wasi:clocks/wall-clock": wasmtime_wasi::p2::bindings::clocks::wall_clock },
});
