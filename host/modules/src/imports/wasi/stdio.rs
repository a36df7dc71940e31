//! `wasi:cli/stdout` and `stderr`: kept by the state, which makes log lines of them.

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::{
    async_trait,
    p2::{
        DynOutputStream, OutputStream, Pollable, StreamResult,
        bindings::cli::{stderr, stdout},
    },
};

use crate::{guest::Guest, state::Pipe};

/// How many bytes one write may have.
const WRITE: usize = 64 << 10;

impl stdout::Host for Guest {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.open(self.state.console.out.clone())
    }
}

impl stderr::Host for Guest {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.open(self.state.console.err.clone())
    }
}

impl Guest {
    fn open(&mut self, pipe: Pipe) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Stream(pipe));
        Ok(self.table.push(stream)?)
    }
}

/// A stream that is always ready.
struct Stream(Pipe);

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}
