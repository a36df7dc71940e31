//! A guest called with nothing around it: the same engine settings and the same signature as a module of the host, a
//! cache of documents, no limits, no telemetry. What the host adds is measured against it.

use std::{collections::HashMap, path::Path, sync::Arc};

use rusqlite::{Connection, OptionalExtension};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreContextMut, WasmBacktraceDetails,
    component::{Component, Linker, WasmStr},
};

mod bindings {
    #![allow(dead_code, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

    // The exports of a handler are those of a projection, and its imports are more.
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "handler",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(crate) use bindings::lantern::module::types::{Event, PayloadParam as Payload};
use bindings::{Handler, HandlerPre, lantern::module::types::TraceContext};

/// The interface of the read model.
const DOCUMENTS: &str = "lantern:module/documents@0.1.0";

/// What the read model is asked for a document that the cache does not have.
const GET: &str = "select value from document where collection = 1 and key = ?1";

/// A guest, compiled and linked.
#[derive(Clone)]
pub(crate) struct Program {
    pre: HandlerPre<Kept>,
}

/// A running guest and the documents it sees.
pub(crate) struct Guest {
    store: Store<Kept>,
    exports: Handler,
}

/// The documents of one collection: those seen so far, and those the call in hand has written.
#[derive(Default)]
struct Kept {
    seen: HashMap<Arc<str>, Arc<str>>,
    written: Vec<(Arc<str>, Arc<str>)>,
    committed: Option<Connection>,
}

impl Program {
    /// Compiles and links a guest.
    pub(crate) fn new(component: &Path) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config())?;
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::new(&engine);
        let mut documents = linker.instance(DOCUMENTS)?;
        documents.func_wrap("get", get)?;
        documents.func_wrap("put", put)?;
        // The guests of the benchmarks call nothing else.
        linker.define_unknown_imports_as_traps(&component)?;
        Ok(Self { pre: HandlerPre::new(linker.instantiate_pre(&component)?)? })
    }

    /// Starts the guest, on top of the documents of a read model where one is given.
    pub(crate) fn start(&self, committed: Option<Connection>) -> wasmtime::Result<Guest> {
        let mut store = Store::new(self.pre.engine(), Kept { committed, ..Kept::default() });
        // Far away: nothing raises the epoch of this engine.
        store.set_epoch_deadline(u64::from(u32::MAX));
        let exports = self.pre.instantiate(&mut store)?;
        Ok(Guest { store, exports })
    }
}

impl Guest {
    /// Has an event handled, and hands out what was written.
    pub(crate) fn handle(&mut self, event: Event<'_>) -> wasmtime::Result<std::vec::Drain<'_, (Arc<str>, Arc<str>)>> {
        let context = TraceContext { trace_id_high: 0, trace_id_low: 0, span_id: 0, flags: 0, state: None };
        if let Err(failure) = self.exports.call_handle(&mut self.store, context, event)? {
            return Err(wasmtime::Error::msg(format!("the guest failed: {failure:?}")));
        }
        let Kept { seen, written, .. } = self.store.data_mut();
        for (key, value) in written.iter() {
            seen.insert(key.clone(), value.clone());
        }
        Ok(written.drain(..))
    }
}

/// As the host's engine is set.
fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_stacks(0);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(512 << 10)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

#[expect(clippy::needless_pass_by_value, reason = "the engine hands the store over by value")]
fn get(store: StoreContextMut<'_, Kept>, (_, key): (WasmStr, WasmStr)) -> wasmtime::Result<(Option<Arc<str>>,)> {
    let Kept { seen, committed, .. } = store.data();
    let key = key.to_str(&store)?;
    if let Some(value) = seen.get(&*key) {
        return Ok((Some(value.clone()),));
    }
    let Some(committed) = committed else { return Ok((None,)) };
    let found: Option<String> = committed.prepare_cached(GET)?.query_row([&*key], |row| row.get(0)).optional()?;
    Ok((found.map(Arc::from),))
}

fn put(mut store: StoreContextMut<'_, Kept>, (_, key, value): (WasmStr, Arc<str>, Arc<str>)) -> wasmtime::Result<()> {
    store.data_mut().written.push((key, value));
    Ok(())
}
