//! The OTLP exporter and the variables that steer it.
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `OTEL_EXPORTER_OTLP_PROTOCOL` | `grpc` where the endpoint's port is 4317, else `http/protobuf` | how to speak |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | `http://localhost:4318`, for gRPC `http://localhost:4317` | where; HTTP adds `/v1/traces` |
//! | `OTEL_EXPORTER_OTLP_HEADERS` | | `name=value,name=value`, for example an API key |
//! | `OTEL_EXPORTER_OTLP_TIMEOUT` | 10000 | milliseconds one attempt may take |
//! | `OTEL_EXPORTER_OTLP_CERTIFICATE` | the system's roots | a PEM file with the roots to trust instead |
//! | `OTEL_EXPORTER_OTLP_INSECURE` | `false` | for gRPC endpoints without `http://` or `https://`: no TLS |
//!
//! Each also exists as `OTEL_EXPORTER_OTLP_TRACES_…`, which wins; its endpoint is used as it stands. Batches travel
//! uncompressed.

#[cfg(test)]
mod collectors;
mod grpc;
mod http;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceResponse, resource::v1::Resource};

use super::{
    encode::Encoder,
    queue::Chunk,
    resource,
    worker::{Deliver, Undelivered},
};
use crate::{
    environment::{Reader, pairs},
    telemetry::TelemetryError,
};

/// Where a collector is.
pub(super) const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const COMPRESSIONS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const INSECURE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];

/// How to reach a collector.
pub(crate) struct Settings {
    protocol: Protocol,
    endpoint: String,
    /// They may hold secrets, and are never shown.
    headers: Vec<(String, String)>,
    timeout: Duration,
    /// Roots to trust instead of the system's, PEM.
    roots: Option<Vec<u8>>,
    resource: Resource,
    version: String,
}

/// How to speak to a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

impl Settings {
    pub(super) fn read(reader: &mut Reader<'_>, version: &str) -> Result<Self, TelemetryError> {
        let endpoint = reader.text(&ENDPOINTS);
        let protocol = protocol(reader, endpoint.map(|(_, endpoint)| endpoint));
        if let Some((name, value)) = reader.text(&COMPRESSIONS).filter(|(_, value)| *value != "none") {
            reader.warn(name, value, "batches travel uncompressed");
        }
        let endpoint = match (protocol, endpoint) {
            (Protocol::Grpc, None) => "http://localhost:4317".into(),
            (Protocol::Http, None) => "http://localhost:4318/v1/traces".into(),
            (Protocol::Grpc, Some((_, endpoint))) => with_scheme(reader, endpoint),
            (Protocol::Http, Some((name, endpoint))) if name == ENDPOINTS[0] => endpoint.into(),
            (Protocol::Http, Some((_, endpoint))) => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        };
        Ok(Self {
            protocol,
            endpoint,
            headers: headers(reader),
            timeout: reader.milliseconds(&TIMEOUTS, Duration::from_secs(10)),
            roots: roots(reader)?,
            resource: resource::read(reader, version),
            version: version.into(),
        })
    }

    /// The endpoint without what may be secret: a user and a query.
    fn shown(&self) -> String {
        let endpoint = self.endpoint.split(['?', '#']).next().unwrap_or_default();
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host.rsplit('@').next().unwrap_or_default();
        if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("protocol", &self.protocol).field("endpoint", &self.shown()).finish()
    }
}

fn protocol(reader: &mut Reader<'_>, endpoint: Option<&str>) -> Protocol {
    let likely = match endpoint {
        Some(endpoint) if endpoint.trim_end_matches('/').ends_with(":4317") => Protocol::Grpc,
        _ => Protocol::Http,
    };
    match reader.text(&PROTOCOLS) {
        None => likely,
        Some((_, "grpc")) => Protocol::Grpc,
        Some((_, "http/protobuf")) => Protocol::Http,
        Some((name, value)) => {
            reader.warn(name, value, "`grpc` and `http/protobuf` are known");
            likely
        }
    }
}

/// A gRPC endpoint may be written without a scheme; then TLS is used unless it is switched off.
fn with_scheme(reader: &Reader<'_>, endpoint: &str) -> String {
    if endpoint.contains("://") {
        return endpoint.into();
    }
    let insecure = reader.text(&INSECURE).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
    format!("{}://{endpoint}", if insecure { "http" } else { "https" })
}

fn headers(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let Some((name, text)) = reader.text(&HEADERS) else { return Vec::new() };
    let (good, bad) = pairs(text);
    for part in bad {
        reader.warn(name, &part, "write `name=value,name=value`");
    }
    good
}

fn roots(reader: &Reader<'_>) -> Result<Option<Vec<u8>>, TelemetryError> {
    let Some((name, path)) = reader.text(&CERTIFICATES) else { return Ok(None) };
    match std::fs::read(path) {
        Ok(pem) => Ok(Some(pem)),
        Err(error) => Err(wrong(format!("{name}: the file `{path}` cannot be read: {error}"))),
    }
}

