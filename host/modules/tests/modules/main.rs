//! What modules can and cannot do, shown with the guests of `tests/guests`.

#![cfg(test)]

mod crafted;
mod determinism;
mod documents;
mod events;
mod http;
mod library;
mod misbehaving;
mod refusals;
mod support;
mod telemetry;
