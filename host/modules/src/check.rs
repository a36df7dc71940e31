//! Whether some bytes are a module for this host: errors that name the wrong import or export and how to mend it.

use std::collections::HashSet;

use lantern_core::module::Description;
use wasmtime::component::{Component, types::ComponentItem};

use crate::imports::served;

/// The package a module is built against, and its version.
const PACKAGE: &str = "lantern:module/";
const VERSION: &str = "0.1.0";

/// The functions a projection exports.
const EXPORTS: [&str; 2] = ["describe", "handle"];

/// The longest name of a module, its version, a category or a collection, in bytes.
const NAME: usize = 64;

/// The most collections a module may declare.
const COLLECTIONS: usize = 64;

/// The most categories, and the most event types, a module may want by name.
const WANTED: usize = 1_000;

/// What a component imports and exports, by name.
#[derive(Debug)]
pub(crate) struct Shape {
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

/// Whether a component has what a projection needs, and imports only what the host serves.
pub(crate) fn shape(component: &Component) -> Result<Shape, String> {
    let ty = component.component_type();
    let imports = ty.imports(component.engine()).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    let functions = |(name, export): (&str, wasmtime::component::types::ComponentExtern<'_>)| {
        matches!(export.ty, ComponentItem::ComponentFunc(_)).then(|| name.to_owned())
    };
    let exports = ty.exports(component.engine()).filter_map(functions).collect::<Vec<_>>();
    let mut wrong = foreign_version(&imports).into_iter().collect::<Vec<_>>();
    if wrong.is_empty() {
        wrong.extend(missing(&exports));
        wrong.extend(imports.iter().filter_map(|name| unserved(name)));
    }
    if wrong.is_empty() { Ok(Shape { imports, exports }) } else { Err(wrong.join("; ")) }
}

/// Built against another version of this host's package: everything else follows from it.
fn foreign_version(imports: &[String]) -> Option<String> {
    let versions = imports.iter().filter_map(|name| name.strip_prefix(PACKAGE)?.split_once('@'));
    let (_, version) = versions.into_iter().find(|(_, version)| *version != VERSION)?;
    Some(format!(
        "it was built for `lantern:module@{version}`, this host serves `lantern:module@{VERSION}`; build it with the SDK of \
         this host's version"
    ))
}

fn missing(exports: &[String]) -> Option<String> {
    let missing = EXPORTS.into_iter().filter(|name| !exports.iter().any(|export| export == name));
    let missing = missing.map(|name| format!("`{name}`")).collect::<Vec<_>>();
    if missing.is_empty() {
        return None;
    }
    let exports = exports.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let has = if exports.is_empty() { "no function".into() } else { exports.join(", ") };
    Some(format!(
        "it does not export {} of the world `lantern:module/projection@{VERSION}`; it exports {has}",
        missing.join(" and ")
    ))
}

/// What is wrong with an import that the host does not serve.
fn unserved(name: &str) -> Option<String> {
    let track = track(name);
    if served().any(|served| served == name || (track.is_some() && self::track(served) == track)) {
        return None;
    }
    let interface = name.split_once('@').map_or(name, |(interface, _)| interface);
    let other = served().find(|served| served.split_once('@').is_some_and(|(served, _)| served == interface));
    Some(match other {
        Some(other) => format!("it imports `{name}`, of which the host serves the version `{other}` only"),
        None => format!("it imports `{name}`, which the host does not serve to projections"),
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

/// Whether what a module says of itself can be used.
pub(crate) fn description(description: &Description) -> Result<(), String> {
    let Description { name, version, categories, event_types, collections } = description;
    let fits = |text: &str, most: usize| !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control);
    if !fits(name, NAME) {
        return Err(format!(
            "`describe` gives the name {name:?}: 1 to {NAME} bytes without control characters are needed"
        ));
    }
    if !fits(version, NAME) {
        return Err(format!(
            "`describe` gives the version {version:?}: 1 to {NAME} bytes without control characters are needed"
        ));
    }
    if collections.len() > COLLECTIONS {
        return Err(format!("`describe` gives {} collections: at most {COLLECTIONS} are allowed", collections.len()));
    }
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    if let Some(bad) = collections.iter().find(|name| !fits(name, NAME) || !name.bytes().all(is_plain)) {
        return Err(format!(
            "`describe` gives the collection {bad:?}: 1 to {NAME} of `a-z`, `0-9`, `_`, `.` and `-` are needed"
        ));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = collections.iter().find(|name| !seen.insert(*name)) {
        return Err(format!("`describe` gives the collection `{twice}` twice"));
    }
    if categories.len() > WANTED || event_types.len() > WANTED {
        return Err(format!(
            "`describe` wants {} categories and {} event types by name: at most {WANTED} of each are allowed; an empty list \
             wants all",
            categories.len(),
            event_types.len()
        ));
    }
    let is_category = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    if let Some(bad) = categories.iter().find(|name| !fits(name, 256) || !name.bytes().all(is_category)) {
        return Err(format!(
            "`describe` wants the category {bad:?}: a category consists of letters, digits, `_` and `.`"
        ));
    }
    if let Some(bad) = event_types.iter().find(|name| !fits(name, 256)) {
        return Err(format!(
            "`describe` wants the event type {bad:?}: 1 to 256 bytes without control characters are needed"
        ));
    }
    Ok(())
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
        assert_eq!(unserved("wasi:io/poll@0.2.0"), None);
        assert_eq!(unserved("wasi:io/poll@0.2.99"), None);
        assert!(unserved("wasi:io/poll@0.3.0").unwrap().contains("`wasi:io/poll@0.2.12` only"));
        assert!(unserved("wasi:otel/tracing@0.2.0-rc.1").unwrap().contains("wasi:otel/tracing@0.2.0-rc.2"));
        assert!(unserved("wasi:http/types@0.2.4").unwrap().contains("does not serve"));
        assert_eq!(unserved("wasi:otel/tracing@0.2.0-rc.2"), None);
    }

    #[test]
    fn another_version_of_the_package_is_said_first() {
        let imports = ["lantern:module/types@0.2.0".to_owned(), "wasi:http/types@0.2.4".to_owned()];
        assert!(foreign_version(&imports).unwrap().contains("built for `lantern:module@0.2.0`"));
        assert_eq!(foreign_version(&["lantern:module/types@0.1.0".to_owned()]), None);
    }

    fn described(change: impl FnOnce(&mut Description)) -> Result<(), String> {
        let mut good = Description {
            name: "orders".into(),
            version: "1.0.0".into(),
            categories: vec!["Order".into()],
            event_types: vec!["OrderPlaced".into()],
            collections: vec!["by-day".into(), "totals".into()],
        };
        change(&mut good);
        description(&good)
    }

    #[test]
    fn a_description_that_cannot_be_used_is_refused() {
        assert_eq!(described(|_| ()), Ok(()));
        assert!(described(|bad| bad.name.clear()).unwrap_err().contains("name"));
        assert!(described(|bad| bad.version = "1\n".into()).unwrap_err().contains("version"));
        assert!(described(|bad| bad.collections[0] = "By Day".into()).unwrap_err().contains("\"By Day\""));
        assert!(described(|bad| bad.collections[1] = "by-day".into()).unwrap_err().contains("twice"));
        assert!(described(|bad| bad.collections = vec![String::new(); 65]).unwrap_err().contains("65"));
        assert!(described(|bad| bad.categories[0] = "a-b".into()).unwrap_err().contains("\"a-b\""));
        assert!(described(|bad| bad.event_types[0] = "x".repeat(257)).unwrap_err().contains("256"));
        assert!(described(|bad| bad.event_types = vec!["x".into(); 1_001]).unwrap_err().contains("1001"));
    }
}
