//! The world of a run: a folder, the modules, a log full of events, and hosts put together as the binary does it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lantern_core::{
    Clock, Digest, Grants, GuestThreads, Identity, Journal, Kind, Library, Log, Name, Position, ReadModels,
    SystemClock, Upcasting,
    journal::FailurePolicy,
    module::{Limits, Settings},
};
use lantern_processors::{Buses, Configured, Deploy, Ports, Start, Status, Supervisor};
use lantern_stores::{memory, sqlite};
use lantern_telemetry::{Telemetry, observe};
use lantern_upcasters::Upcasters;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    events::Generator,
    stages::Processors,
    watch::{self, Watch},
};

/// The projection of rebuilds.
pub(crate) const REBUILT: &str = "rebuilt";

/// How many events fill a log at a time.
const FILL: usize = 4_000;

/// What all benchmarks of a run share. Its folder is removed with it.
pub(crate) struct World {
    folder: TempDir,
    guests: PathBuf,
    library: Arc<dyn Library>,
    threads: Arc<GuestThreads>,
    loans: OnceCell<Filled>,
    events: u64,
}

/// A log with events.
#[derive(Clone)]
pub(crate) struct Filled {
    pub(crate) path: PathBuf,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) head: Position,
}

/// A host with read models and a journal of its own.
pub(crate) struct Host {
    pub(crate) supervisor: Supervisor,
    pub(crate) log: Arc<dyn Log>,
    folder: PathBuf,
}

/// How a host is put together.
pub(crate) struct Make<'a> {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) library: Arc<dyn Library>,
    /// Observers are put around all ports, or none.
    pub(crate) telemetry: Option<&'a Telemetry>,
    /// Watches the ports below the observers.
    pub(crate) watch: Option<Arc<dyn Watch>>,
}

/// What a rebuild came to.
pub(crate) struct Rebuilt {
    pub(crate) took: Duration,
    pub(crate) digest: Digest,
    pub(crate) processors: Processors,
}

impl World {
    /// A world with a folder inside `folder`, or inside the target directory.
    pub(crate) fn new(folder: Option<&Path>, events: u64) -> Result<Self> {
        let target = target()?;
        let inside = folder.map_or_else(|| target.join("bench"), Path::to_path_buf);
        fs::create_dir_all(&inside).with_context(|| format!("`{}` cannot be made", inside.display()))?;
        let folder = tempfile::tempdir_in(&inside)?;
        let library = open_library(&folder.path().join("modules"))?;
        Ok(Self {
            folder,
            guests: target.join("guests/wasm32-wasip2/release"),
            library,
            threads: Arc::new(GuestThreads::new()?),
            loans: OnceCell::new(),
            events,
        })
    }

    /// The folder of the run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The modules, as the host has them.
    pub(crate) fn library(&self) -> Arc<dyn Library> {
        self.library.clone()
    }

    /// The threads of all guests.
    pub(crate) fn threads(&self) -> Arc<GuestThreads> {
        self.threads.clone()
    }

    /// The component of a guest.
    pub(crate) fn component(&self, guest: &str) -> Result<PathBuf> {
        let path = self.guests.join(format!("{guest}.wasm"));
        ensure!(path.is_file(), "{} is not built: run `cargo xtask bench`, which builds it first", path.display());
        Ok(path)
    }

    /// Pushes a guest into the library.
    pub(crate) async fn push(&self, guest: &str) -> Result<Digest> {
        Ok(self.library.push(fs::read(self.component(guest)?)?.into()).await?.digest)
    }

    /// Pushes a guest whose bytes differ from all its other variants, and so its digest, but not what it does: a custom
    /// section with the number is added.
    pub(crate) async fn push_variant(&self, guest: &str, number: u8) -> Result<Digest> {
        let mut bytes = fs::read(self.component(guest)?)?;
        // Section 0 is custom: its length, the length of its name, its name, its content.
        bytes.extend([0, 3, 1, b'v', number]);
        Ok(self.library.push(bytes.into()).await?.digest)
    }

    /// The log that is rebuilt from: filled once, read often.
    pub(crate) async fn loans(&self) -> Result<&Filled> {
        self.loans.get_or_try_init(|| self.filled_log("loans", self.events)).await
    }

