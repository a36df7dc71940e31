//! Where the library keeps bytes and records: a folder, or the memory of the process.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use lantern_core::{Digest, module::Kept};
use wasmtime::{Engine, component::Component};

use super::cache::Cache;

/// How the name of a file begins that is still being written.
const WRITING: &str = ".writing-";

/// Where bytes and records are.
pub(super) enum Shelf {
    Folder { folder: PathBuf, cache: Cache },
    Memory(Mutex<HashMap<Digest, Bytes>>),
}

impl Shelf {
    /// Opens a folder and reads its records.
    pub(super) fn open(folder: &Path, engine: &Engine) -> io::Result<(Self, Vec<Kept>)> {
        fs::create_dir_all(folder)?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(WRITING) {
                // Left behind by a host that ended while it wrote.
                fs::remove_file(&path)?;
            } else if name.ends_with(".json") {
                match record(&path) {
                    Ok(record) => kept.push(record),
                    Err(reason) => tracing::warn!(
                        file = %path.display(),
                        reason,
                        "this is no record of a module: the module is not there until it is pushed again"
                    ),
                }
            }
        }
        let cache = Cache::open(&folder.join("cache"), engine)?;
        Ok((Self::Folder { folder: folder.into(), cache }, kept))
    }

    /// A shelf that is gone with the process.
    pub(super) fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// Keeps a module. The record is written last: without it, the module is not there.
    pub(super) fn put(&self, kept: &Kept, bytes: &Bytes) -> io::Result<()> {
        match self {
            Self::Folder { folder, .. } => {
                write(&folder.join(format!("{}.wasm", kept.digest)), bytes)?;
                write(&folder.join(format!("{}.json", kept.digest)), &serde_json::to_vec_pretty(kept)?)
            }
            Self::Memory(modules) => {
                // A copy of its own: the bytes may be a piece of something larger.
                lock(modules).insert(kept.digest, Bytes::copy_from_slice(bytes));
                Ok(())
            }
        }
    }

    /// Whether the bytes of a module are here and whole.
    pub(super) fn holds(&self, digest: Digest) -> bool {
        self.bytes(digest).is_ok_and(|bytes| Digest::of(&bytes) == digest)
    }

    /// The bytes of a module, unchecked.
    pub(super) fn bytes(&self, digest: Digest) -> io::Result<Bytes> {
        match self {
            Self::Folder { folder, .. } => {
                let path = folder.join(format!("{digest}.wasm"));
                fs::read(&path).map(Bytes::from).map_err(|error| about(&path, &error))
            }
            Self::Memory(modules) => lock(modules).get(&digest).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }

    /// The compiled code of a module, where it is here and whole.
    pub(super) fn compiled(&self, digest: Digest, engine: &Engine) -> Option<Component> {
        match self {
            Self::Folder { cache, .. } => cache.get(digest, engine),
            Self::Memory(_) => None,
        }
    }

    /// Keeps the compiled code of a module. That it cannot be kept costs time at the next start and nothing else.
    pub(super) fn put_compiled(&self, digest: Digest, component: &Component) {
        if let Self::Folder { cache, .. } = self
            && let Err(error) = cache.put(digest, component)
        {
            tracing::warn!(module = %digest, %error, "the compiled code cannot be kept: the next start compiles again");
        }
    }

    /// Removes a module, its record first.
    pub(super) fn remove(&self, digest: Digest) -> io::Result<()> {
        match self {
            Self::Folder { folder, cache } => {
                remove(&folder.join(format!("{digest}.json")))?;
                remove(&folder.join(format!("{digest}.wasm")))?;
                cache.remove(digest)
            }
            Self::Memory(modules) => {
                lock(modules).remove(&digest);
                Ok(())
            }
        }
    }
}

/// Reads a record; the error says what is wrong with it.
fn record(path: &Path) -> Result<Kept, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let kept: Kept = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    if name != kept.digest.to_string() {
        return Err(format!("it is the record of module {}", kept.digest));
    }
    if !path.with_extension("wasm").is_file() {
        return Err("the file with the module's bytes is missing".into());
    }
    Ok(kept)
}

/// Writes a file so that it is there whole or not at all, also after the power failed.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Every file of the library lies in a folder of it.
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().prefix(WRITING).tempfile_in(folder).map_err(|error| about(folder, &error))?;
    file.write_all(bytes).map_err(|error| about(path, &error))?;
    file.as_file().sync_all().map_err(|error| about(path, &error))?;
    file.persist(path).map_err(|error| about(path, &error.error))?;
    // The name is in the folder, which has to be on disk as well.
    File::open(folder)?.sync_all()
}

/// Removes a file; one that is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(about(path, &error)),
        _ => Ok(()),
    }
}

/// The same error, which says which file it is about.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn lock(modules: &Mutex<HashMap<Digest, Bytes>>) -> MutexGuard<'_, HashMap<Digest, Bytes>> {
    modules.lock().unwrap_or_else(PoisonError::into_inner)
}