/// Says that a collector took a batch but refused some of its spans.
fn partly(response: ExportTraceServiceResponse) {
    let Some(partial) = response.partial_success else { return };
    if partial.rejected_spans > 0 {
        tracing::debug!(
            rejected = partial.rejected_spans,
            reason = partial.error_message,
            "the collector refused spans"
        );
    }
}

/// An error with what is behind it, which often is all that helps.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Settings the exporter cannot work with.
fn wrong(reason: String) -> TelemetryError {
    TelemetryError::Export { exporter: "otlp", reason }
}

/// The exporter.
pub(super) struct Otlp {
    encoder: Encoder,
    shown: String,
    client: Client,
}

enum Client {
    Grpc(grpc::Client),
    Http(http::Client),
}

impl Otlp {
    /// Makes the client; nothing is connected yet. Must be called inside a runtime.
    pub(super) fn new(settings: Settings) -> Result<Self, TelemetryError> {
        // Both clients take the process's provider; one that is installed already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shown = settings.shown();
        let client = match settings.protocol {
            Protocol::Grpc => grpc::Client::new(&settings).map(Client::Grpc),
            Protocol::Http => http::Client::new(&settings).map(Client::Http),
        };
        let client = client.map_err(|reason| wrong(format!("{} `{shown}`: {reason}", ENDPOINTS[1])))?;
        Ok(Self { encoder: Encoder::new(&settings.resource, settings.version), shown, client })
    }
}

#[async_trait]
impl Deliver for Otlp {
    fn prepare(&mut self, chunk: &Chunk) -> Bytes {
        self.encoder.request(chunk)
    }

    async fn deliver(&mut self, batch: &Bytes) -> Result<(), Undelivered> {
        match &mut self.client {
            Client::Grpc(client) => client.deliver(batch.clone()).await,
            Client::Http(client) => client.deliver(batch.clone()).await,
        }
    }

    fn advice(&self) -> String {
        let how = match self.client {
            Client::Grpc(_) => "by gRPC",
            Client::Http(_) => "by HTTP",
        };
        format!(
            "Is a collector listening at {} {how}? OTEL_EXPORTER_OTLP_ENDPOINT says where, OTEL_EXPORTER_OTLP_PROTOCOL \
             how (`grpc`, usually port 4317, or `http/protobuf`, usually port 4318); OTEL_TRACES_EXPORTER=none switches \
             the exporter off",
            self.shown
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn settings<const N: usize>(given: [(&str, &str); N]) -> Settings {
        let environment = Environment::from_iter(given);
        Settings::read(&mut Reader::new(&environment), "1").unwrap()
    }

    #[test]
    fn protocol_and_endpoint_follow_the_specification() {
        let check = |given: &[(&str, &str)], protocol, endpoint: &str| {
            let environment = Environment::from_iter(given.iter().copied());
            let settings = Settings::read(&mut Reader::new(&environment), "1").unwrap();
            assert_eq!((settings.protocol, settings.endpoint.as_str()), (protocol, endpoint), "{given:?}");
        };
        let (grpc, http) = (Protocol::Grpc, Protocol::Http);
        check(&[], http, "http://localhost:4318/v1/traces");
        check(&[(PROTOCOLS[1], "grpc")], grpc, "http://localhost:4317");
        check(&[(ENDPOINTS[1], "http://c:4318/x/")], http, "http://c:4318/x/v1/traces");
        check(&[(ENDPOINTS[0], "http://c:4318/x"), (ENDPOINTS[1], "http://d")], http, "http://c:4318/x");
        check(&[(ENDPOINTS[1], "http://c:4317")], grpc, "http://c:4317");
        check(&[(ENDPOINTS[1], "http://c:4317"), (PROTOCOLS[1], "http/protobuf")], http, "http://c:4317/v1/traces");
        check(&[(ENDPOINTS[1], "c:4317")], grpc, "https://c:4317");
        check(&[(ENDPOINTS[1], "c:4317"), (INSECURE[1], "true")], grpc, "http://c:4317");
        check(&[(PROTOCOLS[0], "grpc"), (PROTOCOLS[1], "http/protobuf")], grpc, "http://localhost:4317");
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = settings([
            (ENDPOINTS[0], "https://user:password@c:4318/v1/traces?key=secret"),
            (HEADERS[1], "x-honeycomb-team=secret"),
        ]);
        assert_eq!(settings.headers, [("x-honeycomb-team".to_owned(), "secret".to_owned())]);
        let shown = format!("{settings:?}");
        assert!(shown.contains("https://c:4318/v1/traces"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("password"), "{shown}");
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_an_error_with_its_path() {
        let environment = Environment::from_iter([(CERTIFICATES[1], "/nowhere/roots.pem")]);
        let error = Settings::read(&mut Reader::new(&environment), "1").unwrap_err().to_string();
        assert!(error.contains(CERTIFICATES[1]) && error.contains("/nowhere/roots.pem"), "{error}");
    }
}
