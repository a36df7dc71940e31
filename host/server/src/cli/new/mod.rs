//! `lantern new`: a project for a module, with a test. Needs no host.

mod names;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use lantern_core::{Kind, Name};
use serde_json::json;
use toml::Value;

use super::{
    failure::{Exit, Failure},
    output::Output,
};
use names::Names;

const MANIFEST: &str = include_str!("templates/Cargo.toml.txt");
const GITIGNORE: &str = include_str!("templates/gitignore.txt");

/// Make a project for a module.
#[derive(Debug, Args)]
pub(super) struct New {
    /// What it is for.
    #[arg(value_enum)]
    kind: KindName,
    /// The name it is to be deployed under.
    name: Name,
    /// The folder of the project; the name, in the folder you are in, when it is not given.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// The folder `guests` of a checkout of Lantern, from which the SDK is taken; published crates when it is not given.
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

/// What a module is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindName {
    /// From events to documents.
    Projection,
    /// From events to effects.
    Handler,
    /// From a command and a state to events.
    Aggregate,
    /// From an older form of an event to a newer one.
    Upcaster,
}

impl KindName {
    fn kind(self) -> Kind {
        match self {
            Self::Projection => Kind::Projection,
            Self::Handler => Kind::Handler,
            Self::Aggregate => Kind::Aggregate,
            Self::Upcaster => Kind::Upcaster,
        }
    }
}

/// The templates of `src/lib.rs` and `README.md`.
fn templates(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Projection => {
            (include_str!("templates/projection/lib.rs.txt"), include_str!("templates/projection/README.md.txt"))
        }
        Kind::Handler => {
            (include_str!("templates/handler/lib.rs.txt"), include_str!("templates/handler/README.md.txt"))
        }
        Kind::Aggregate => {
            (include_str!("templates/aggregate/lib.rs.txt"), include_str!("templates/aggregate/README.md.txt"))
        }
        Kind::Upcaster => {
            (include_str!("templates/upcaster/lib.rs.txt"), include_str!("templates/upcaster/README.md.txt"))
        }
    }
}

impl New {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let (kind, name) = (self.kind.kind(), &self.name);
        let names = Names::of(kind, name).map_err(Failure::usage)?;
        let sdk = self.sdk.as_deref().map(checked).transpose()?;
        let folder = self.path.unwrap_or_else(|| names.package.clone().into());
        let files = files(kind, name, &names, sdk.as_deref());
        write(&folder, &files)?;
        let written: Vec<_> = files.iter().map(|(file, _)| file).collect();
        let done = json!({ "kind": kind, "name": name, "path": folder, "files": written });
        let hint = if sdk.is_some() { "" } else { PUBLISHED };
        output.done(&done, told(kind, name, &names, &folder) + hint)
    }
}

/// The folder of the SDK as a path that does not depend on where one stands.
fn checked(sdk: &Path) -> Result<PathBuf, Failure> {
    let is_there = ["rust", "testing"].iter().all(|part| sdk.join(part).join("Cargo.toml").is_file());
    if !is_there {
        let sdk = sdk.display();
        return Err(Failure::usage(format!(
            "--sdk {sdk} holds no SDK: name the folder `guests` of a checkout of Lantern, which has `rust` and `testing`"
        )));
    }
    sdk.canonicalize().map_err(|error| Failure::failed(format!("{} cannot be found: {error}", sdk.display())))
}

/// The files of the project and what is in them.
fn files(kind: Kind, name: &Name, names: &Names, sdk: Option<&Path>) -> Vec<(&'static str, String)> {
    let (source, readme) = templates(kind);
    let (guest, testing) = (dependency(sdk, "rust"), dependency(sdk, "testing"));
    let filled = |template: &str| {
        let places = [
            ("{{package}}", &*names.package),
            ("{{crate}}", &names.krate),
            ("{{type}}", &names.module_type),
            ("{{name}}", name.as_str()),
            ("{{guest}}", &guest),
            ("{{testing}}", &testing),
        ];
        places.iter().fold(template.to_owned(), |text, (place, value)| text.replace(place, value))
    };
    vec![
        ("Cargo.toml", filled(MANIFEST)),
        (".gitignore", filled(GITIGNORE)),
        ("README.md", filled(readme)),
        ("src/lib.rs", filled(source)),
    ]
}

