//! The composition of a host: every port gets its backend and is wrapped by its observer here, once.

use std::{fmt, sync::Arc};

use lantern_core::{Clock, Journal, Library, Log, ReadModels, SystemClock};
use lantern_processors::{Ports, Refusal, Status, Supervisor};
use lantern_stores::{memory, sqlite};
use lantern_telemetry::{ProcessorGauge, Telemetry, observe};

use crate::data_folder::DataFolder;

/// A host, put together.
pub(crate) struct Host {
    /// The log.
    pub(crate) log: Arc<dyn Log>,
    /// The modules.
    pub(crate) library: Arc<dyn Library>,
    /// The projections.
    pub(crate) supervisor: Supervisor,
    /// What was seen.
    pub(crate) telemetry: Telemetry,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
}

/// The backends of a host, as they are.
pub(crate) struct Backends {
    /// The log.
    pub(crate) log: Arc<dyn Log>,
    /// The storage of read models.
    pub(crate) read_models: Arc<dyn ReadModels>,
    /// The modules.
    pub(crate) library: Arc<dyn Library>,
    /// The host's own history.
    pub(crate) journal: Arc<dyn Journal>,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Why a host could not be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// A backend could not be opened.
    #[error("{what} cannot be opened: {error}")]
    Open {
        /// Which.
        what: &'static str,
        /// What it says.
        error: String,
    },
    /// What was deployed could not be started.
    #[error("the projections could not be started: {0}")]
    Start(#[from] Refusal),
}

impl Backends {
    /// Files in a data folder.
    pub(crate) fn sqlite(folder: &DataFolder) -> Result<Self, WireError> {
        let clock = Arc::new(SystemClock);
        Ok(Self {
            log: Arc::new(sqlite::Log::open(folder.log()).map_err(open("the log"))?),
            read_models: Arc::new(sqlite::ReadModels::open(folder.read_models()).map_err(open("the read models"))?),
            library: Arc::new(
                lantern_modules::Library::open(folder.modules(), clock.clone()).map_err(open("the module library"))?,
            ),
            journal: Arc::new(sqlite::Journal::open(folder.journal(), clock.clone()).map_err(open("the journal"))?),
            clock,
        })
    }

    /// Nothing outlives the host.
    pub(crate) fn memory() -> Result<Self, WireError> {
        let clock = Arc::new(SystemClock);
        Ok(Self {
            log: Arc::new(memory::Log::new()),
            read_models: Arc::new(memory::ReadModels::new()),
            library: Arc::new(lantern_modules::Library::in_memory(clock.clone()).map_err(open("the module library"))?),
            journal: Arc::new(memory::Journal::new()),
            clock,
        })
    }
}

fn open<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> WireError {
    move |error| WireError::Open { what, error: error.to_string() }
}

impl Host {
    /// Puts a host together and starts what it is to run.
    pub(crate) async fn start(backends: Backends, telemetry: Telemetry) -> Result<Self, WireError> {
        let Backends { log, read_models, library, journal, clock } = backends;
        let log = observe::log(log, &telemetry);
        let read_models = observe::read_models(read_models, &telemetry);
        let library = observe::library(library, &telemetry);
        let ports = Ports { log: log.clone(), read_models, library: library.clone(), journal, clock: clock.clone() };
        let supervisor = Supervisor::start(ports).await?;
        let watched = supervisor.clone();
        telemetry.watch_processors(Box::new(move || watched.list().into_iter().map(gauge).collect()));
        Ok(Self { log, library, supervisor, telemetry, clock })
    }

    /// Commits what is in flight and ends every projection. The caller bounds the wait.
    pub(crate) async fn stop(&self) {
        self.supervisor.shutdown().await;
        // Telemetry would hold the projections, and with them the files, for ever.
        self.telemetry.watch_processors(Box::new(Vec::new));
    }
}

fn gauge(status: Status) -> ProcessorGauge {
    ProcessorGauge {
        subscription: status.name,
        lag: status.lag,
        state: status.state,
        position: status.position,
        parked: status.parked_events,
    }
}
