//! `wasi:clocks`: clocks that stand still at the time of the event.

use wasmtime::component::Resource;
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynPollable, Pollable,
        bindings::clocks::{
            monotonic_clock,
            wall_clock::{self, Datetime},
        },
        subscribe,
    },
};

use crate::guest::Guest;

/// What the monotonic clock always shows, in nanoseconds: it may not go back as the times of events do. Not zero, which
/// the Go runtime takes for a broken clock.
const MONOTONIC: u64 = 1_000_000_000;

impl wall_clock::Host for Guest {
    /// A time before 1970, which WASI cannot express, shows as 1970.
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        let nanoseconds = u64::try_from(self.state.now.0).unwrap_or(0);
        Ok(Datetime {
            seconds: nanoseconds / 1_000_000_000,
            // Below a thousand million, which fits.
            nanoseconds: (nanoseconds % 1_000_000_000) as u32,
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        Ok(Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl monotonic_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(MONOTONIC)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let alarm = self.table.push(Alarm { due: when <= MONOTONIC })?;
        subscribe(&mut self.table, alarm)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_instant(MONOTONIC.saturating_add(duration))
    }
}

/// An alarm of a clock that stands still: due at once or never. Waiting for nothing but the latter ends the call.
struct Alarm {
    due: bool,
}

#[async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        if !self.due {
            std::future::pending::<()>().await;
        }
    }
}
