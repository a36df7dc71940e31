//! `wasi:random`: numbers that belong to what is in hand, so that doing it again gives the same ones; a handler may be
//! granted real ones.

use lantern_core::module::{Failure, FailureKind};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use crate::{guest::Guest, state::Random};

/// The most random bytes one request may ask for.
const MOST: u64 = 1 << 20;

/// What every instance seeds its hash maps with: their order must not depend on when the instance was started.
const SEED: (u64, u64) = (0x6c61_6e74_6572_6e00, 0x0070_726f_6a65_6374);

impl random::Host for Guest {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(&mut self.state.random, count)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.state.random.number())
    }
}

impl insecure::Host for Guest {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(&mut self.state.insecure, count)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.state.insecure.number())
    }
}

impl insecure_seed::Host for Guest {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok(SEED)
    }
}

fn bytes(random: &mut Random, count: u64) -> wasmtime::Result<Vec<u8>> {
    if count > MOST {
        let message = format!("the module asked for {count} random bytes at once: at most {MOST} are allowed");
        return Err(Failure::new(FailureKind::Limit, message).into());
    }
    // Fits: at most a megabyte.
    Ok(random.bytes(count as usize))
}
