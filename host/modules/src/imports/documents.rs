//! `lantern:module/documents`: the read model. Linked by hand, so that texts are read in place and handed on without copies.

use lantern_core::{Value, documents::Scan};
use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Linker, Lower, WasmStr},
};

use crate::{guest::Guest, state::State};

/// The name under which the interface is served.
pub(super) const NAME: &str = "lantern:module/documents@0.1.0";

/// The record `entry`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Entry {
    key: String,
    value: Value,
}

/// Serves the interface.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(NAME)?;
    interface.func_wrap("get", get)?;
    interface.func_wrap("put", put)?;
    interface.func_wrap("delete", delete)?;
    interface.func_wrap("scan", scan)
}

#[expect(clippy::needless_pass_by_value, reason = "the linker hands the store over")]
fn get(store: StoreContextMut<'_, Guest>, (collection, key): (WasmStr, WasmStr)) -> wasmtime::Result<(Option<Value>,)> {
    let documents = &store.data().state.documents;
    let collection = documents.collection(&collection.to_str(&store)?)?;
    Ok((documents.get(collection, &key.to_str(&store)?)?,))
}

fn put(
    mut store: StoreContextMut<'_, Guest>,
    (collection, key, value): (WasmStr, Value, Value),
) -> wasmtime::Result<()> {
    let collection = store.data().state.documents.collection(&collection.to_str(&store)?)?;
    let State { documents, room, .. } = &mut store.data_mut().state;
    Ok(documents.put(room, collection, key, value)?)
}

fn delete(mut store: StoreContextMut<'_, Guest>, (collection, key): (WasmStr, Value)) -> wasmtime::Result<()> {
    let collection = store.data().state.documents.collection(&collection.to_str(&store)?)?;
    let State { documents, room, .. } = &mut store.data_mut().state;
    Ok(documents.delete(room, collection, key)?)
}

#[expect(clippy::needless_pass_by_value, reason = "the linker hands the store over")]
fn scan(
    store: StoreContextMut<'_, Guest>,
    (collection, prefix, after, limit): (WasmStr, String, Option<String>, u32),
) -> wasmtime::Result<(Vec<Entry>,)> {
    let documents = &store.data().state.documents;
    let collection = documents.collection(&collection.to_str(&store)?)?;
    let found = documents.scan(collection, Scan { prefix, after, limit: limit as usize })?;
    Ok((found.into_iter().map(|document| Entry { key: document.key, value: document.value }).collect(),))
}
