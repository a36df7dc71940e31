//! The configuration as meant: checked once, and never again.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    routes::Routing,
    written::{ConfigError, Layers, Origin, Secret, Written},
};

/// The configuration of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where the HTTP API listens; a loopback address.
    pub(crate) listen: SocketAddr,
    /// The names under which it may be asked for, beside addresses and `localhost`.
    pub(crate) names: Vec<String>,
    /// How long a shutdown may take altogether.
    pub(crate) shutdown: Duration,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The kind of store.
    pub(crate) store: Store,
    /// Where the database is, of a store that has one.
    pub(crate) url: Secret,
    /// The name of the host among those that share its stores, where one is given.
    pub(crate) host_name: Option<String>,
    /// The URL under which the others reach it, where one is given.
    pub(crate) host_address: Option<String>,
    /// How long its leases last where it shares its stores.
    pub(crate) lease: Duration,
    /// How many recent spans are kept.
    pub(crate) recent_spans: usize,
    /// Which log lines are written.
    pub(crate) log_filter: String,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Buses, and routes between them and the log.
    pub(crate) routing: Routing,
}

/// The kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Store {
    /// Files in the data folder.
    Sqlite,
    /// A PostgreSQL database that other hosts may share.
    Postgres,
    /// Nothing outlives the host.
    Memory,
}

impl Store {
    /// Its name, as in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Memory => "memory",
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// `--listen`.
    pub(crate) listen: Option<String>,
    /// `--data`.
    pub(crate) data: Option<PathBuf>,
    /// `--store`.
    pub(crate) store: Option<Store>,
    /// `--url`.
    pub(crate) url: Option<String>,
}

impl Config {
    /// Reads the file, then the environment, then the options: what comes later wins.
    pub(crate) fn read(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
        options: Options,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::defaults();
        if let Some(file) = file {
            layers.file(file)?;
        }
        layers.environment(variables)?;
        layers.option("--listen", "server", "listen", options.listen)?;
        layers.option("--store", "storage", "store", options.store.map(|store| store.as_str().into()))?;
        layers.option("--url", "storage", "url", options.url)?;
        let mut config = Self::meant(&layers)?;
        if let Some(data) = options.data {
            // A path of the command line need not be Unicode, which TOML must be.
            config.data = data;
        }
        Ok(config)
    }

    fn meant(layers: &Layers) -> Result<Self, ConfigError> {
        let Written { server, storage, hosts, telemetry, log } = layers.written();
        let wrong = |key: &str, found: &str, needed: &str| ConfigError::Value {
            origin: layers.origin(key),
            key: key.into(),
            found: format!("`{found}`"),
            needed: needed.into(),
        };
        let shutdown = u64::try_from(server.shutdown_seconds).ok().filter(|seconds| (1..=600).contains(seconds));
        let shutdown = shutdown.ok_or_else(|| {
            wrong("server.shutdown_seconds", &server.shutdown_seconds.to_string(), "1 to 600 seconds are possible")
        })?;
        let recent_spans = usize::try_from(telemetry.recent_spans).ok().filter(|spans| *spans <= 10_000_000);
        let recent_spans = recent_spans.ok_or_else(|| {
            wrong("telemetry.recent_spans", &telemetry.recent_spans.to_string(), "0 to 10000000 spans are possible")
        })?;
        let store = match storage.store.as_str() {
            "sqlite" => Store::Sqlite,
            "postgres" if storage.url.0.is_empty() => {
                let needed = "`postgres` needs to know where: set LANTERN_STORAGE_URL to \
                              `postgres://user:password@host:port/database`";
                return Err(wrong("storage.url", "", needed));
            }
            "postgres" => Store::Postgres,
            "memory" => Store::Memory,
            other => return Err(wrong("storage.store", other, "`sqlite`, `postgres` and `memory` are there")),
        };
        let log_format = match log.format.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => return Err(wrong("log.format", other, "`text` and `json` are there")),
        };
        let names: Vec<String> =
            server.names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Into::into).collect();
        let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if let Some(other) = names.iter().find(|name| !is_name(name)) {
            return Err(wrong("server.names", other, "write names without ports, parted by commas"));
        }
        let lease = u64::try_from(hosts.lease_seconds).ok().filter(|seconds| (2..=600).contains(seconds));
        let lease = lease.ok_or_else(|| {
            wrong("hosts.lease_seconds", &hosts.lease_seconds.to_string(), "2 to 600 seconds are possible")
        })?;
        let given = |text: String| Some(text.trim().trim_end_matches('/').to_owned()).filter(|text| !text.is_empty());
        let host_address = given(hosts.address);
        if let Some(other) = host_address.as_ref().filter(|address| !address.starts_with("http")) {
            return Err(wrong("hosts.address", other, "write a URL, for example `http://10.0.0.7:7171`"));
        }
        Ok(Self {
            host_name: given(hosts.name),
            host_address,
            lease: Duration::from_secs(lease),
            listen: loopback(&server.listen, layers.origin("server.listen"))?,
            names,
            shutdown: Duration::from_secs(shutdown),
            data: storage.data,
            store,
            url: storage.url,
            recent_spans,
            log_filter: log.filter,
            log_format,
            routing: Routing::meant(layers.lists())?,
        })
    }
}

