//! The host's log: lines on standard error, for people or as JSON, with the trace they belong to.
//!
//! A JSON line has the keys `timestamp` (RFC 3339, UTC), `level`, `logger`, `message`, then `trace_id` and `span_id`
//! where the line belongs to a trace, `exception` where there is an error, then every further field. Guests' lines
//! have the logger `lantern::guest` and the fields `projection` (`handler`, `aggregate`), `module`, `context` and
//! `attributes`.
//!
//! Lines are written by a thread of its own: whoever logs never waits, and lines that standard error does not take in
//! time are dropped and counted.

mod format;
mod writer;

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt as _};

use format::Lines;
pub use writer::dropped_lines;

/// The variable with the filter.
pub const FILTER: &str = "LANTERN_LOG";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; coloured on a terminal, unless `NO_COLOR` is set.
    #[default]
    Human,
    /// For programs: one JSON object a line.
    Json,
}

/// How the host logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingConfig {
    /// How lines look.
    pub format: Format,
    /// Which lines are written, for example `info` or `warn,lantern::guest=debug`.
    pub filter: String,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        let given = std::env::var(FILTER).ok().filter(|filter| !filter.trim().is_empty());
        Self { format: Format::Human, filter: given.unwrap_or_else(|| "info".into()) }
    }
}

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error("`{filter}` is no log filter: {reason}; write for example `info` or `warn,lantern::guest=debug`")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else in this process logs already.
    #[error("logging is started already in this process")]
    Started,
    /// The thread that writes lines could not be started.
    #[error("the thread that writes log lines could not be started: {0}; raise the limit of processes")]
    Thread(std::io::Error),
}

/// Logging that was started. When it is dropped, the lines that wait are written, for at most a second.
#[must_use = "the last lines are lost when this is dropped early"]
#[derive(Debug)]
pub struct Logging {
    writer: writer::Writer,
}

/// Starts logging for the whole process.
pub fn start(config: &LoggingConfig) -> Result<Logging, LoggingError> {
    let writer = writer::Writer::start().map_err(LoggingError::Thread)?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = subscriber(config, colours, writer.clone())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Started)?;
    Ok(Logging { writer })
}

