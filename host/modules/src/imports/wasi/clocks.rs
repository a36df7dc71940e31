//! `wasi:clocks`: clocks that stand still at the time of what is in hand, or, where a handler is granted it, real ones.

use std::time::{Duration, Instant};

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

use super::waiting::at;
use crate::guest::Guest;

/// What the monotonic clock always shows, in nanoseconds, and where the real one begins: it may not go back as the times
/// of events do. Not zero, which the Go runtime takes for a broken clock.
const MONOTONIC: u64 = 1_000_000_000;

impl wall_clock::Host for Guest {
    /// A time before 1970, which WASI cannot express, shows as 1970.
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        let nanoseconds = u64::try_from(self.state.time().0).unwrap_or(0);
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
        Ok(self.monotonic())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(when.saturating_sub(self.monotonic()))
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let alarm = match duration {
            0 => Alarm::Due,
            _ if !self.has_time() => Alarm::Never,
            _ => Instant::now().checked_add(Duration::from_nanos(duration)).map_or(Alarm::Never, Alarm::At),
        };
        let alarm = self.table.push(alarm)?;
        subscribe(&mut self.table, alarm)
    }
}

impl Guest {
    /// What the monotonic clock shows.
    fn monotonic(&self) -> u64 {
        if !self.has_time() {
            return MONOTONIC;
        }
        let running = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        running.saturating_add(MONOTONIC)
    }
}

/// An alarm. Waiting for nothing but one that never comes ends the call.
enum Alarm {
    Due,
    /// Of a clock that stands still.
    Never,
    At(Instant),
}

#[async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        match self {
            Self::Due => {}
            Self::Never => std::future::pending().await,
            Self::At(due) => at(*due).await,
        }
    }
}
