//! Whether some bytes are a module for this host: errors that name the wrong import or export and how to mend it.

use lantern_core::{Digest, Grants, Kind};
use wasmtime::component::{Component, types::ComponentItem};

use crate::imports::{needs, served};

/// The package a module is built against, and its version.
const PACKAGE: &str = "lantern:module/";
const VERSION: &str = "0.1.0";

/// What the modules of a world export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    /// The functions `describe` and `handle`: a projection or a handler, which is known when it is asked.
    Processor,
    /// The interface `aggregates`.
    Aggregate,
    /// The interface `upcasters`.
    Upcaster,
}

impl World {
    const ALL: [Self; 3] = [Self::Processor, Self::Aggregate, Self::Upcaster];

    /// The functions or the interface it exports, without the package's version.
    fn exports(self) -> &'static [&'static str] {
        match self {
            Self::Processor => &["describe", "handle"],
            Self::Aggregate => &["lantern:module/aggregates"],
            Self::Upcaster => &["lantern:module/upcasters"],
        }
    }

    /// The names of the worlds, for errors.
    pub(crate) fn names(self) -> &'static str {
        match self {
            Self::Processor => "the worlds `lantern:module/projection@0.1.0` and `lantern:module/handler@0.1.0`",
            Self::Aggregate => "the world `lantern:module/aggregate@0.1.0`",
            Self::Upcaster => "the world `lantern:module/upcaster@0.1.0`",
        }
    }

    /// The kind that is served most of those that belong to it.
    fn widest(self) -> Kind {
        match self {
            Self::Processor => Kind::Handler,
            Self::Aggregate => Kind::Aggregate,
            Self::Upcaster => Kind::Upcaster,
        }
    }
}

/// What a component imports and exports, by name.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) world: World,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// Whether some bytes can be a component at all. The error says what they are instead.
pub(crate) fn kind(bytes: &[u8]) -> Result<(), String> {
    let built = "build it with `cargo build --release --target wasm32-wasip2`";
    match bytes {
        [] => Err(format!("it is empty; {built}")),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            Err("it is a core module, not a component; build it with `--target wasm32-wasip2` (a core module of \
                 another target becomes a component by `wasm-tools component new`)"
                .into())
        }
        [b'\0', b'a', b's', b'm', ..] => {
            Err("it is WebAssembly of another version than this host reads, or only the beginning of a file".into())
        }
        _ if is_text(bytes) => Err(format!(
            "it is text: a component in its binary form is needed (`wasm-tools parse` makes it of WAT); {built}"
        )),
        _ => Err(format!("it is no WebAssembly; {built}")),
    }
}

/// Whether a component has what one of the worlds needs, and imports only what the host serves there.
pub(crate) fn shape(component: &Component) -> Result<Shape, String> {
    let ty = component.component_type();
    let imports = ty.imports(component.engine()).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    let callable = |(name, export): (&str, wasmtime::component::types::ComponentExtern<'_>)| {
        let is_callable = matches!(export.ty, ComponentItem::ComponentFunc(_) | ComponentItem::ComponentInstance(_));
        is_callable.then(|| name.to_owned())
    };
    let exports = ty.exports(component.engine()).filter_map(callable).collect::<Vec<_>>();
    if let Some(version) = foreign_version(imports.iter().chain(&exports)) {
        return Err(version);
    }
    match world(&exports) {
        Ok(world) => {
            let wrong = unserved(&imports, world.widest());
            if wrong.is_empty() { Ok(Shape { world, imports, exports }) } else { Err(wrong.join("; ")) }
        }
        Err(reason) => {
            let wrong = [reason].into_iter().chain(unserved(&imports, Kind::Handler)).collect::<Vec<_>>();
            Err(wrong.join("; "))
        }
    }
}

/// Whether a module that turned out to be of a kind imports only what that kind is served.
pub(crate) fn imports(imports: &[String], kind: Kind) -> Result<(), String> {
    let wrong = unserved(imports, kind);
    if wrong.is_empty() { Ok(()) } else { Err(format!("it is {}, and {}", kind.with_article(), wrong.join("; "))) }
}

/// What to say of a module that is deployed as what it is not.
pub(crate) fn other_kind(digest: Digest, kind: Kind) -> String {
    format!("module {} is {}: deploy it with `lantern {kind} deploy`", digest.short(), kind.with_article())
}

