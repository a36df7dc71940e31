//! The modules of a host, by the digest of their bytes: pushed once, compiled once, loaded as often as needed.

mod cache;
mod recent;
mod shelf;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use lantern_core::{
    AggregateModule, Clock, Digest, Module,
    module::{Described, Kept, LibraryError, Settings},
    upcasting::UpcasterModule,
};
use wasmtime::component::Component;

use self::{recent::Recent, shelf::Shelf};
use crate::{
    aggregate::WasmAggregate,
    check::{self, Shape},
    compile::Compiler,
    processor::WasmProcessor,
    ready::{Pre, Ready},
    state::Deployment,
    upcaster::WasmUpcaster,
};

/// The modules of a host.
///
/// A folder holds for each module its bytes (`<digest>.wasm`) and its record (`<digest>.json`), and below `cache` the
/// compiled code, which may be deleted at any time. Cheap to clone; all clones are the same library.
#[derive(Clone)]
pub struct Library {
    shared: Arc<Shared>,
    // Compiling uses all processors by itself, so that one module at a time is soonest done.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Shared {
    compiler: Compiler,
    shelf: Shelf,
    // Oldest first.
    kept: Mutex<Vec<Kept>>,
    recent: Mutex<Recent>,
}

/// Why a library could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("the module folder {path} cannot be used: {reason}; make it readable and writable for this user")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The engine does not start on this machine.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
}

impl Library {
    /// Opens the library of a folder; one that is not there is created. Files in it that cannot be read are named in a
    /// warning and left alone.
    pub fn open(folder: PathBuf, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let compiler = Compiler::start(clock).map_err(|error| OpenError::Engine(format!("{error:#}")))?;
        let opened = Shelf::open(&folder, &compiler.engine);
        let (shelf, kept) = opened.map_err(|reason| OpenError::Folder { path: folder, reason })?;
        Ok(Self::new(compiler, shelf, kept))
    }

    /// A library that is gone with the process.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let compiler = Compiler::start(clock).map_err(|error| OpenError::Engine(format!("{error:#}")))?;
        Ok(Self::new(compiler, Shelf::in_memory(), Vec::new()))
    }

    fn new(compiler: Compiler, shelf: Shelf, mut kept: Vec<Kept>) -> Self {
        kept.sort_by_key(|kept| (kept.pushed_at, kept.digest));
        let shared = Shared { compiler, shelf, kept: Mutex::new(kept), recent: Mutex::default() };
        Self { shared: Arc::new(shared), turn: Arc::default() }
    }

    /// Runs work that takes long or touches files on a thread made for it, one piece at a time. It goes on when nobody
    /// waits for it any more, so that it is never half done.
    async fn take_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, LibraryError> + Send + 'static,
    ) -> Result<T, LibraryError> {
        let turn = self.turn.clone().lock_owned().await;
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&shared);
            drop(turn);
            done
        });
        done.await.unwrap_or_else(|error| Err(LibraryError::Unavailable(format!("the work was given up: {error}"))))
    }
}

#[async_trait]
impl lantern_core::Library for Library {
    async fn push(&self, bytes: Bytes) -> Result<Kept, LibraryError> {
        self.take_turn(move |shared| shared.push(&bytes)).await
    }

    async fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        Ok(self.shared.kept().clone())
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        self.shared.inspect(digest)
    }

    async fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        self.take_turn(move |shared| shared.remove(digest)).await
    }

    async fn load(&self, digest: Digest, settings: &Settings) -> Result<Arc<dyn Module>, LibraryError> {
        let ready = self.ready(digest, settings).await?;
        match (&ready.pre, &ready.described) {
            (Pre::Processor(pre), Described::Projection(description) | Described::Handler(description)) => {
                let (pre, description) = (pre.clone(), description.clone());
                let deployment = self.deployment(settings, &description.collections);
                Ok(Arc::new(WasmProcessor::new(ready, description, pre, deployment)))
            }
            _ => Err(elsewhere(&ready)),
        }
    }

    async fn load_aggregate(
        &self,
        digest: Digest,
        settings: &Settings,
    ) -> Result<Arc<dyn AggregateModule>, LibraryError> {
        let ready = self.ready(digest, settings).await?;
        match (&ready.pre, &ready.described) {
            (Pre::Aggregate(pre), Described::Aggregate(description)) => {
                let (pre, description) = (pre.clone(), description.clone());
                Ok(Arc::new(WasmAggregate::new(ready, description, pre, self.deployment(settings, &[]))))
            }
            _ => Err(elsewhere(&ready)),
        }
    }

    async fn load_upcaster(
        &self,
        digest: Digest,
        settings: &Settings,
    ) -> Result<Arc<dyn UpcasterModule>, LibraryError> {
        let ready = self.ready(digest, settings).await?;
        match (&ready.pre, &ready.described) {
            (Pre::Upcaster(pre), Described::Upcaster(description)) => {
                let (pre, description) = (pre.clone(), description.clone());
                Ok(Arc::new(WasmUpcaster::new(ready, description, pre, self.deployment(settings, &[]))))
            }
            _ => Err(elsewhere(&ready)),
        }
    }
}

