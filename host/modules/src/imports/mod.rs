//! What the host serves to modules: one file an interface, linked here.

mod documents;
mod emit;
mod logging;
mod logs;
mod publish;
mod schedule;
mod sql;
mod store;
mod tracing;
mod wasi;

use lantern_core::{Grants, Kind};
use wasmtime::component::{HasSelf, Linker};

pub(crate) use self::wasi::http::{NothingSent, Requests};

use crate::{
    bindings::processor::{
        lantern::module::sql::add_to_linker as add_sql,
        wasi::{
            config::store::add_to_linker as add_store,
            otel::{
                logs::add_to_linker as add_logs, tracing::add_to_linker as add_tracing,
                types::add_to_linker as add_types,
            },
        },
    },
    guest::Guest,
};

/// Interfaces that have types only: a module imports them, but there is nothing to serve.
const TYPES: [&str; 2] = ["lantern:module/types@0.1.0", "wasi:otel/types@0.2.0-rc.2"];

/// Whom an interface is served to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Modules of every kind.
    All,
    /// Projections and handlers.
    Processors,
    /// Handlers, where the deployment grants it.
    Handlers,
}

impl Audience {
    /// Whether modules of a kind belong to it.
    pub(crate) fn includes(self, kind: Kind) -> bool {
        match self {
            Self::All => true,
            Self::Processors => kind.is_processor(),
            Self::Handlers => kind == Kind::Handler,
        }
    }

    /// Those it consists of, in words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all modules",
            Self::Processors => "projections and handlers",
            Self::Handlers => "handlers",
        }
    }
}

/// The names of all interfaces the host serves, and to whom.
pub(crate) fn served() -> impl Iterator<Item = (&'static str, Audience)> {
    let all = [logging::NAME, store::NAME, tracing::NAME, logs::NAME];
    let all = all.into_iter().chain(TYPES).chain(wasi::NAMES).map(|name| (name, Audience::All));
    let handlers = [emit::NAME, schedule::NAME, publish::NAME].into_iter().chain(wasi::http::NAMES);
    let processors = [documents::NAME, sql::NAME].map(|name| (name, Audience::Processors));
    all.chain(processors).chain(handlers.map(|name| (name, Audience::Handlers)))
}

/// What a module may do because it imports an interface, where that has to be granted.
pub(crate) fn needs(name: &str) -> Option<Granted> {
    match name.split_once('@').map_or(name, |(interface, _)| interface) {
        "lantern:module/emit" => Some(Granted::Emit),
        "lantern:module/schedule" => Some(Granted::Schedule),
        "lantern:module/publish" => Some(Granted::Publish),
        "wasi:http/outgoing-handler" => Some(Granted::Http),
        _ => None,
    }
}

/// What has to be granted before a module that imports it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Granted {
    /// Emitting events.
    Emit,
    /// Scheduling events.
    Schedule,
    /// Publishing messages.
    Publish,
    /// Sending requests.
    Http,
}

impl Granted {
    /// Whether a deployment grants it.
    pub(crate) fn by(self, grants: &Grants) -> bool {
        match self {
            Self::Emit => grants.emit,
            Self::Schedule => grants.schedule,
            Self::Publish => !grants.publish.is_empty(),
            Self::Http => grants.has_http(),
        }
    }

    /// How a deployment grants it, on the command line.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Emit => "--grant emit",
            Self::Schedule => "--grant schedule",
            Self::Publish => "--grant publish=BUS/TOPIC",
            Self::Http => "--http ORIGIN",
        }
    }
}

/// Whether a module that imports these works with SQL tables.
pub(crate) fn has_tables(imports: &[String]) -> bool {
    imports.iter().any(|name| name == sql::NAME)
}

/// The linker of projections and handlers. What differs between two of them is in the store.
pub(crate) fn processors(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = all(engine)?;
    documents::add(&mut linker)?;
    add_sql::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| &mut guest.state)?;
    emit::add(&mut linker)?;
    schedule::add(&mut linker)?;
    publish::add(&mut linker)?;
    wasi::http::add(&mut linker)?;
    Ok(linker)
}

/// The linker of aggregates and upcasters: what modules of every kind are served.
pub(crate) fn all(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
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
        let linkers = [all(&engine).unwrap(), processors(&engine).unwrap()];
        let links = |linker: &Linker<Guest>, name: &str, item: &str| {
            let text = format!(r#"(component (import "{name}" (instance {item})))"#);
            let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
            linker.instantiate_pre(&component).is_ok()
        };
        for (name, item) in UNUSED {
            assert!(served().any(|served| served == (name, Audience::All)), "{name}");
            assert!(linkers.iter().all(|linker| links(linker, name, item)), "{name}");
        }
        let fields = r#"(export "fields" (type (sub resource)))"#;
        let cancel = r#"(export "cancel" (func (param "key" string)))"#;
        let delete = r#"(export "delete" (func (param "collection" string) (param "key" string)))"#;
        for (name, item, audience) in [
            ("wasi:http/types@0.2.12", fields, Audience::Handlers),
            (schedule::NAME, cancel, Audience::Handlers),
            (documents::NAME, delete, Audience::Processors),
        ] {
            assert!(served().any(|served| served == (name, audience)), "{name}");
            assert_eq!(linkers.each_ref().map(|linker| links(linker, name, item)), [false, true], "{name}");
        }
    }

    #[test]
    fn what_has_to_be_granted_is_served_to_handlers_only() {
        let granted = served().filter(|(name, _)| needs(name).is_some()).collect::<Vec<_>>();
        assert_eq!(granted.len(), 4, "{granted:?}");
        assert!(granted.iter().all(|(_, audience)| *audience == Audience::Handlers));
        let grants = Grants { emit: true, ..Grants::default() };
        assert!(Granted::Emit.by(&grants) && !Granted::Schedule.by(&grants) && !Granted::Http.by(&grants));
        assert!(!Granted::Publish.by(&grants));
    }
}
