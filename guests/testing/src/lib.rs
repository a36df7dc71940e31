//! Test Lantern modules: given events, when something happens, then what.
#![doc = include_str!("../README.md")]
// Tests run natively, also those of a compiled component.
#![cfg(not(target_arch = "wasm32"))]

mod aggregate;
#[cfg(feature = "component")]
mod component;
mod diff;
mod effects;
mod native;
mod processor;
mod sample;
mod switch;
mod upcaster;

pub use aggregate::{AggregateTest, Decided, aggregate};
pub use processor::{Handled, ProcessorTest, handler, projection};
pub use sample::{Sample, event};
pub use serde_json::{Value, json};
pub use upcaster::{Upcasted, UpcasterTest, upcaster};

/// What a test usually needs: `use lantern_testing::prelude::*;`.
pub mod prelude {
    pub use crate::{Sample, aggregate, event, handler, json, projection, upcaster};
}

/// When tests happen, unless they say otherwise: 2026-01-01T00:00:00Z.
pub(crate) const BEGIN: lantern_guest::Time = lantern_guest::Time::from_nanoseconds(1_767_225_600_000_000_000);
