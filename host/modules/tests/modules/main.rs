//! What modules can and cannot do, shown with the guests of `tests/guests`.

#![cfg(test)]

mod aggregates;
mod crafted;
mod determinism;
mod documents;
mod effects;
mod events;
mod granted;
mod http;
mod library;
mod misbehaving;
mod refusals;
mod sql;
mod support;
mod telemetry;
mod upcasters;
mod worlds;