/// How the manifest names a part of the SDK.
fn dependency(sdk: Option<&Path>, part: &str) -> String {
    match sdk {
        Some(sdk) => {
            let path = Value::String(sdk.join(part).display().to_string());
            format!("{{ path = {path} }}")
        }
        None => Value::String(env!("CARGO_PKG_VERSION").into()).to_string(),
    }
}

/// Writes a project into a folder that has nothing in it.
fn write(folder: &Path, files: &[(&str, String)]) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: &io::Error| Failure::failed(format!("{} cannot be written: {error}", path.display()));
    let is_free = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        let detail = format!("{} is there and not empty: name another folder with --path", folder.display());
        return Err(Failure::new(Exit::Conflict, "exists", detail));
    }
    let source = folder.join("src");
    fs::create_dir_all(&source).map_err(|error| failed(&source, &error))?;
    for (file, text) in files {
        let path = folder.join(file);
        fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// Said where the SDK is not taken from a checkout.
const PUBLISHED: &str =
    "\nits Cargo.toml names the SDK's published crates; with `--sdk PATH` it takes them from a checkout";

/// What to do next.
fn told(kind: Kind, name: &Name, names: &Names, folder: &Path) -> String {
    let Names { krate, .. } = names;
    // What the template of a handler does must be granted.
    let grants = if kind == Kind::Handler { " --grant emit --grant schedule" } else { "" };
    format!(
        "{kind} {name} begins in {}; next:\n\
         \x20 cd {}\n\
         \x20 cargo test\n\
         \x20 cargo build --release --target wasm32-wasip2\n\
         \x20 lantern {kind} deploy {name} --module target/wasm32-wasip2/release/{krate}.wasm{grants}\n\
         its README.md says more",
        folder.join("src/lib.rs").display(),
        folder.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [KindName; 4] = [KindName::Projection, KindName::Handler, KindName::Aggregate, KindName::Upcaster];

    fn new(kind: KindName, path: PathBuf, sdk: Option<PathBuf>) -> Result<(), Failure> {
        New { kind, name: "Work2".parse().unwrap(), path: Some(path), sdk }.run(Output { json: true })
    }

    #[test]
    fn every_kind_has_a_whole_project() {
        let folder = tempfile::tempdir().unwrap();
        for kind in ALL {
            let path = folder.path().join(kind.kind().as_str());
            new(kind, path.clone(), None).unwrap();
            let read = |file: &str| fs::read_to_string(path.join(file)).unwrap();
            let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
            assert_eq!(manifest["package"]["name"].as_str(), Some("work2"));
            assert!(manifest["dependencies"]["lantern-guest"].is_str());
            assert!(read("README.md").contains("release/work2.wasm"));
            let source = read("src/lib.rs");
            assert!(source.contains("\"Work2\"") && source.contains("#[cfg(test)]"), "{source}");
            for file in ["Cargo.toml", ".gitignore", "README.md", "src/lib.rs"] {
                assert!(!read(file).contains("{{"), "{file}");
            }
        }
    }

    #[test]
    fn the_sdk_of_a_checkout_is_named_by_its_whole_path() {
        let folder = tempfile::tempdir().unwrap();
        let sdk = folder.path().join("guests \"1\"");
        for part in ["rust", "testing"] {
            fs::create_dir_all(sdk.join(part)).unwrap();
            fs::write(sdk.join(part).join("Cargo.toml"), "").unwrap();
        }
        let path = folder.path().join("project");
        new(KindName::Handler, path.clone(), Some(sdk.clone())).unwrap();
        let manifest: toml::Table = fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap();
        let expected = sdk.canonicalize().unwrap().join("rust");
        assert_eq!(manifest["dependencies"]["lantern-guest"]["path"].as_str(), expected.to_str());
        let elsewhere = new(KindName::Handler, folder.path().join("other"), Some(folder.path().into()));
        assert_eq!(elsewhere.unwrap_err().exit, Exit::Usage);
        assert!(!folder.path().join("other").exists());
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        new(KindName::Upcaster, folder.path().into(), None).unwrap();
        let source = folder.path().join("src/lib.rs");
        fs::write(&source, "mine").unwrap();
        let again = new(KindName::Projection, folder.path().into(), None).unwrap_err();
        assert_eq!(again.exit, Exit::Conflict);
        assert_eq!(fs::read_to_string(&source).unwrap(), "mine");
    }
}
