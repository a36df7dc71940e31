//! What the host serves to modules: one file an interface, linked here.

mod documents;
mod logging;
mod logs;
mod store;
mod tracing;
mod wasi;

use wasmtime::component::{HasSelf, Linker};

pub(crate) use self::wasi::http::{NothingSent, Requests};

use crate::{
    bindings::wasi::{
        config::store::add_to_linker as add_store,
        otel::{
            logs::add_to_linker as add_logs, tracing::add_to_linker as add_tracing, types::add_to_linker as add_types,
        },
    },
    guest::Guest,
};

/// Interfaces that have types only: a module imports them, but there is nothing to serve.
const TYPES: [&str; 2] = ["lantern:module/types@0.1.0", "wasi:otel/types@0.2.0-rc.2"];

/// The names of all interfaces the host serves.
pub(crate) fn served() -> impl Iterator<Item = &'static str> {
    let own = [documents::NAME, logging::NAME, store::NAME, tracing::NAME, logs::NAME];
    own.into_iter().chain(TYPES).chain(wasi::NAMES)
}

/// The linker of all projections. What differs between two of them is in the store.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    documents::add(&mut linker)?;
    logging::add(&mut linker)?;
    add_store::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| &mut guest.state)?;
    add_types::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| &mut guest.state)?;
    add_tracing::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| &mut guest.state)?;
    add_logs::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| &mut guest.state)?;
    wasi::add(&mut linker)?;
    // The linker knows an interface without functions only when it was named.
    for name in TYPES {
        linker.instance(name)?;
    }
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Component;

    use super::*;

    /// What no guest of the tests uses: one item of each interface.
    const UNUSED: [(&str, &str); 7] = [
        ("wasi:filesystem/types@0.2.12", r#"(export "descriptor" (type (sub resource)))"#),
        ("wasi:io/error@0.2.12", r#"(export "error" (type (sub resource)))"#),
        ("wasi:sockets/ip-name-lookup@0.2.12", r#"(export "resolve-address-stream" (type (sub resource)))"#),
        ("wasi:sockets/network@0.2.12", r#"(export "network" (type (sub resource)))"#),
        ("wasi:sockets/tcp@0.2.12", r#"(export "tcp-socket" (type (sub resource)))"#),
        ("wasi:sockets/udp@0.2.12", r#"(export "udp-socket" (type (sub resource)))"#),
        ("wasi:random/insecure-seed@0.2.12", r#"(export "insecure-seed" (func (result (tuple u64 u64))))"#),
    ];

    #[test]
    fn what_is_said_to_be_served_is_served() {
        let engine = wasmtime::Engine::default();
        let linker = linker(&engine).unwrap();
        let links = |name: &str, item: &str| {
            let text = format!(r#"(component (import "{name}" (instance {item})))"#);
            let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
            linker.instantiate_pre(&component).is_ok()
        };
        for (name, item) in UNUSED {
            assert!(served().any(|served| served == name) && links(name, item), "{name}");
        }
        assert!(!links("wasi:http/types@0.2.12", r#"(export "fields" (type (sub resource)))"#));
    }
}
