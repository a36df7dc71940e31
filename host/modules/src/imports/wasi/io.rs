//! `wasi:io`: streams and polling. Everything a module can hold is ready at once or never; but a handler waits for the
//! answers of its requests and for alarms of a real clock, no longer than the call may take.

use std::{pin::pin, time::Instant};

use lantern_core::module::{Failure, FailureKind};
use wasmtime::component::Resource;
use wasmtime_wasi::{
    p2::{
        DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult,
        bindings::{
            io::{poll as waiting_poll, streams as waiting},
            sync::io::{
                poll::{Host, HostPollable},
                streams::{self, HostInputStream, HostOutputStream},
            },
        },
    },
    runtime::poll_noop,
};

use super::waiting::until;
use crate::guest::Guest;

type Input = Resource<DynInputStream>;
type Output = Resource<DynOutputStream>;

impl Host for Guest {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.patience().wait(waiting_poll::Host::poll(&mut self.table, pollables))
    }
}

impl HostPollable for Guest {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.patience().wait(waiting_poll::HostPollable::ready(&mut self.table, pollable))
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.patience().wait(waiting_poll::HostPollable::block(&mut self.table, pollable))
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        waiting_poll::HostPollable::drop(&mut self.table, pollable)
    }
}

impl streams::Host for Guest {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        Ok(match waiting::Host::convert_stream_error(&mut self.table, error)? {
            waiting::StreamError::LastOperationFailed(error) => streams::StreamError::LastOperationFailed(error),
            waiting::StreamError::Closed => streams::StreamError::Closed,
        })
    }
}

impl HostOutputStream for Guest {
    fn check_write(&mut self, stream: Output) -> StreamResult<u64> {
        waiting::HostOutputStream::check_write(&mut self.table, stream)
    }

    fn write(&mut self, stream: Output, bytes: Vec<u8>) -> StreamResult<()> {
        waiting::HostOutputStream::write(&mut self.table, stream, bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Output, bytes: Vec<u8>) -> StreamResult<()> {
        self.patience().wait_stream(waiting::HostOutputStream::blocking_write_and_flush(&mut self.table, stream, bytes))
    }

    fn flush(&mut self, stream: Output) -> StreamResult<()> {
        waiting::HostOutputStream::flush(&mut self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Output) -> StreamResult<()> {
        self.patience().wait_stream(waiting::HostOutputStream::blocking_flush(&mut self.table, stream))
    }

    fn subscribe(&mut self, stream: Output) -> wasmtime::Result<Resource<DynPollable>> {
        waiting::HostOutputStream::subscribe(&mut self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Output, count: u64) -> StreamResult<()> {
        waiting::HostOutputStream::write_zeroes(&mut self.table, stream, count)
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Output, count: u64) -> StreamResult<()> {
        self.patience().wait_stream(waiting::HostOutputStream::blocking_write_zeroes_and_flush(
            &mut self.table,
            stream,
            count,
        ))
    }

    fn splice(&mut self, stream: Output, from: Input, count: u64) -> StreamResult<u64> {
        waiting::HostOutputStream::splice(&mut self.table, stream, from, count)
    }

    fn blocking_splice(&mut self, stream: Output, from: Input, count: u64) -> StreamResult<u64> {
        self.patience().wait_stream(waiting::HostOutputStream::blocking_splice(&mut self.table, stream, from, count))
    }

    fn drop(&mut self, stream: Output) -> wasmtime::Result<()> {
        self.patience().wait(waiting::HostOutputStream::drop(&mut self.table, stream))
    }
}

impl HostInputStream for Guest {
    fn read(&mut self, stream: Input, count: u64) -> StreamResult<Vec<u8>> {
        waiting::HostInputStream::read(&mut self.table, stream, count)
    }

    fn blocking_read(&mut self, stream: Input, count: u64) -> StreamResult<Vec<u8>> {
        self.patience().wait_stream(waiting::HostInputStream::blocking_read(&mut self.table, stream, count))
    }

    fn skip(&mut self, stream: Input, count: u64) -> StreamResult<u64> {
        waiting::HostInputStream::skip(&mut self.table, stream, count)
    }

    fn blocking_skip(&mut self, stream: Input, count: u64) -> StreamResult<u64> {
        self.patience().wait_stream(waiting::HostInputStream::blocking_skip(&mut self.table, stream, count))
    }

    fn subscribe(&mut self, stream: Input) -> wasmtime::Result<Resource<DynPollable>> {
        waiting::HostInputStream::subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Input) -> wasmtime::Result<()> {
        self.patience().wait(waiting::HostInputStream::drop(&mut self.table, stream))
    }
}

impl Guest {
    fn patience(&self) -> Patience {
        let deadline_ms = self.state.deployment.settings.limits.deadline_ms;
        Patience { until: self.requests.patience().or(self.deadline), deadline_ms }
    }
}

/// How long a module may wait.
#[derive(Clone, Copy)]
struct Patience {
    /// Nothing when there is nothing that could come.
    until: Option<Instant>,
    deadline_ms: u64,
}

impl Patience {
    fn wait<T>(self, future: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
        self.outcome(future)?
    }

    fn wait_stream<T>(self, future: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
        self.outcome(future).map_err(StreamError::Trap)?
    }

    /// The outcome of a future. The call ends when it waits for what cannot come before it has ended.
    fn outcome<T>(self, future: impl Future<Output = T>) -> wasmtime::Result<T> {
        match self.until {
            Some(deadline) => until(deadline, future).ok_or_else(|| self.late()),
            None => poll_noop(pin!(future)).ok_or_else(asleep),
        }
    }

    fn late(self) -> wasmtime::Error {
        let message = format!(
            "the call took longer than {} ms (`deadline_ms`): it was waiting for an answer or an alarm",
            self.deadline_ms
        );
        Failure::new(FailureKind::Deadline, message).into()
    }
}

fn asleep() -> wasmtime::Error {
    let message = "the module wants to sleep: it cannot, its clock stands still (a handler is granted a real one by \
                   `--grant time`)";
    Failure::new(FailureKind::Limit, message).into()
}