pub(crate) fn subscriber<W>(config: &LoggingConfig, colours: bool, writer: W) -> Result<impl Subscriber, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| LoggingError::Filter { filter: config.filter.clone(), reason: error.to_string() })?;
    let layer = tracing_subscriber::fmt::layer().event_format(Lines(config.format)).with_ansi(colours);
    Ok(tracing_subscriber::registry().with(filter).with(layer.with_writer(writer)))
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.writer.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use lantern_core::{
        Cause,
        witness::{GuestLog, Level},
    };
    use serde_json::Value;

    use super::*;
    use crate::{
        fixture::{self, ports, written},
        propagation,
    };

    fn line(log: &str) -> Value {
        assert_eq!(log.matches('\n').count(), 1, "{log}");
        serde_json::from_str(log).unwrap()
    }

    #[test]
    fn a_json_line_has_its_keys_in_order_and_the_trace_of_its_scope() {
        let error = io::Error::other("disk\nfull");
        let log = written(Format::Json, "info", || {
            propagation::sync_scope(ports::context(10, 20), || {
                tracing::warn!(target: "lantern::log", stream = "Order-42", count = 3, done = true, level = "x", %error, "it \"failed\"");
            });
        });
        let places = ["timestamp", "level", "logger", "message", "trace_id", "span_id", "exception", "stream", "count"]
            .map(|key| log.find(&format!("\"{key}\":")).unwrap());
        assert!(places.is_sorted(), "{log}");
        let mut line = line(&log);
        let timestamp = line["timestamp"].take();
        assert!(timestamp.as_str().unwrap().parse::<lantern_core::Timestamp>().is_ok(), "{timestamp}");
        let expected = serde_json::json!({
            "timestamp": null,
            "level": "WARN",
            "logger": "lantern::log",
            "message": "it \"failed\"",
            "trace_id": "0000000000000000000000000000000a",
            "span_id": "0000000000000014",
            "exception": "disk\nfull",
            "stream": "Order-42",
            "count": 3,
            "done": true,
            "field.level": "x",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_outside_a_trace_has_no_ids() {
        let log = written(Format::Json, "info", || {
            tracing::debug!("not wanted");
            tracing::info!("alone");
        });
        let line = line(&log);
        assert_eq!(line["message"], "alone");
        assert!(line.get("trace_id").is_none() && line.get("exception").is_none(), "{line}");
    }

    #[test]
    fn a_line_for_people_is_one_line_whatever_it_holds() {
        let log = written(Format::Human, "info", || {
            propagation::sync_scope(ports::context(10, 20), || {
                tracing::info!(target: "lantern::log", stream = "Order-42", "red \u{1b}[31m\nand more");
            });
        });
        assert_eq!(log.matches('\n').count(), 1, "{log}");
        let ids = "trace_id=0000000000000000000000000000000a span_id=0000000000000014";
        let expected = format!(" INFO lantern::log: red \\u{{1b}}[31m\\nand more stream=Order-42 {ids}\n");
        assert!(log.ends_with(&expected), "{log}");
    }

    #[test]
    fn lines_of_guests_carry_the_span_they_were_said_in() {
        let telemetry = fixture::telemetry();
        let guest_line = |span_id, level, message: &str| GuestLog {
            at: lantern_core::Timestamp(0),
            level,
            context: "totals".into(),
            message: message.into(),
            span_id,
            attributes: vec![("order".into(), "42".into())],
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let said = vec![guest_line(Some(5), Level::Warn, "careful"), guest_line(None, Level::Debug, "hidden")];
        let closure = ports::Closure::new(move |_| {
            let mut outcome = ports::well();
            outcome.witness.logs.clone_from(&said);
            outcome
        });
        let mut instance = runtime.block_on(closure.watched(&telemetry));
        let log = written(Format::Json, "info", || {
            ports::handle(instance.as_mut(), &ports::event(Some(ports::context(10, 20))), Cause::Live);
        });
        let line = line(&log);
        let told =
            ["level", "logger", "message", "trace_id", "span_id", "projection", "module", "context", "attributes"]
                .map(|key| line[key].as_str().unwrap());
        let module = "07".repeat(6);
        let expected =
            ["WARN", "lantern::guest", "careful", "0000000000000000000000000000000a", "0000000000000005", "orders"];
        assert_eq!(told[..6], expected);
        assert_eq!(told[6..], [module.as_str(), "totals", "{\"order\":42}"]);
    }

    #[test]
    fn a_guest_that_floods_is_cut_short_and_counted() {
        let telemetry = fixture::telemetry();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let closure = ports::Closure::new(|_| {
            let mut outcome = ports::well();
            let (at, level, context) = (lantern_core::Timestamp(0), Level::Info, String::new());
            let line = GuestLog { at, level, context, message: "again".into(), span_id: None, attributes: Vec::new() };
            outcome.witness.logs = vec![line; 100_000];
            outcome.witness.dropped_logs = 7;
            outcome
        });
        let mut instance = runtime.block_on(closure.watched(&telemetry));
        let log = written(Format::Human, "info", || {
            ports::handle(instance.as_mut(), &ports::event(None), Cause::Live);
        });
        assert_eq!(log.matches('\n').count(), 1000);
        let metrics = telemetry.metrics();
        assert!(metrics.contains("guest_log_lines_dropped_total{subscription=\"orders\"} 99007"), "{metrics}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let config = LoggingConfig { format: Format::Human, filter: "lantern=loud".into() };
        let error = subscriber(&config, false, io::sink).err().unwrap().to_string();
        assert!(error.contains("`lantern=loud`"), "{error}");
    }
}