/// Whether a deployment grants what a module imports.
pub(crate) fn granted(digest: Digest, imports: &[String], grants: &Grants) -> Result<(), String> {
    let lacks = |name: &String| {
        let need = needs(name).filter(|need| !need.by(grants))?;
        Some(format!("imports `{name}`, which is not granted: deploy it with `{}`", need.option()))
    };
    let lacking = imports.iter().filter_map(lacks).collect::<Vec<_>>();
    if lacking.is_empty() { Ok(()) } else { Err(format!("module {} {}", digest.short(), lacking.join("; it "))) }
}

/// Built against another version of this host's package: everything else follows from it.
fn foreign_version<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut versions = names.filter_map(|name| name.strip_prefix(PACKAGE)?.split_once('@'));
    let (_, version) = versions.find(|(_, version)| *version != VERSION)?;
    Some(format!(
        "it was built for `lantern:module@{version}`, this host serves `lantern:module@{VERSION}`; build it with the SDK of \
         this host's version"
    ))
}

/// The world of a component that exports these.
fn world(exports: &[String]) -> Result<World, String> {
    let bare = |name: &String| name.split_once('@').map_or(name.as_str(), |(name, _)| name).to_owned();
    let exported = exports.iter().map(bare).collect::<Vec<_>>();
    let has = |name: &str| exported.iter().any(|export| export == name);
    let whole = World::ALL.into_iter().filter(|world| world.exports().iter().all(|name| has(name))).collect::<Vec<_>>();
    match whole[..] {
        [world] => Ok(world),
        [] => Err(missing(exports, has)),
        _ => {
            let names = whole.iter().map(|world| world.names()).collect::<Vec<_>>();
            Err(format!("it exports what {} need: divide it into one module for each", names.join(" and ")))
        }
    }
}

/// What is missing for the world a component comes closest to.
fn missing(exports: &[String], has: impl Fn(&str) -> bool) -> String {
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let exports = quoted(&exports.iter().map(String::as_str).collect::<Vec<_>>());
    let exports = if exports.is_empty() { "nothing that can be called".into() } else { exports.join(", ") };
    let [first, second] = ["describe", "handle"];
    if has(first) != has(second) {
        let missing = if has(first) { second } else { first };
        return format!("it does not export `{missing}` of {}; it exports {exports}", World::Processor.names());
    }
    format!(
        "it does not export what a module does: `describe` and `handle` of {}, `lantern:module/aggregates@{VERSION}` of {}, \
         or `lantern:module/upcasters@{VERSION}` of {}; it exports {exports}",
        World::Processor.names(),
        World::Aggregate.names(),
        World::Upcaster.names()
    )
}

/// What is wrong with the imports of a module of a kind.
fn unserved(imports: &[String], kind: Kind) -> Vec<String> {
    imports.iter().filter_map(|name| wrong(name, kind)).collect()
}

/// What is wrong with an import of a module of a kind.
fn wrong(name: &str, kind: Kind) -> Option<String> {
    let track = track(name);
    let fits = |served: &str| served == name || (track.is_some() && self::track(served) == track);
    if let Some((_, audience)) = served().find(|(served, _)| fits(served)) {
        let refused = format!("it imports `{name}`, which the host serves to {} only", audience.as_str());
        return (!audience.includes(kind)).then_some(refused);
    }
    let interface = name.split_once('@').map_or(name, |(interface, _)| interface);
    let other = served().find(|(served, _)| served.split_once('@').is_some_and(|(served, _)| served == interface));
    Some(match other {
        Some((other, _)) => format!("it imports `{name}`, of which the host serves the version `{other}` only"),
        None => format!("it imports `{name}`, which the host does not serve"),
    })
}

