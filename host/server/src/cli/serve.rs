//! `lantern serve`: a host from its first line to its last.

use std::{future::IntoFuture, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::serve::ListenerExt;
use clap::Args;
use lantern_telemetry::{
    Telemetry, TelemetryConfig,
    logging::{self, Format, LoggingConfig},
};
use tokio::net::TcpListener;

use super::{failure::Failure, output};
use crate::{
    config::{Config, LogFormat, Options, Store, TEMPLATE},
    data_folder::DataFolder,
    http::{self, Door},
    identity::identity,
    shutdown::{Signals, Time},
    wire::{Backends, Host},
};

/// The configuration file that is read when none is named and this one is there.
const USUAL_CONFIG: &str = "lantern.toml";

/// How long the process waits for threads that hold it up when all is done.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// Run a host.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration; `lantern.toml` when it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder [default: ./lantern-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7171].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// What keeps the data [default: sqlite].
    #[arg(long, value_enum)]
    store: Option<Store>,
    /// Where the database is, for `--store postgres`; safer in LANTERN_STORAGE_URL, since others can see options.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print a configuration with every key, its meaning and its default, and do nothing else.
    #[arg(long)]
    print_config: bool,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.print_config {
            return output::print(TEMPLATE);
        }
        let usual = Some(PathBuf::from(USUAL_CONFIG)).filter(|path| path.is_file());
        let file = self.config.or(usual);
        let options = Options { listen: self.listen, data: self.data, store: self.store, url: self.url };
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let config = Config::read(file.as_deref(), variables, options).map_err(Failure::failed)?;
        // Held until the end: dropping it writes the last lines.
        let _logging = logging::start(&logged(&config)).map_err(Failure::failed)?;
        if let Some(file) = file {
            tracing::info!("configured by {}", file.display());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime could be started: {error}")))?;
        let served = runtime.block_on(serve(config));
        runtime.shutdown_timeout(STRAGGLERS);
        served
    }
}

fn logged(config: &Config) -> LoggingConfig {
    let format = match config.log_format {
        LogFormat::Text => Format::Human,
        LogFormat::Json => Format::Json,
    };
    LoggingConfig { format, filter: config.log_filter.clone() }
}

/// Serves until a signal comes, and ends in good order.
async fn serve(config: Config) -> Result<(), Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::failed(format!("no signals can be heard: {error}")))?;
    let folder = match config.store {
        Store::Sqlite | Store::Postgres => Some(DataFolder::take(&config.data).map_err(Failure::failed)?),
        Store::Memory => None,
    };
    let telemetry = Telemetry::start(observed(&config)).map_err(Failure::failed)?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| taken(config.listen, &error))?;
    let address = listener.local_addr().map_err(|error| taken(config.listen, &error))?;
    let door = Arc::new(Door::new(telemetry.clone(), config.names.clone()));
    let closed = door.clone();
    // Small answers and events must not wait for the answer of the other side.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let server = axum::serve(listener, http::router(door.clone())).with_graceful_shutdown(async move {
        closed.closed().await;
    });
    let server = tokio::spawn(server.into_future());

    let identity = identity(config.host_name.clone(), config.host_address.clone(), address);
    let routing = config.routing.clone();
    let starting = async {
        let backends = match (&folder, config.store) {
            (None, _) | (_, Store::Memory) => Backends::memory(),
            (Some(folder), Store::Sqlite) => Backends::sqlite(folder),
            (Some(folder), Store::Postgres) => Backends::postgres(folder, &config.url.0, config.lease).await,
        };
        Host::start(backends?, identity, routing, telemetry.clone()).await
    };
    let host = tokio::select! {
        started = starting => started.map_err(Failure::failed)?,
        // Nothing was promised to anybody yet.
        _ = signals.next() => return Ok(()),
    };
    let host = Arc::new(host);
    door.open(host.clone());
    announce(address, &config);

    let signal = signals.next().await;
    signals.end_at_next();
    tracing::info!(?signal, "ending; a second signal ends at once");
    let time = Time::begin(config.shutdown);
    door.close();
    time.phase("requests", 0.5, async { drop(server.await) }).await;
    time.phase("processors and aggregates", 0.8, host.stop()).await;
    let left = time.until(1.0);
    let handing_over = tokio::task::spawn_blocking(move || telemetry.shutdown(left));
    time.phase("telemetry", 1.0, async { drop(handing_over.await) }).await;
    // The files are closed before another host may have the folder.
    drop((door, host));
    drop(folder);
    tracing::info!("ended");
    Ok(())
}

fn observed(config: &Config) -> TelemetryConfig {
    TelemetryConfig { recent_spans: config.recent_spans, store: config.store.as_str(), ..TelemetryConfig::default() }
}

fn taken(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{address} cannot be listened at ({error}): choose another address with --listen"))
}

/// Says where the host is: the one line that people and scripts wait for.
fn announce(address: SocketAddr, config: &Config) {
    let line = match config.store {
        Store::Sqlite => {
            format!("lantern is serving on http://{address} (data in {}, store sqlite)", config.data.display())
        }
        Store::Postgres => {
            format!(
                "lantern is serving on http://{address} (compiled modules in {}, store postgres)",
                config.data.display()
            )
        }
        Store::Memory => format!("lantern is serving on http://{address} (store memory: nothing is kept)"),
    };
    match config.log_format {
        LogFormat::Text => eprintln!("{line}"),
        // A program reads the log line by line and expects JSON.
        LogFormat::Json => tracing::info!("{line}"),
    }
}
