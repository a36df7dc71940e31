//! Where the library of a host keeps bytes and records that shares them with nobody: a folder, or the memory of the
//! process.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    Digest, Shelf,
    module::{Kept, LibraryError},
};

/// How the name of a file begins that is still being written.
const WRITING: &str = ".writing-";

/// A shelf in a folder: for each module its bytes (`<digest>.wasm`) and its record (`<digest>.json`).
#[derive(Clone)]
pub(super) struct Folder(Arc<Files>);

struct Files {
    folder: PathBuf,
    records: Mutex<HashMap<Digest, Kept>>,
}

/// A shelf that is gone with the process.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<Digest, (Kept, Bytes)>>);

impl Folder {
    /// Opens a folder and reads its records.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut records = HashMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(WRITING) {
                // Left behind by a host that ended while it wrote.
                fs::remove_file(&path)?;
            } else if name.ends_with(".json") {
                match record(&path) {
                    Ok(record) => drop(records.insert(record.digest, record)),
                    Err(reason) => tracing::warn!(
                        file = %path.display(),
                        reason,
                        "this is no record of a module: the module is not there until it is pushed again"
                    ),
                }
            }
        }
        Ok(Self(Arc::new(Files { folder: folder.into(), records: Mutex::new(records) })))
    }

    /// Does something with files where blocking is allowed.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> Result<T, LibraryError> {
        let files = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&files)).await;
        let done = done.map_err(|error| LibraryError::Unavailable(format!("the work was given up: {error}")))?;
        done.map_err(|error| LibraryError::Unavailable(error.to_string()))
    }
}

impl Files {
    fn path(&self, digest: Digest, ending: &str) -> PathBuf {
        self.folder.join(format!("{digest}.{ending}"))
    }
}

#[async_trait]
impl Shelf for Folder {
    async fn put(&self, kept: &Kept, bytes: &Bytes) -> Result<(), LibraryError> {
        let (kept, bytes) = (kept.clone(), bytes.clone());
        self.with(move |files| {
            write(&files.path(kept.digest, "wasm"), &bytes)?;
            // Last: without its record a module is not there.
            write(&files.path(kept.digest, "json"), &serde_json::to_vec_pretty(&kept)?)?;
            lock(&files.records).insert(kept.digest, kept);
            Ok(())
        })
        .await
    }

    async fn records(&self) -> Result<Vec<Kept>, LibraryError> {
        Ok(lock(&self.0.records).values().cloned().collect())
    }

    async fn record(&self, digest: Digest) -> Result<Option<Kept>, LibraryError> {
        Ok(lock(&self.0.records).get(&digest).cloned())
    }

    async fn bytes(&self, digest: Digest) -> Result<Option<Bytes>, LibraryError> {
        self.with(move |files| {
            let path = files.path(digest, "wasm");
            match fs::read(&path) {
                Ok(bytes) => Ok(Some(Bytes::from(bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(about(&path, &error)),
            }
        })
        .await
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        self.with(move |files| {
            lock(&files.records).remove(&digest);
            remove(&files.path(digest, "json"))?;
            remove(&files.path(digest, "wasm"))
        })
        .await
    }
}

#[async_trait]
impl Shelf for Memory {
    async fn put(&self, kept: &Kept, bytes: &Bytes) -> Result<(), LibraryError> {
        // A copy of its own: the bytes may be a piece of something larger.
        lock(&self.0).insert(kept.digest, (kept.clone(), Bytes::copy_from_slice(bytes)));
        Ok(())
    }

    async fn records(&self) -> Result<Vec<Kept>, LibraryError> {
        Ok(lock(&self.0).values().map(|(kept, _)| kept.clone()).collect())
    }

    async fn record(&self, digest: Digest) -> Result<Option<Kept>, LibraryError> {
        Ok(lock(&self.0).get(&digest).map(|(kept, _)| kept.clone()))
    }

    async fn bytes(&self, digest: Digest) -> Result<Option<Bytes>, LibraryError> {
        Ok(lock(&self.0).get(&digest).map(|(_, bytes)| bytes.clone()))
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        lock(&self.0).remove(&digest);
        Ok(())
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is a single insertion or removal, so a panic leaves nothing half-changed.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