/// What two versions of an interface have in common when one can stand for the other, as the linker sees it:
/// `a:b/c@1` or `a:b/c@0.2`. Nothing for `0.0.x` and for versions before a release, which stand only for themselves.
fn track(name: &str) -> Option<(&str, u64, u64)> {
    let (interface, version) = name.split_once('@')?;
    let numbers = version.split('.').map(str::parse::<u64>).collect::<Result<Vec<_>, _>>().ok()?;
    match numbers[..] {
        [0, 0, _] => None,
        [0, minor, _] => Some((interface, 0, minor)),
        [major, _, _] => Some((interface, major, 0)),
        _ => None,
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let beginning = &bytes[..bytes.len().min(512)];
    // A character may be cut in two at the end.
    let text = match str::from_utf8(beginning) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => return true,
        Err(_) => return false,
    };
    text.chars().all(|c| !c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_called_by_its_name() {
        assert!(kind(b"").unwrap_err().contains("empty"));
        assert!(kind(b"\0asm\x01\0\0\0rest").unwrap_err().contains("core module"));
        assert!(kind(b"(component)").unwrap_err().contains("text"));
        assert!(kind("ä".repeat(300).as_bytes()).unwrap_err().contains("text"));
        assert!(kind(b"\x7fELF\x02\x01").unwrap_err().contains("no WebAssembly"));
        assert!(kind(b"\0asm").unwrap_err().contains("beginning"));
        assert_eq!(kind(b"\0asm\x0d\0\x01\0"), Ok(()));
    }

    #[test]
    fn versions_fit_as_the_linker_says() {
        let wrong = |name| wrong(name, Kind::Handler);
        assert_eq!(wrong("wasi:io/poll@0.2.0"), None);
        assert_eq!(wrong("wasi:io/poll@0.2.99"), None);
        assert!(wrong("wasi:io/poll@0.3.0").unwrap().contains("`wasi:io/poll@0.2.12` only"));
        assert!(wrong("wasi:otel/tracing@0.2.0-rc.1").unwrap().contains("wasi:otel/tracing@0.2.0-rc.2"));
        assert!(wrong("wasi:keyvalue/store@0.2.0").unwrap().contains("does not serve"));
        assert_eq!(wrong("wasi:otel/tracing@0.2.0-rc.2"), None);
    }

    #[test]
    fn effects_are_served_to_handlers_only() {
        for name in [
            "lantern:module/emit@0.1.0",
            "lantern:module/schedule@0.1.0",
            "wasi:http/types@0.2.4",
            "wasi:http/outgoing-handler@0.2.0",
        ] {
            assert_eq!(wrong(name, Kind::Handler), None);
            for kind in [Kind::Projection, Kind::Aggregate, Kind::Upcaster] {
                assert!(wrong(name, kind).unwrap().contains("serves to handlers only"), "{name}");
            }
        }
        let documents = "lantern:module/documents@0.1.0";
        assert_eq!(wrong(documents, Kind::Projection), None);
        assert!(wrong(documents, Kind::Aggregate).unwrap().contains("serves to projections and handlers only"));
        let projection = imports(&["lantern:module/emit@0.1.0".to_owned()], Kind::Projection);
        assert!(projection.unwrap_err().starts_with("it is a projection, and it imports"));
    }

    #[test]
    fn what_is_not_granted_is_named_with_its_option() {
        let imports =
            ["lantern:module/emit@0.1.0", "lantern:module/schedule@0.1.0", "wasi:http/outgoing-handler@0.2.4"];
        let imports = imports.map(str::to_owned);
        let digest = Digest::of(b"");
        let refused = granted(digest, &imports, &Grants::default()).unwrap_err();
        for part in [digest.short().as_str(), "`--grant emit`", "`--grant schedule`", "`--http ORIGIN`"] {
            assert!(refused.contains(part), "{refused:?} lacks {part:?}");
        }
        let http = vec!["https://example.com".parse().unwrap()];
        let grants = Grants { emit: true, schedule: true, http, ..Grants::default() };
        assert_eq!(granted(digest, &imports, &grants), Ok(()));
        let refused = granted(digest, &imports, &Grants { schedule: false, ..grants }).unwrap_err();
        assert!(refused.contains("`--grant schedule`") && !refused.contains("emit"), "{refused}");
    }

    #[test]
    fn another_kind_is_sent_to_its_own_command() {
        let digest = Digest::of(b"");
        let refused = other_kind(digest, Kind::Handler);
        assert_eq!(refused, format!("module {} is a handler: deploy it with `lantern handler deploy`", digest.short()));
    }

    #[test]
    fn worlds_are_known_by_their_exports() {
        let world = |exports: &[&str]| world(&exports.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let (aggregates, upcasters) = ("lantern:module/aggregates@0.1.0", "lantern:module/upcasters@0.1.0");
        assert_eq!(world(&["handle", "describe", "more"]), Ok(World::Processor));
        assert_eq!(world(&[aggregates]), Ok(World::Aggregate));
        assert_eq!(world(&[upcasters]), Ok(World::Upcaster));
        assert!(world(&["handle"]).unwrap_err().contains("does not export `describe` of the worlds"));
        assert!(world(&[]).unwrap_err().contains("it exports nothing that can be called"));
        let both = world(&[aggregates, upcasters]).unwrap_err();
        assert!(both.contains("lantern:module/aggregate@0.1.0") && both.contains("divide it"), "{both}");
    }

    #[test]
    fn another_version_of_the_package_is_said_first() {
        let names = ["lantern:module/types@0.2.0".to_owned(), "wasi:http/types@0.2.4".to_owned()];
        assert!(foreign_version(names.iter()).unwrap().contains("built for `lantern:module@0.2.0`"));
        assert_eq!(foreign_version([&"lantern:module/types@0.1.0".to_owned()].into_iter()), None);
    }
}
