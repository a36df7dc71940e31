//! The composition of a host: every port gets its backend and is wrapped by its observer here, once.

use std::{fmt, sync::Arc, time::Duration};

use lantern_aggregates::{Aggregates, Capacity};
use lantern_core::{
    Clock, GuestThreads, Hosts, Identity, Journal, Kind, Library, Log, Name, ReadModels, Snapshots, SystemClock,
};
use lantern_processors::{Buses, Configured, Direction, RouteStatus, Routes, Status, Supervisor};
use lantern_stores::{memory, postgres, sqlite};
use lantern_telemetry::{AggregateGauge, EffectsGauge, HostsGauge, ProcessorGauge, RouteGauge, Telemetry, observe};
use lantern_upcasters::Upcasters;

use crate::{config::Routing, data_folder::DataFolder};

/// A host, put together.
pub(crate) struct Host {
    /// The log.
    pub(crate) log: Arc<dyn Log>,
    /// The modules.
    pub(crate) library: Arc<dyn Library>,
    /// The projections and handlers.
    pub(crate) supervisor: Supervisor,
    /// The buses.
    pub(crate) buses: Arc<Buses>,
    /// The routes between buses and the log.
    pub(crate) routes: Routes,
    /// The aggregates.
    pub(crate) aggregates: Aggregates,
    /// The upcasters.
    pub(crate) upcasters: Upcasters,
    /// The threads on which guests run.
    pub(crate) threads: Arc<GuestThreads>,
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
    /// The storage of snapshots.
    pub(crate) snapshots: Arc<dyn Snapshots>,
    /// The modules.
    pub(crate) library: Arc<dyn Library>,
    /// The hosts' own history.
    pub(crate) journal: Arc<dyn Journal>,
    /// The hosts that share all this.
    pub(crate) hosts: Arc<dyn Hosts>,
    /// How long the lease of a processor lasts.
    pub(crate) lease: Duration,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
}

/// The lease of a host that has its stores for itself: nobody waits for its end.
const ALONE: Duration = Duration::from_secs(365 * 24 * 3600);

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
    #[error("the {what} could not be started: {error}")]
    Start {
        /// Which of it.
        what: &'static str,
        /// Why.
        error: String,
    },
}

impl Backends {
    /// Files in a data folder.
    pub(crate) fn sqlite(folder: &DataFolder) -> Result<Self, WireError> {
        let clock = Arc::new(SystemClock);
        Ok(Self {
            log: Arc::new(sqlite::Log::open(folder.log()).map_err(open("the log"))?),
            read_models: Arc::new(sqlite::ReadModels::open(folder.read_models()).map_err(open("the read models"))?),
            snapshots: Arc::new(sqlite::Snapshots::open(folder.snapshots()).map_err(open("the snapshots"))?),
            library: Arc::new(
                lantern_modules::Library::open(folder.modules(), clock.clone()).map_err(open("the module library"))?,
            ),
            journal: Arc::new(sqlite::Journal::open(folder.journal(), clock.clone()).map_err(open("the journal"))?),
            hosts: Arc::new(memory::Hosts::new()),
            lease: ALONE,
            clock,
        })
    }

    /// A PostgreSQL database that other hosts may share, and compiled modules in a data folder.
    pub(crate) async fn postgres(folder: &DataFolder, url: &str, lease: Duration) -> Result<Self, WireError> {
        let clock = Arc::new(SystemClock);
        let database = postgres::Database::open(url).await.map_err(open("the database"))?;
        let shelf = Arc::new(postgres::Shelf::open(&database));
        let library = lantern_modules::Library::shared(shelf, folder.modules(), clock.clone());
        Ok(Self {
            log: Arc::new(postgres::Log::open(&database).await.map_err(open("the log"))?),
            read_models: Arc::new(postgres::ReadModels::new(database.clone())),
            snapshots: Arc::new(postgres::Snapshots::open(&database)),
            library: Arc::new(library.map_err(open("the module library"))?),
            journal: Arc::new(postgres::Journal::open(&database, clock.clone())),
            hosts: Arc::new(postgres::Hosts::open(&database)),
            lease,
            clock,
        })
    }

    /// Nothing outlives the host.
    pub(crate) fn memory() -> Result<Self, WireError> {
        let clock = Arc::new(SystemClock);
        Ok(Self {
            log: Arc::new(memory::Log::new()),
            read_models: Arc::new(memory::ReadModels::new()),
            snapshots: Arc::new(memory::Snapshots::new()),
            library: Arc::new(lantern_modules::Library::in_memory(clock.clone()).map_err(open("the module library"))?),
            journal: Arc::new(memory::Journal::new()),
            hosts: Arc::new(memory::Hosts::new()),
            lease: ALONE,
            clock,
        })
    }
}

fn open<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> WireError {
    move |error| WireError::Open { what, error: error.to_string() }
}

fn start<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> WireError {
    move |error| WireError::Start { what, error: error.to_string() }
}

