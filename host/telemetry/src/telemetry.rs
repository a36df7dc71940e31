//! Telemetry as the host sees it: started once, shared by everything, shut down in bounded time.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    environment::{Environment, Reader},
    export::{self, Exporter},
    messages::{self, OPT_IN},
    metrics::{Aggregates, Hosts, Metrics, Processors, Routes},
    pipeline::Pipeline,
    recent,
    sampler::Sampler,
    view::SpanView,
};

/// How telemetry is to work.
#[derive(Clone)]
pub struct TelemetryConfig {
    /// The variables `OTEL_*`.
    pub environment: Environment,
    /// How many recent spans are kept in memory; 0 keeps none.
    pub recent_spans: usize,
    /// The version of the host, told to collectors.
    pub version: String,
    /// The store, told in `db.system.name` of appends: `sqlite` or `memory`.
    pub store: &'static str,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION").into();
        Self { environment: Environment::of_process(), recent_spans: 65_536, version, store: "sqlite" }
    }
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// An exporter is asked for that is not there.
    #[error("OTEL_TRACES_EXPORTER asks for `{name}`: {hint}")]
    Exporter {
        /// Its name.
        name: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// An exporter cannot work as it is told to.
    #[error("the exporter `{exporter}` cannot start: {reason}")]
    Export {
        /// Its name.
        exporter: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// A thread could not be started.
    #[error("the thread `{name}` could not be started: {error}; raise the limit of processes")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
}

/// Telemetry. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    sampler: Sampler,
    enabled: bool,
    store: &'static str,
    /// Whether messages carry the old keys as well.
    old_message_keys: bool,
    pipeline: Arc<Pipeline>,
    running: Mutex<Running>,
}

/// What has to end.
#[derive(Default)]
struct Running {
    collector: Option<JoinHandle<()>>,
    exporters: Vec<Exporter>,
}

impl Telemetry {
    /// Starts the telemetry thread and the exporters.
    pub fn start(config: TelemetryConfig) -> Result<Self, TelemetryError> {
        let TelemetryConfig { environment, recent_spans, version, store } = config;
        let mut reader = Reader::new(&environment);
        let enabled = !reader.switch("OTEL_SDK_DISABLED");
        let sampler = if enabled { Sampler::read(&mut reader) } else { Sampler::OFF };
        let plans = if enabled { export::read(&mut reader, &version)? } else { Vec::new() };
        let metrics = Arc::new(Metrics::new());
        for warning in reader.into_warnings() {
            tracing::warn!("{warning}");
        }
        let exporters = plans.into_iter().map(|plan| plan.start(metrics.clone())).collect::<Result<Vec<_>, _>>()?;
        let queues = exporters.iter().map(Exporter::queue).collect();
        let pipeline = Pipeline::new(recent_spans, queues, metrics);
        let collected = pipeline.clone();
        let name = "lantern-telemetry";
        let collector = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || collected.run())
            .map_err(|error| TelemetryError::Thread { name, error })?;
        let running = Mutex::new(Running { collector: Some(collector), exporters });
        let old_message_keys = messages::has_old_keys(environment.get(OPT_IN));
        Ok(Self { inner: Arc::new(Inner { sampler, enabled, store, old_message_keys, pipeline, running }) })
    }

    /// Telemetry that records no spans and has no threads, for tests. Metrics are counted all the same.
    #[must_use]
    pub fn disabled() -> Self {
        let pipeline = Pipeline::new(0, Vec::new(), Arc::new(Metrics::new()));
        let (sampler, running) = (Sampler::OFF, Mutex::default());
        let (store, old_message_keys) = ("memory", false);
        Self { inner: Arc::new(Inner { sampler, enabled: false, store, old_message_keys, pipeline, running }) }
    }

    /// The recent spans of a trace, in the order they began. Empty when the trace is unknown, not sampled or too old.
    #[must_use]
    pub fn trace(&self, trace_id: u128) -> Vec<SpanView> {
        recent::trace(&self.inner.pipeline.recent(), trace_id)
    }

    /// All metrics, in the text format of Prometheus; the media type is [`crate::metrics::CONTENT_TYPE`].
    #[must_use]
    pub fn metrics(&self) -> String {
        self.inner.pipeline.collect();
        self.inner.pipeline.metrics.text()
    }

    /// Says where the gauges of processors come from. The function is called at each scrape and must not block.
    pub fn watch_processors(&self, processors: Processors) {
        self.inner.pipeline.metrics.processors.set(processors);
    }

    /// Says where the numbers of hosts come from. The function is called at each scrape and must not block.
    pub fn watch_hosts(&self, hosts: Hosts) {
        self.inner.pipeline.metrics.hosts.set(hosts);
    }

    /// Says where the numbers of aggregates come from. The function is called at each scrape and must not block.
    pub fn watch_aggregates(&self, aggregates: Aggregates) {
        self.inner.pipeline.metrics.aggregates.set(aggregates);
    }

    /// Says where the numbers of routes come from. The function is called at each scrape and must not block.
    pub fn watch_routes(&self, routes: Routes) {
        self.inner.pipeline.metrics.routes.set(routes);
    }

    /// Hands over what is recorded and ends all threads, at the latest after `deadline`; blocks meanwhile. Says whether
    /// everything was delivered. Whatever is recorded later is dropped and counted.
    pub fn shutdown(self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let running = std::mem::take(&mut *self.inner.running.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.pipeline.close();
        if let Some(collector) = running.collector {
            // It does nothing that takes long: what it holds is in memory and goes to queues.
            let _ = collector.join();
        }
        let finished: Vec<bool> = running.exporters.into_iter().map(|exporter| exporter.finish(until)).collect();
        finished.into_iter().all(|finished| finished)
    }

    pub(crate) fn sampler(&self) -> Sampler {
        self.inner.sampler
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.inner.enabled
    }

    pub(crate) fn store(&self) -> &'static str {
        self.inner.store
    }

    pub(crate) fn has_old_message_keys(&self) -> bool {
        self.inner.old_message_keys
    }

    pub(crate) fn pipeline(&self) -> &Arc<Pipeline> {
        &self.inner.pipeline
    }

    pub(crate) fn counts(&self) -> &Metrics {
        &self.inner.pipeline.metrics
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without a shutdown the threads end by themselves, and nobody waits for them.
        self.pipeline.close();
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("sampler", &self.inner.sampler).finish_non_exhaustive()
    }
}
