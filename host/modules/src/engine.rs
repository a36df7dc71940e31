//! The engine: how modules are compiled and run, and the ticker that ends calls which take too long.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroUsize,
    thread,
    time::Duration,
};

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// How often the ticker raises the epoch. Deadlines are exact to one tick.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// The most linear memory one instance can have, in bytes: what a 32-bit module can address.
pub(crate) const MAX_MEMORY: u64 = 4 << 30;

/// The most elements one table can have.
pub(crate) const MAX_TABLE: u64 = 100_000;

/// How deep the call stack of a module may grow, in bytes. The threads that call modules have 2 MiB.
const STACK: usize = 512 << 10;

/// How many instances can be there at once: 1,000 processors with a candidate or a rebuild beside each, and 8,000 loaded
/// aggregates, each of which holds one as long as it is warm.
///
/// An instance that runs takes about 75 KiB, page tables included, and 4 mappings of the 65,530 that Linux gives a process
/// unless told otherwise. A place that is not in use takes addresses only.
const INSTANCES: u32 = 10_000;

/// How many linear memories can be there at once: nearly every module has one. Each place takes 4 GiB of addresses, all
/// of them 47 TiB of the 128 TiB a process has, so that two engines find room in one.
const MEMORIES: u32 = INSTANCES / 5 * 6;

/// The engine all modules of a host share, with its ticker. The ticker ends soon after the last clone is dropped.
pub(crate) fn start() -> wasmtime::Result<wasmtime::Engine> {
    let engine = match wasmtime::Engine::new(config().allocation_strategy(pool())) {
        Ok(engine) => engine,
        Err(error) => {
            tracing::warn!(
                %error,
                "the address space for a pool of instances cannot be reserved: instances are allocated one by one, \
                 which makes starting one slower"
            );
            wasmtime::Engine::new(&config())?
        }
    };
    tick(&engine)?;
    Ok(engine)
}

/// What compiled code depends on: another engine or other settings give another name.
pub(crate) fn compatibility(engine: &wasmtime::Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// How many ticks a call of this many milliseconds may see. One more than fits, because the first may come at once.
pub(crate) fn ticks(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(TICK.as_millis() as u64).saturating_add(1).min(u64::from(u32::MAX))
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        // The same module must compute the same on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // So that a trap names the functions and, where the module has them, the lines.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(64))
        // Telling the system's unwinder of each module takes longer the more there are. Traps do not need it.
        .native_unwind_info(cfg!(windows));
    config
}

/// Addresses are reserved for all of it, memory is used only for what instances touch.
fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        // A Rust module consists of 3 core instances with 2 tables, a Python one of up to 38.
        .total_core_instances(INSTANCES * 40)
        .total_memories(MEMORIES)
        .total_tables(INSTANCES * 4)
        .table_elements(MAX_TABLE as usize)
        .max_tables_per_module(4)
        .max_memories_per_module(4)
        .max_memory_size(MAX_MEMORY as usize)
        // Calls are synchronous and need no stacks of their own.
        .total_stacks(0)
        // Where the kernel can tell which pages were touched (Linux 6.7), keeping them is faster than giving them back.
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(32);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.linear_memory_keep_resident(1 << 20).table_keep_resident(64 << 10);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

/// Ticks that the thread sleeps through are not made up for: on a machine that starves, a module gets more time, not
/// less.
fn tick(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    thread::Builder::new().name("module-ticker".into()).spawn(move || {
        loop {
            thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_cut_short() {
        assert_eq!(ticks(0), 1);
        assert_eq!(ticks(1), 2);
        assert_eq!(ticks(5), 2);
        assert_eq!(ticks(1_000), 201);
        assert_eq!(ticks(u64::MAX), u64::from(u32::MAX));
    }

    #[test]
    fn the_ticker_ends_with_the_engine() {
        let engine = start().unwrap();
        let weak = engine.weak();
        drop(engine);
        // The ticker holds the engine only while it raises the epoch.
        while weak.upgrade().is_some() {
            thread::yield_now();
        }
    }

    #[test]
    fn two_engines_of_one_host_agree_on_compiled_code() {
        assert_eq!(compatibility(&start().unwrap()), compatibility(&start().unwrap()));
    }
}