impl Library {
    /// A module that is ready to start and may be deployed with these settings.
    async fn ready(&self, digest: Digest, settings: &Settings) -> Result<Arc<Ready>, LibraryError> {
        let kept = self.shared.inspect(digest)?;
        let kind = kept.description.kind();
        if kind != settings.kind {
            return Err(LibraryError::Unfit(check::other_kind(digest, kind)));
        }
        check::granted(digest, &kept.imports, &settings.grants).map_err(LibraryError::Unfit)?;
        let recent = self.shared.recent().get(digest);
        match recent {
            Some(ready) => Ok(ready),
            None => self.take_turn(move |shared| shared.ready(kept)).await,
        }
    }

    fn deployment(&self, settings: &Settings, collections: &[String]) -> Deployment {
        Deployment::new(settings.clone(), collections, self.shared.compiler.clock())
    }
}

/// A module was asked for as what it is not.
fn elsewhere(ready: &Ready) -> LibraryError {
    LibraryError::Unfit(check::other_kind(ready.digest, ready.described.kind()))
}

impl Shared {
    fn push(&self, bytes: &Bytes) -> Result<Kept, LibraryError> {
        let digest = Digest::of(bytes);
        if let Ok(kept) = self.inspect(digest) {
            // Mends a file that was damaged since.
            if !self.shelf.holds(digest) {
                self.shelf.put(&kept, bytes).map_err(|error| unavailable(&error))?;
            }
            return Ok(kept);
        }
        let component = self.compiler.compile(bytes).map_err(LibraryError::Refused)?;
        let (pre, shape) = self.compiler.link(&component).map_err(LibraryError::Refused)?;
        let description = self.compiler.describe(&pre, &shape).map_err(LibraryError::Refused)?;
        let Shape { imports, exports, .. } = shape;
        let kept = Kept {
            digest,
            size: bytes.len() as u64,
            pushed_at: self.compiler.clock().now(),
            world: description.kind().as_str().into(),
            description,
            imports,
            exports,
        };
        self.shelf.put(&kept, bytes).map_err(|error| unavailable(&error))?;
        self.shelf.put_compiled(digest, &component);
        self.kept().push(kept.clone());
        self.recent().put(Arc::new(Ready { digest, described: kept.description.clone(), pre }));
        Ok(kept)
    }

    fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        self.kept().iter().find(|kept| kept.digest == digest).cloned().ok_or(LibraryError::Unknown(digest))
    }

    fn remove(&self, digest: Digest) -> Result<(), LibraryError> {
        self.inspect(digest)?;
        self.shelf.remove(digest).map_err(|error| unavailable(&error))?;
        self.kept().retain(|kept| kept.digest != digest);
        self.recent().remove(digest);
        Ok(())
    }

    /// A module that is ready to start, compiled anew where its compiled code is missing or damaged.
    fn ready(&self, kept: Kept) -> Result<Arc<Ready>, LibraryError> {
        let digest = kept.digest;
        // Another caller may have had the turn before.
        if let Some(ready) = self.recent().get(digest) {
            return Ok(ready);
        }
        let component = match self.shelf.compiled(digest, &self.compiler.engine) {
            Some(component) => component,
            None => self.compile_again(digest)?,
        };
        let (pre, _) = self.compiler.link(&component).map_err(LibraryError::Refused)?;
        let ready = Arc::new(Ready { digest, described: kept.description, pre });
        self.recent().put(ready.clone());
        Ok(ready)
    }

    fn compile_again(&self, digest: Digest) -> Result<Component, LibraryError> {
        let bytes = self.shelf.bytes(digest).map_err(|error| unavailable(&error))?;
        if Digest::of(&bytes) != digest {
            return Err(LibraryError::Unavailable(format!("the bytes of module {digest} are damaged: push it again")));
        }
        let component = self.compiler.compile(&bytes).map_err(LibraryError::Refused)?;
        self.shelf.put_compiled(digest, &component);
        Ok(component)
    }

    // A panic cannot leave either list half-changed in a way that matters: each change is one operation.

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: &std::io::Error) -> LibraryError {
    LibraryError::Unavailable(error.to_string())
}