    /// A new log with so many events.
    pub(crate) async fn filled_log(&self, name: &str, events: u64) -> Result<Filled> {
        self.filled_log_with(name, events, Generator::new()?).await
    }

    /// A new log with so many events of a generator.
    pub(crate) async fn filled_log_with(&self, name: &str, events: u64, generator: Generator) -> Result<Filled> {
        let path = self.folder().join(format!("{name}.db"));
        let log = open_log(&path)?;
        let head = fill(&*log, events, generator).await?;
        Ok(Filled { path, log, head })
    }

    /// A new and empty log.
    pub(crate) fn empty_log(&self, name: &str) -> Result<Arc<dyn Log>> {
        open_log(&self.folder().join(format!("{name}.db")))
    }

    /// A host with new read models and a new journal.
    pub(crate) async fn host(&self, make: Make<'_>) -> Result<Host> {
        let folder = tempfile::tempdir_in(self.folder())?.keep();
        start(&folder, make, self.threads()).await
    }

    /// The same with buses, and routes that feed projections.
    pub(crate) async fn fed(&self, make: Make<'_>, from: (Arc<Buses>, Vec<Configured>)) -> Result<Host> {
        let folder = tempfile::tempdir_in(self.folder())?.keep();
        let read_models = read_models_in(&folder)?;
        start_on(&folder, read_models, make, self.threads(), from).await
    }

    /// A host with a new journal that keeps its read models elsewhere than in files.
    pub(crate) async fn host_on(&self, read_models: Arc<dyn ReadModels>, make: Make<'_>) -> Result<Host> {
        let folder = tempfile::tempdir_in(self.folder())?.keep();
        start_on(&folder, read_models, make, self.threads(), (Arc::default(), Vec::new())).await
    }

    /// Deploys a module to a new host, waits until it has handled all of a log, and checks that it did.
    pub(crate) async fn rebuild(&self, module: Digest, filled: &Filled, make: Make<'_>) -> Result<Rebuilt> {
        self.host(make).await?.rebuild(module, filled.head).await
    }
}

impl Host {
    /// Deploys a module with the default limits.
    pub(crate) async fn deploy(&self, name: &Name, module: Digest, start: Start) -> Result<Status> {
        Ok(self.supervisor.deploy(projection(name, module, start)).await?)
    }

    /// Deploys a module, waits until it has handled all of the log, checks that it did, and ends the host.
    pub(crate) async fn rebuild(self, module: Digest, head: Position) -> Result<Rebuilt> {
        let name = Name::new(REBUILT)?;
        let before = Processors::now();
        let began = Instant::now();
        self.deploy(&name, module, Start::Beginning).await?;
        let status = self.supervisor.wait(Kind::Projection, &name, head).await?;
        let took = began.elapsed();
        // Now, while the threads of the host are still there.
        let processors = Processors::now().since(&before);
        whole(&status, head)?;
        let (_, digest) = self.supervisor.read_model(Kind::Projection, &name, None).await?.digest().await?;
        self.end().await?;
        Ok(Rebuilt { took, digest, processors })
    }

    /// Stops the host and keeps its files.
    pub(crate) async fn stop(self) -> PathBuf {
        self.supervisor.shutdown().await;
        self.folder
    }

    /// Stops the host and removes its files.
    pub(crate) async fn end(self) -> Result<()> {
        let folder = self.stop().await;
        Ok(fs::remove_dir_all(folder)?)
    }
}

/// How a projection is deployed unless a benchmark says otherwise.
pub(crate) fn projection(name: &Name, module: Digest, start: Start) -> Deploy {
    Deploy {
        kind: Kind::Projection,
        name: name.clone(),
        module,
        start,
        config: [].into(),
        limits: Limits::default(),
        failure_policy: FailurePolicy::default(),
        grants: Grants::default(),
    }
}

/// Starts a host on the read models and the journal of a folder.
pub(crate) async fn start(folder: &Path, make: Make<'_>, threads: Arc<GuestThreads>) -> Result<Host> {
    let read_models = read_models_in(folder)?;
    start_on(folder, read_models, make, threads, (Arc::default(), Vec::new())).await
}

