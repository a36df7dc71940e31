//! The library: what it keeps, what it makes again, and what it says of files it cannot read.

use std::{fs, path::Path, sync::Arc};

use lantern_core::{
    Clock, Digest, Library as _, SystemClock,
    module::{Described, LibraryError},
};
use lantern_modules::Library;
use tempfile::TempDir;

use crate::support::{event, guest, handle, settings, unknown};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn open(folder: &TempDir) -> Library {
    Library::open(folder.path().join("modules"), clock()).unwrap()
}

/// The files of the library whose names end so.
fn files(folder: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found
}

async fn works(library: &Library, digest: Digest) -> bool {
    let module = library.load(digest, &settings()).await.unwrap();
    handle(&mut module.instance(), &event(1, r#"{"amount":1}"#)).result.is_ok()
}

#[tokio::test]
async fn a_module_is_kept_with_what_it_is() {
    let folder = TempDir::new().unwrap();
    let library = open(&folder);
    let bytes = guest("counter");
    let kept = library.push(bytes.clone()).await.unwrap();
    assert_eq!((kept.digest, kept.size), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!((kept.description.name(), kept.world.as_str()), ("counter", "projection"));
    let Described::Projection(description) = &kept.description else { panic!("{:?}", kept.description) };
    assert_eq!(description.collections, ["counts"]);
    assert!(kept.imports.contains(&"lantern:module/documents@0.1.0".into()), "{:?}", kept.imports);
    assert!(kept.exports.contains(&"describe".into()) && kept.exports.contains(&"handle".into()), "{:?}", kept.exports);
    assert_eq!(library.inspect(kept.digest).await.unwrap(), kept);
    assert!(works(&library, kept.digest).await);
}

#[tokio::test]
async fn a_library_that_is_opened_again_has_the_same_modules_oldest_first() {
    let folder = TempDir::new().unwrap();
    let library = open(&folder);
    let mut pushed = Vec::new();
    for package in ["poison", "counter", "empty"] {
        pushed.push(library.push(guest(package)).await.unwrap());
    }
    drop(library);
    let library = open(&folder);
    assert_eq!(library.list().await.unwrap(), pushed);
    assert!(works(&library, pushed[1].digest).await);
}

#[tokio::test]
async fn pushing_again_changes_nothing_also_at_the_same_time() {
    let folder = TempDir::new().unwrap();
    let library = open(&folder);
    let pushes = (0..4).map(|_| {
        let library = library.clone();
        tokio::spawn(async move { library.push(guest("counter")).await.unwrap() })
    });
    let mut kept = Vec::new();
    for push in pushes.collect::<Vec<_>>() {
        kept.push(push.await.unwrap());
    }
    assert!(kept.iter().all(|other| *other == kept[0]));
    assert_eq!(library.list().await.unwrap().len(), 1);
    assert!(files(folder.path(), "").iter().all(|path| !path.to_string_lossy().contains(".writing-")));
}

#[tokio::test]
async fn damaged_compiled_code_is_compiled_again() {
    let folder = TempDir::new().unwrap();
    let digest = open(&folder).push(guest("counter")).await.unwrap().digest;
    let [code] = &files(folder.path(), ".cwasm")[..] else { panic!("one file of compiled code") };
    let whole = fs::read(code).unwrap();
    for damaged in [&[][..], &whole[..whole.len() / 2], b"no code at all", &[&whole[..whole.len() - 1], b"?"].concat()]
    {
        // Not in place: this process may still have the old code mapped.
        fs::remove_file(code).unwrap();
        fs::write(code, damaged).unwrap();
        assert!(works(&open(&folder), digest).await);
        assert_eq!(Digest::of(&fs::read(code).unwrap()), Digest::of(&whole), "what is there now is whole");
    }
    fs::remove_dir_all(folder.path().join("modules/cache")).unwrap();
    assert!(works(&open(&folder), digest).await);
}

#[tokio::test]
async fn damaged_bytes_are_noticed_and_mended_by_pushing_again() {
    let folder = TempDir::new().unwrap();
    let digest = open(&folder).push(guest("counter")).await.unwrap().digest;
    fs::remove_dir_all(folder.path().join("modules/cache")).unwrap();
    fs::write(&files(folder.path(), ".wasm")[0], b"damaged").unwrap();
    let library = open(&folder);
    let Err(LibraryError::Unavailable(reason)) = library.load(digest, &settings()).await.map(|_| ()) else {
        panic!("loaded from damaged bytes")
    };
    assert!(reason.contains("damaged: push it again"), "{reason}");
    library.push(guest("counter")).await.unwrap();
    assert!(works(&library, digest).await);
}

#[tokio::test]
async fn a_removed_module_is_gone_with_its_files() {
    let folder = TempDir::new().unwrap();
    let library = open(&folder);
    let digest = library.push(guest("counter")).await.unwrap().digest;
    let in_use = library.load(digest, &settings()).await.unwrap();
    library.remove(digest).await.unwrap();
    assert_eq!(library.inspect(digest).await, Err(LibraryError::Unknown(digest)));
    assert_eq!(library.load(digest, &settings()).await.map(|_| ()), Err(LibraryError::Unknown(digest)));
    assert_eq!(library.remove(digest).await, Err(LibraryError::Unknown(digest)));
    assert_eq!(files(folder.path(), ""), Vec::<std::path::PathBuf>::new());
    assert!(handle(&mut in_use.instance(), &event(1, r#"{"amount":1}"#)).result.is_ok(), "who uses it keeps it");
}

#[tokio::test]
async fn files_that_cannot_be_read_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let kept = open(&folder).push(guest("counter")).await.unwrap();
    let modules = folder.path().join("modules");
    fs::write(modules.join("notes.json"), "{}").unwrap();
    fs::write(modules.join("README"), "mine").unwrap();
    fs::write(modules.join(".writing-abc"), "half").unwrap();
    fs::create_dir(modules.join("cache/0123456789abcdef")).unwrap();
    let moved = files(&modules, &format!("{}.json", kept.digest)).remove(0);
    fs::copy(&moved, modules.join(format!("{}.json", unknown()))).unwrap();
    let library = open(&folder);
    assert_eq!(library.list().await.unwrap(), [kept]);
    assert!(modules.join("notes.json").is_file() && modules.join("README").is_file());
    assert!(!modules.join(".writing-abc").exists(), "what a host left half written goes");
    assert!(!modules.join("cache/0123456789abcdef").exists(), "the compiled code of another engine goes");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("modules"), "a file").unwrap();
    let error = Library::open(folder.path().join("modules"), clock()).err().unwrap().to_string();
    assert!(error.contains("modules") && error.contains("cannot be used"), "{error}");
}

#[tokio::test]
async fn a_library_in_memory_works_without_a_folder() {
    let library = Library::in_memory(clock()).unwrap();
    let digest = library.push(guest("counter")).await.unwrap().digest;
    assert!(works(&library, digest).await);
    library.remove(digest).await.unwrap();
    assert_eq!(library.list().await.unwrap(), []);
}
