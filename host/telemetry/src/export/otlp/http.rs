//! OTLP over HTTP, binary.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use reqwest::{
    Certificate, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};

use super::{super::worker::Undelivered, Settings};

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// A pool of connections.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let url: Url = settings
            .endpoint
            .parse()
            .map_err(|error| format!("this is no address, write `http://host:4318`: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("this is no address, write `http://host:4318`".into());
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let (Ok(key), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value)) else {
                return Err(format!("the header `{}` has characters that a header cannot have", name.escape_debug()));
            };
            headers.insert(key, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("lantern/", env!("CARGO_PKG_VERSION")))
            // Elsewhere the headers would be told to somebody they are not meant for.
            .redirect(Policy::none())
            .timeout(settings.timeout);
        if let Some(pem) = &settings.roots {
            let roots = Certificate::from_pem_bundle(pem).map_err(|error| format!("the certificates: {error}"))?;
            builder = builder.tls_certs_only(roots);
        }
        let http = builder.build().map_err(|error| super::chain(&error))?;
        Ok(Self { http, url })
    }

    pub(super) async fn deliver(&mut self, batch: Bytes) -> Result<(), Undelivered> {
        let sent = self.http.post(self.url.clone()).body(batch).send().await;
        let response = sent.map_err(|error| failed(error, true))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status, response.headers()));
        }
        if let Ok(answer) = answer(response).await {
            super::partly(answer);
        }
        Ok(())
    }
}

/// The answer, as far as it can be understood: what is not, was a success all the same.
async fn answer(mut response: reqwest::Response) -> Result<ExportTraceServiceResponse, Undelivered> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| failed(error, false))? {
        if body.len() + part.len() > MAX_ANSWER {
            break;
        }
        body.extend_from_slice(&part);
    }
    let no_otlp = |error| Undelivered { retry: false, after: None, reason: format!("the answer is no OTLP: {error}") };
    ExportTraceServiceResponse::decode(body.as_slice()).map_err(no_otlp)
}

fn failed(error: reqwest::Error, retry: bool) -> Undelivered {
    // The address is told beside the reason, without what may be secret in it.
    Undelivered { retry, after: None, reason: super::chain(&error.without_url()) }
}

/// Which refusals may pass is said by the OTLP specification.
fn refused(status: StatusCode, headers: &HeaderMap) -> Undelivered {
    let retry = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    Undelivered { retry, after, reason: format!("the collector answered {status}") }
}