fn read_models_in(folder: &Path) -> Result<Arc<dyn ReadModels>> {
    Ok(Arc::new(sqlite::ReadModels::open(folder.join("read-models"))?))
}

/// Starts a host on read models and the journal of a folder, with buses, and routes that feed projections.
async fn start_on(
    folder: &Path,
    mut read_models: Arc<dyn ReadModels>,
    make: Make<'_>,
    threads: Arc<GuestThreads>,
    (buses, routes): (Arc<Buses>, Vec<Configured>),
) -> Result<Host> {
    let Make { mut log, mut library, telemetry, watch } = make;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let journal: Arc<dyn Journal> = Arc::new(sqlite::Journal::open(folder.join("journal.db"), clock.clone())?);
    if let Some(watch) = watch {
        log = watch::log(log, &watch);
        library = watch::library(library, &watch);
        read_models = watch::read_models(read_models, &watch);
    }
    if let Some(telemetry) = telemetry {
        log = observe::log(log, telemetry);
        library = observe::library(library, telemetry);
        read_models = observe::read_models(read_models, telemetry);
    }
    let upcasting = upcasting(&library, &journal, &log, &threads).await?;
    let ports = Ports {
        log: log.clone(),
        read_models,
        library,
        journal,
        clock,
        threads,
        upcasting,
        buses,
        hosts: Arc::new(memory::Hosts::new()),
        host: alone(),
        lease: Duration::from_secs(24 * 3600),
    };
    Ok(Host { supervisor: Supervisor::start(ports, routes).await?, log, folder: folder.into() })
}

/// A host that has its stores for itself.
fn alone() -> Identity {
    Identity { id: Uuid::new_v4(), name: "bench".into(), address: String::new(), started_at: SystemClock.now() }
}

/// The chain of a host without upcasters.
pub(crate) async fn upcasting(
    library: &Arc<dyn Library>,
    journal: &Arc<dyn Journal>,
    log: &Arc<dyn Log>,
    threads: &Arc<GuestThreads>,
) -> Result<Arc<dyn Upcasting>> {
    let (library, journal) = (library.clone(), journal.clone());
    let ports = lantern_upcasters::Ports { library, journal, log: log.clone(), threads: threads.clone() };
    Ok(Upcasters::start(ports).await?.upcasting())
}

/// Appends so many events of a generator to an empty log, and says where it ends then.
pub(crate) async fn fill(log: &dyn Log, events: u64, mut generator: Generator) -> Result<Position> {
    let began = Instant::now();
    let mut left = usize::try_from(events)?;
    while left > 0 {
        let next = left.min(FILL);
        log.append(generator.appends(next)?).await?;
        left -= next;
    }
    let head = *log.head().borrow();
    ensure!(head == Position(events), "the log ends at {head} after {events} events");
    println!("  filled a log with {events} events in {:.1} s", began.elapsed().as_secs_f64());
    Ok(head)
}

/// Opens the log at a path.
pub(crate) fn open_log(path: &Path) -> Result<Arc<dyn Log>> {
    Ok(Arc::new(sqlite::Log::open(path)?))
}

/// Opens the modules in a folder.
pub(crate) fn open_library(folder: &Path) -> Result<Arc<dyn Library>> {
    Ok(Arc::new(lantern_modules::Library::open(folder.into(), Arc::new(SystemClock))?))
}

/// How a module is loaded outside of any host.
pub(crate) fn settings(kind: Kind) -> Result<Settings> {
    let (limits, config, grants) = (Limits::default(), [].into(), Grants::default());
    Ok(Settings { kind, name: Name::new("bench")?, limits, config, grants })
}

/// Checks that a projection has handled every event up to a position, and parked none.
pub(crate) fn whole(status: &Status, head: Position) -> Result<()> {
    if status.position == head && status.handled == head.0 && status.parked_events == 0 && status.failed == 0 {
        return Ok(());
    }
    bail!(
        "of {head} events {} were handled, {} parked, {} calls failed",
        status.handled,
        status.parked_events,
        status.failed
    )
}

/// The target directory the benchmarks were built into.
fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    // <target>/release/lantern-bench
    let target = program.ancestors().nth(2).context("the benchmarks do not lie in a target directory")?;
    Ok(target.to_path_buf())
}
