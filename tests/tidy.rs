//! The rules of the repository: what every file begins with, who may use whom, and that names match.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use crate::support::artefacts::repository;

/// All files of the repository with one of the extensions; build output and hidden folders are passed over.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![repository().to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                let passed_over = name.starts_with('.')
                    || path.join("CACHEDIR.TAG").exists()
                    || name == "target"
                    || name == "lantern-data";
                folders.extend((!passed_over).then_some(path));
            } else if path.extension().and_then(OsStr::to_str).is_some_and(|it| extensions.contains(&it)) {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 5, "no files found: {extensions:?}");
    files
}

fn shown(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

#[test]
fn every_rust_file_says_first_what_lives_in_it() {
    let silent: Vec<_> = files(&["rs"])
        .into_iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! "))
        .map(|path| shown(&path))
        .collect();
    assert!(silent.is_empty(), "the first line is to begin with `//! `: {silent:#?}");
}

#[test]
fn nothing_is_put_off() {
    // Written apart, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let mut found = Vec::new();
    for path in files(&["rs", "toml", "wit", "md", "py"]) {
        for (line, text) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            if marks.iter().any(|mark| text.contains(mark.as_str())) {
                found.push(format!("{}:{}: {}", shown(&path), line + 1, text.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_imported_interface_has_a_file_of_its_name() {
    let world = fs::read_to_string(repository().join("wit/world.wit")).unwrap();
    let interfaces: BTreeSet<String> = world
        .lines()
        .filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'))
        .map(|name| name.split('@').next().unwrap().rsplit('/').next().unwrap().replace('-', "_"))
        .collect();
    assert!(interfaces.contains("documents"), "{interfaces:?}");
    let imports = fs::read_dir(repository().join("host/modules/src/imports")).unwrap();
    let files: BTreeSet<String> = imports
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        // `mod` names the others, and `wasi` holds the WASI that every guest's standard library needs.
        .filter(|name| name != "mod" && name != "wasi")
        .collect();
    assert_eq!(files, interfaces, "files of host/modules/src/imports and imports of wit/world.wit");
}

/// Who may use which crate of the workspace, and which outside crates are never used there (design, section 3).
const FLOORS: [(&str, &[&str], &[&str]); 9] = [
    ("lantern-core", &[], &["wasmtime", "wasmtime-wasi", "rusqlite", "sqlx", "opentelemetry", "axum", "reqwest"]),
    ("lantern-stores", &["lantern-core"], &["wasmtime", "opentelemetry", "axum", "reqwest"]),
    ("lantern-buses", &["lantern-core"], &["wasmtime", "rusqlite", "sqlx", "opentelemetry", "axum", "reqwest"]),
    ("lantern-modules", &["lantern-core"], &["rusqlite", "sqlx", "opentelemetry", "axum", "reqwest"]),
    ("lantern-processors", &["lantern-core"], &["wasmtime", "rusqlite", "sqlx", "opentelemetry", "axum", "reqwest"]),
    ("lantern-aggregates", &["lantern-core"], &["wasmtime", "rusqlite", "sqlx", "opentelemetry", "axum", "reqwest"]),
    ("lantern-upcasters", &["lantern-core"], &["wasmtime", "rusqlite", "sqlx", "opentelemetry", "axum", "reqwest"]),
    ("lantern-telemetry", &["lantern-core"], &["wasmtime", "rusqlite", "sqlx"]),
    ("lantern-tests", &[], &["wasmtime", "rusqlite", "sqlx"]),
];

#[test]
fn crates_use_only_what_stands_below_them() {
    let manifests = manifests();
    for (name, may_use, never) in FLOORS {
        let dependencies = dependencies(&manifests[name], &["dependencies", "build-dependencies"]);
        for dependency in &dependencies {
            let outside = !dependency.starts_with("lantern");
            assert!(outside || may_use.contains(&dependency.as_str()), "{name} uses {dependency}");
            assert!(!never.contains(&dependency.as_str()), "{name} uses {dependency}");
        }
    }
    // What stands on the log is tested on the memory store; no other sibling knows another one, not even in its tests.
    for (name, may_use, never) in FLOORS {
        for dependency in dependencies(&manifests[name], &["dev-dependencies"]) {
            let stands_on_the_log = ["lantern-processors", "lantern-aggregates", "lantern-upcasters"].contains(&name);
            let store_in_tests = stands_on_the_log && dependency == "lantern-stores";
            // Routes are tried on the bus in memory.
            let bus_in_tests = name == "lantern-processors" && dependency == "lantern-buses";
            let below = may_use.contains(&dependency.as_str()) || store_in_tests || bus_in_tests;
            assert!(!dependency.starts_with("lantern") || below, "the tests of {name} use {dependency}");
            // A guest that sends requests is tried against a real server.
            let server_in_tests = name == "lantern-modules" && dependency == "axum";
            let allowed = server_in_tests || !never.contains(&dependency.as_str());
            assert!(allowed, "the tests of {name} use {dependency}");
        }
    }
}

#[test]
fn nobody_uses_the_binary_and_guests_use_nothing_of_the_host() {
    for (name, manifest) in manifests() {
        let dependencies = dependencies(&manifest, &["dependencies", "dev-dependencies", "build-dependencies"]);
        assert!(!dependencies.contains("lantern"), "{name} uses the binary's crate");
        let guest =
            ["guests", "examples"].iter().any(|folder| manifest.components().any(|it| it.as_os_str() == *folder));
        if guest {
            let of_guests = ["lantern-guest", "lantern-testing"];
            let engine = ["lantern-core", "lantern-modules"];
            let host: Vec<_> = dependencies
                .iter()
                .filter(|it| it.starts_with("lantern") && !of_guests.contains(&it.as_str()))
                // Users' tests may run the compiled component, which takes the engine.
                .filter(|it| name != "lantern-testing" || !engine.contains(&it.as_str()))
                .collect();
            assert!(host.is_empty(), "{name} is a guest and uses {host:?}");
        }
    }
}

/// The manifest of every package, by its name.
fn manifests() -> BTreeMap<String, PathBuf> {
    let manifests = files(&["toml"]).into_iter().filter(|path| path.ends_with("Cargo.toml"));
    manifests
        .filter_map(|path| {
            let manifest = parsed(&path);
            Some((manifest.get("package")?.get("name")?.as_str()?.to_owned(), path))
        })
        .collect()
}

fn parsed(manifest: &Path) -> toml::Table {
    fs::read_to_string(manifest).unwrap().parse().unwrap()
}

fn dependencies(manifest: &Path, sections: &[&str]) -> BTreeSet<String> {
    let manifest = parsed(manifest);
    let tables = sections.iter().filter_map(|section| manifest.get(*section)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}