impl Host {
    /// Puts a host together and starts what it is to run.
    pub(crate) async fn start(
        backends: Backends,
        host: Identity,
        routing: Routing,
        telemetry: Telemetry,
    ) -> Result<Self, WireError> {
        let Backends { log, read_models, snapshots, library, journal, hosts, lease, clock } = backends;
        let threads = Arc::new(GuestThreads::new().map_err(start("threads of guests"))?);
        let log = observe::log(log, &telemetry);
        let read_models = observe::read_models(read_models, &telemetry);
        let snapshots = observe::snapshots(snapshots, &telemetry);
        let library = observe::library(library, &telemetry);
        let buses = Arc::new(buses(&routing, &telemetry)?);
        let ports = lantern_upcasters::Ports {
            log: log.clone(),
            library: library.clone(),
            journal: journal.clone(),
            threads: threads.clone(),
        };
        let upcasters = Upcasters::start(ports).await.map_err(start("upcasters"))?;
        let ports = lantern_aggregates::Ports {
            log: log.clone(),
            snapshots,
            library: library.clone(),
            journal: journal.clone(),
            clock: clock.clone(),
            upcasting: upcasters.upcasting(),
            threads: threads.clone(),
        };
        let aggregates = Aggregates::start(ports, Capacity::default()).await.map_err(start("aggregates"))?;
        let ports = lantern_processors::Ports {
            log: log.clone(),
            read_models,
            library: library.clone(),
            journal,
            clock: clock.clone(),
            threads: threads.clone(),
            upcasting: upcasters.upcasting(),
            hosts,
            host,
            lease,
            buses: buses.clone(),
        };
        let consumed = routing.consume.into_iter().map(Configured::Consume);
        let configured = routing.publish.into_iter().map(Configured::Publish).chain(consumed).collect();
        let started = Supervisor::start(ports, configured).await;
        let supervisor = started.map_err(start("projections, handlers and routes"))?;
        let routes = supervisor.routes();
        let watched = supervisor.clone();
        telemetry.watch_processors(Box::new(move || processors(&watched)));
        let watched = supervisor.clone();
        telemetry.watch_hosts(Box::new(move || vec![hosts_gauge(&watched)]));
        let watched = aggregates.clone();
        telemetry.watch_aggregates(Box::new(move || watched.counters().into_iter().map(counted).collect()));
        let (watched, of) = (routes.clone(), buses.clone());
        telemetry
            .watch_routes(Box::new(move || watched.glance().into_iter().map(|status| route(&of, status)).collect()));
        Ok(Self { log, library, supervisor, buses, routes, aggregates, upcasters, threads, telemetry, clock })
    }

    /// Lets commands under way end, commits what is in flight and ends every processor and route. The caller bounds the wait.
    pub(crate) async fn stop(&self) {
        tokio::join!(self.aggregates.shutdown(), self.supervisor.shutdown());
        // Telemetry would hold the processors and aggregates, and with them the files, for ever.
        self.telemetry.watch_processors(Box::new(Vec::new));
        self.telemetry.watch_hosts(Box::new(Vec::new));
        self.telemetry.watch_aggregates(Box::new(Vec::new));
        self.telemetry.watch_routes(Box::new(Vec::new));
    }
}

/// The buses of the configuration, each watched. None connects before it is used.
fn buses(routing: &Routing, telemetry: &Telemetry) -> Result<Buses, WireError> {
    let opened = routing.buses.iter().map(|(name, url)| {
        let bus = lantern_buses::open(url.expose()).map_err(open("a bus"))?;
        Ok((name.clone(), observe::bus(bus, telemetry)))
    });
    opened.collect()
}

fn route(buses: &Buses, status: RouteStatus) -> RouteGauge {
    let direction = match status.direction {
        Direction::Publish => "publish",
        Direction::Consume => "consume",
    };
    RouteGauge {
        direction,
        system: buses.get(&status.bus).map_or("", |bus| bus.system()),
        partitions: status.partitions.iter().map(|lag| (lag.partition.0, lag.messages)).collect(),
        route: status.name,
        bus: status.bus,
        topic: status.topic,
        group: status.group,
        state: status.state,
        lag: status.lag,
        messages: status.messages,
        dead_letters: status.dead_letters,
    }
}

fn processors(supervisor: &Supervisor) -> Vec<ProcessorGauge> {
    [Kind::Projection, Kind::Handler].into_iter().flat_map(|kind| supervisor.list(kind)).map(gauge).collect()
}

fn gauge(status: Status) -> ProcessorGauge {
    let effects = EffectsGauge { schedules: status.scheduled, emitted: status.emitted };
    ProcessorGauge {
        subscription: status.name,
        lag: status.lag,
        state: status.state,
        position: status.position,
        parked: status.parked_events,
        effects: (status.kind == Kind::Handler).then_some(effects),
    }
}

fn hosts_gauge(supervisor: &Supervisor) -> HostsGauge {
    let (roll, moves) = supervisor.roll();
    let own = supervisor.identity().id;
    HostsGauge {
        live: roll.hosts.iter().filter(|seen| seen.is_live).count() as u64,
        leases: roll.leases.iter().filter(|lease| lease.host == own && !lease.is_over).count() as u64,
        taken: moves.taken,
        released: moves.released,
        lost: moves.lost,
    }
}

fn counted((name, counters): (Name, lantern_aggregates::Counters)) -> (Name, AggregateGauge) {
    let gauge = AggregateGauge {
        commands: counters.commands.by_outcome().into(),
        conflicts_retried: counters.conflicts_retried,
        warm: counters.loaded,
        warm_bytes: counters.loaded_bytes,
        snapshot_misses: counters.snapshots.misses.by_reason().into(),
    };
    (name, gauge)
}