/// The address to listen at, which must be a loopback address while there are no tokens.
fn loopback(text: &str, origin: Origin) -> Result<SocketAddr, ConfigError> {
    let wrong = |origin, needed: &str| ConfigError::Value {
        origin,
        key: "server.listen".into(),
        found: format!("`{text}`"),
        needed: needed.into(),
    };
    let Some(address) = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()) else {
        return Err(wrong(origin, "write address:port, for example `127.0.0.1:7171`"));
    };
    if !address.ip().is_loopback() {
        let needed = "only loopback addresses are served, since anyone who can connect may do anything; \
                      write `127.0.0.1:7171` and put a proxy that knows its users before it";
        return Err(wrong(origin, needed));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TEMPLATE;

    fn read(file: &str, variables: &[(&str, &str)], options: Options) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lantern.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let shown = format!("{}/", folder.path().display());
        Config::read(Some(&path), variables, options).map_err(|error| error.to_string().replace(&shown, ""))
    }

    #[track_caller]
    fn refused(file: &str, variables: &[(&str, &str)], message: &str) {
        let error = read(file, variables, Options::default()).unwrap_err();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn the_template_holds_the_defaults() {
        let defaults = Config::read(None, std::iter::empty(), Options::default()).unwrap();
        assert_eq!(read(TEMPLATE, &[], Options::default()), Ok(defaults.clone()));
        let expected = Config {
            listen: "127.0.0.1:7171".parse().unwrap(),
            names: Vec::new(),
            shutdown: Duration::from_secs(10),
            data: "./lantern-data".into(),
            store: Store::Sqlite,
            url: Secret::default(),
            host_name: None,
            host_address: None,
            lease: Duration::from_secs(5),
            recent_spans: 65_536,
            log_filter: "info".into(),
            log_format: LogFormat::Text,
            routing: Routing::default(),
        };
        assert_eq!(defaults, expected);
    }

    #[test]
    fn the_environment_wins_over_the_file_and_options_over_both() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\nshutdown_seconds = 3\n[storage]\nstore = \"memory\"";
        let variables = [
            ("LANTERN_SERVER_LISTEN", "127.0.0.1:2"),
            ("LANTERN_TELEMETRY_RECENT_SPANS", "7"),
            ("LANTERN_URL", "elsewhere"),
            ("HOME", "x"),
        ];
        let config = read(file, &variables, Options::default()).unwrap();
        assert_eq!((config.listen.port(), config.shutdown.as_secs(), config.recent_spans), (2, 3, 7));
        assert_eq!(config.store, Store::Memory);
        let options = Options {
            listen: Some("localhost:3".into()),
            data: Some("d".into()),
            store: Some(Store::Postgres),
            url: Some("postgres://ann:hidden@db.example/shop".into()),
        };
        let config = read(file, &variables, options).unwrap();
        assert!(!format!("{config:?}").contains("hidden"), "{config:?}");
        assert_eq!((config.listen.port(), config.data, config.store), (3, "d".into(), Store::Postgres));
        assert_eq!(config.url.0, "postgres://ann:hidden@db.example/shop");
    }

    #[test]
    fn names_are_parted_by_commas() {
        let config = read("[server]\nnames = \" a.example,b.example ,\"", &[], Options::default()).unwrap();
        assert_eq!(config.names, ["a.example", "b.example"]);
    }

    #[test]
    fn unknown_keys_name_what_there_is() {
        refused(
            "[server]\nlissten = \"x\"",
            &[],
            "lantern.toml: there is no key `server.lissten`: [server] has `listen`",
        );
        refused(
            "[sever]\nlisten = \"x\"",
            &[],
            "lantern.toml: there is no key `sever`: the sections are `hosts`, `log`, `server`",
        );
        refused("server = 1", &[], "write a section `[server]`");
        refused("", &[("LANTERN_STORAGE_DATE", "x")], "LANTERN_STORAGE_DATE: there is no key `storage.date`");
    }

    #[test]
    fn wrong_values_name_place_value_and_mend() {
        refused("[server]\nlisten = 7171", &[], "`server.listen` is 7171: a text is needed");
        refused("[server]\nlisten = \"here\"", &[], "lantern.toml: `server.listen` is `here`: write address:port");
        refused("[server]\nlisten = \"0.0.0.0:80\"", &[], "only loopback addresses");
        refused("[server]\nnames = \"a.example, b:80\"", &[], "`server.names` is `b:80`: write names without ports");
        refused("[server]\nshutdown_seconds = 0", &[], "`server.shutdown_seconds` is `0`: 1 to 600");
        refused("", &[("LANTERN_SERVER_SHUTDOWN_SECONDS", "soon")], "a whole number is needed");
        refused("", &[("LANTERN_STORAGE_STORE", "paper")], "LANTERN_STORAGE_STORE: `storage.store` is `paper`");
        refused("[storage]\nstore = \"postgres\"", &[], "`storage.url` is ``: `postgres` needs to know where");
        refused("[telemetry]\nrecent_spans = -1", &[], "0 to 10000000");
        refused("[hosts]\nlease_seconds = 1", &[], "`hosts.lease_seconds` is `1`: 2 to 600");
        refused("[hosts]\naddress = \"here:7171\"", &[], "`hosts.address` is `here:7171`: write a URL");
        refused("[log]\nformat = \"xml\"", &[], "`text` and `json`");
        refused("[server\n", &[], "lantern.toml is no TOML: line 1:");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::read(Some(Path::new("nowhere.toml")), std::iter::empty(), Options::default()).unwrap_err();
        assert!(error.to_string().contains("nowhere.toml"));
    }
}
