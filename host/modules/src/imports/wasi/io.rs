//! `wasi:io`: streams and polling without waiting. Everything a projection can hold is ready at once or never.

use std::pin::pin;

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

use crate::guest::Guest;

type Input = Resource<DynInputStream>;
type Output = Resource<DynOutputStream>;

impl Host for Guest {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        at_once(waiting_poll::Host::poll(&mut self.table, pollables)).unwrap_or_else(|| Err(asleep()))
    }
}

impl HostPollable for Guest {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        at_once(waiting_poll::HostPollable::ready(&mut self.table, pollable)).unwrap_or_else(|| Err(asleep()))
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        at_once(waiting_poll::HostPollable::block(&mut self.table, pollable)).unwrap_or_else(|| Err(asleep()))
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
        ready(waiting::HostOutputStream::blocking_write_and_flush(&mut self.table, stream, bytes))
    }

    fn flush(&mut self, stream: Output) -> StreamResult<()> {
        waiting::HostOutputStream::flush(&mut self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Output) -> StreamResult<()> {
        ready(waiting::HostOutputStream::blocking_flush(&mut self.table, stream))
    }

    fn subscribe(&mut self, stream: Output) -> wasmtime::Result<Resource<DynPollable>> {
        waiting::HostOutputStream::subscribe(&mut self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Output, count: u64) -> StreamResult<()> {
        waiting::HostOutputStream::write_zeroes(&mut self.table, stream, count)
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Output, count: u64) -> StreamResult<()> {
        ready(waiting::HostOutputStream::blocking_write_zeroes_and_flush(&mut self.table, stream, count))
    }

    fn splice(&mut self, stream: Output, from: Input, count: u64) -> StreamResult<u64> {
        waiting::HostOutputStream::splice(&mut self.table, stream, from, count)
    }

    fn blocking_splice(&mut self, stream: Output, from: Input, count: u64) -> StreamResult<u64> {
        ready(waiting::HostOutputStream::blocking_splice(&mut self.table, stream, from, count))
    }

    fn drop(&mut self, stream: Output) -> wasmtime::Result<()> {
        at_once(waiting::HostOutputStream::drop(&mut self.table, stream)).unwrap_or_else(|| Err(asleep()))
    }
}

impl HostInputStream for Guest {
    fn read(&mut self, stream: Input, count: u64) -> StreamResult<Vec<u8>> {
        waiting::HostInputStream::read(&mut self.table, stream, count)
    }

    fn blocking_read(&mut self, stream: Input, count: u64) -> StreamResult<Vec<u8>> {
        ready(waiting::HostInputStream::blocking_read(&mut self.table, stream, count))
    }

    fn skip(&mut self, stream: Input, count: u64) -> StreamResult<u64> {
        waiting::HostInputStream::skip(&mut self.table, stream, count)
    }

    fn blocking_skip(&mut self, stream: Input, count: u64) -> StreamResult<u64> {
        ready(waiting::HostInputStream::blocking_skip(&mut self.table, stream, count))
    }

    fn subscribe(&mut self, stream: Input) -> wasmtime::Result<Resource<DynPollable>> {
        waiting::HostInputStream::subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Input) -> wasmtime::Result<()> {
        at_once(waiting::HostInputStream::drop(&mut self.table, stream)).unwrap_or_else(|| Err(asleep()))
    }
}

/// The outcome of a future that is ready at once; nothing when it would have to wait.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    poll_noop(pin!(future))
}

fn ready<T>(future: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    at_once(future).unwrap_or_else(|| Err(StreamError::Trap(asleep())))
}

/// The call ends: what it waits for cannot come before it has ended.
fn asleep() -> wasmtime::Error {
    Failure::new(FailureKind::Limit, "the module wants to sleep: a projection cannot, its clock stands still").into()
}
