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
    AggregateModule, Clock, Digest, Module, Shelf,
    module::{Described, Kept, LibraryError, Settings},
    upcasting::UpcasterModule,
};
use wasmtime::component::Component;

use self::{
    cache::Cache,
    recent::Recent,
    shelf::{Folder, Memory},
};
use crate::{
    aggregate::WasmAggregate,
    check::{self, Shape},
    compile::Compiler,
    processor::WasmProcessor,
    ready::{Pre, Ready},
    state::Deployment,
    upcaster::WasmUpcaster,
};

/// The modules of a host. Their bytes and records are on a shelf, which hosts may share; their compiled code is this host's
/// own. Cheap to clone; all clones are the same library.
#[derive(Clone)]
pub struct Library {
    shared: Arc<Shared>,
    // Compiling uses all processors by itself, so that one module at a time is soonest done.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Shared {
    compiler: Compiler,
    shelf: Arc<dyn Shelf>,
    /// The compiled code, which may be deleted at any time.
    cache: Option<Cache>,
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
        match Folder::open(&folder) {
            Ok(shelf) => Self::shared(Arc::new(shelf), folder, clock),
            Err(reason) => Err(OpenError::Folder { path: folder, reason }),
        }
    }

    /// Opens the library of a shelf that other hosts may share. The compiled code is kept in a folder; one that is not
    /// there is created.
    pub fn shared(shelf: Arc<dyn Shelf>, folder: PathBuf, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let compiler = start(clock)?;
        match Cache::open(&folder.join("cache"), &compiler.engine) {
            Ok(cache) => Ok(Self::new(compiler, shelf, Some(cache))),
            Err(reason) => Err(OpenError::Folder { path: folder, reason }),
        }
    }

    /// A library that is gone with the process.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Ok(Self::new(start(clock)?, Arc::new(Memory::default()), None))
    }

    fn new(compiler: Compiler, shelf: Arc<dyn Shelf>, cache: Option<Cache>) -> Self {
        let shared = Shared { compiler, shelf, cache, recent: Mutex::default() };
        Self { shared: Arc::new(shared), turn: Arc::default() }
    }

    /// Does work that takes long or changes something, one piece at a time. It goes on when nobody waits for it any more,
    /// so that it is never half done.
    async fn take_turn<T: Send + 'static, F: Future<Output = Result<T, LibraryError>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Shared>) -> F,
    ) -> Result<T, LibraryError> {
        let turn = self.turn.clone().lock_owned().await;
        let work = work(self.shared.clone());
        let done = tokio::spawn(async move {
            let done = work.await;
            drop(turn);
            done
        });
        done.await.unwrap_or_else(|error| Err(given_up(&error)))
    }
}

fn start(clock: Arc<dyn Clock>) -> Result<Compiler, OpenError> {
    Compiler::start(clock).map_err(|error| OpenError::Engine(format!("{error:#}")))
}

#[async_trait]
impl lantern_core::Library for Library {
    async fn push(&self, bytes: Bytes) -> Result<Kept, LibraryError> {
        self.take_turn(move |shared| shared.push(bytes)).await
    }

    async fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        let mut kept = self.shared.shelf.records().await?;
        kept.sort_by_key(|kept| (kept.pushed_at, kept.digest));
        Ok(kept)
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        self.shared.inspect(digest).await
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
        let kept = self.shared.inspect(digest).await?;
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
    async fn push(self: Arc<Self>, bytes: Bytes) -> Result<Kept, LibraryError> {
        let digest = Digest::of(&bytes);
        if let Some(kept) = self.shelf.record(digest).await? {
            // Mends bytes that were damaged since.
            if self.shelf.bytes(digest).await?.is_none_or(|there| Digest::of(&there) != digest) {
                self.shelf.put(&kept, &bytes).await?;
            }
            return Ok(kept);
        }
        let (shared, source) = (self.clone(), bytes.clone());
        let (kept, ready) = apart(move || shared.make(digest, &source)).await?;
        self.shelf.put(&kept, &bytes).await?;
        self.recent().put(ready);
        Ok(kept)
    }

    /// Checks and compiles what was pushed. Blocks.
    fn make(&self, digest: Digest, bytes: &Bytes) -> Result<(Kept, Arc<Ready>), LibraryError> {
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
        self.keep_compiled(digest, &component);
        let ready = Arc::new(Ready { digest, described: kept.description.clone(), pre });
        Ok((kept, ready))
    }

    async fn inspect(&self, digest: Digest) -> Result<Kept, LibraryError> {
        self.shelf.record(digest).await?.ok_or(LibraryError::Unknown(digest))
    }

    async fn remove(self: Arc<Self>, digest: Digest) -> Result<(), LibraryError> {
        self.inspect(digest).await?;
        self.shelf.remove(digest).await?;
        self.recent().remove(digest);
        apart(move || match &self.cache {
            Some(cache) => cache.remove(digest).map_err(|error| LibraryError::Unavailable(error.to_string())),
            None => Ok(()),
        })
        .await
    }

    /// A module that is ready to start, compiled where its compiled code is missing here or damaged.
    async fn ready(self: Arc<Self>, kept: Kept) -> Result<Arc<Ready>, LibraryError> {
        let digest = kept.digest;
        // Another caller may have had the turn before.
        if let Some(ready) = self.recent().get(digest) {
            return Ok(ready);
        }
        let shared = self.clone();
        let cached =
            apart(move || Ok(shared.cache.as_ref().and_then(|cache| cache.get(digest, &shared.compiler.engine))));
        let (cached, bytes) = match cached.await? {
            Some(component) => (Some(component), Bytes::new()),
            None => (None, self.whole(digest).await?),
        };
        let shared = self.clone();
        let ready = apart(move || {
            let component = match cached {
                Some(component) => component,
                None => shared.compile_again(digest, &bytes)?,
            };
            let (pre, _) = shared.compiler.link(&component).map_err(LibraryError::Refused)?;
            Ok(Arc::new(Ready { digest, described: kept.description, pre }))
        });
        let ready = ready.await?;
        self.recent().put(ready.clone());
        Ok(ready)
    }

    /// The bytes of a module, as they were pushed.
    async fn whole(&self, digest: Digest) -> Result<Bytes, LibraryError> {
        let bytes = self.shelf.bytes(digest).await?.filter(|bytes| Digest::of(bytes) == digest);
        bytes.ok_or_else(|| {
            LibraryError::Unavailable(format!("the bytes of module {digest} are damaged: push it again"))
        })
    }

    fn compile_again(&self, digest: Digest, bytes: &Bytes) -> Result<Component, LibraryError> {
        let component = self.compiler.compile(bytes).map_err(LibraryError::Refused)?;
        self.keep_compiled(digest, &component);
        Ok(component)
    }

    /// Keeps compiled code. That it cannot be kept costs time at the next start and nothing else.
    fn keep_compiled(&self, digest: Digest, component: &Component) {
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(digest, component)
        {
            tracing::warn!(module = %digest, %error, "the compiled code cannot be kept: the next start compiles again");
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // A panic cannot leave it half-changed in a way that matters: each change is one operation.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs work that takes long or touches files on a thread made for it.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LibraryError> + Send + 'static,
) -> Result<T, LibraryError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(given_up(&error)))
}

fn given_up(error: &tokio::task::JoinError) -> LibraryError {
    LibraryError::Unavailable(format!("the work was given up: {error}"))
}
