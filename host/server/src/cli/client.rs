//! The HTTP client of the command line.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, RequestBuilder, Response, Url,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::{Serialize, de::DeserializeOwned};

use super::failure::{Exit, Failure};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Parameters of a query.
pub(super) type Query<'a> = &'a [(&'a str, String)];

/// A client of one host.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    shown: String,
}

/// What a host answered when all went well.
#[derive(Debug)]
pub(super) struct Answer {
    /// The body, JSON.
    pub(super) text: String,
    /// The trace of the request.
    pub(super) trace_id: Option<String>,
}

impl Answer {
    /// The body, read.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let strange = |error| {
            let detail = format!("the host answered something else than expected ({error}): is it of this version?");
            Failure::new(Exit::Failed, "unexpected-answer", detail)
        };
        serde_json::from_str(&self.text).map_err(strange)
    }
}

impl Client {
    /// A client of the host at a URL.
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        let wrong = |reason: String| {
            Failure::usage(format!("`{url}` is no URL of a host ({reason}): write for example http://127.0.0.1:7171"))
        };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("http or https is needed".into()));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("lantern/", env!("CARGO_PKG_VERSION")));
        if is_here(&parsed) {
            // A proxy knows nothing of this machine.
            builder = builder.no_proxy();
        }
        let http =
            builder.build().map_err(|error| Failure::failed(format!("no HTTP client could be made: {error}")))?;
        Ok(Self { http, url: parsed, shown: url.trim_end_matches('/').into() })
    }

    /// Asks for something.
    pub(super) async fn get(&self, path: &[&str], query: Query<'_>) -> Result<Answer, Failure> {
        self.whole(self.request(Method::GET, path, query)?).await
    }

    /// Sends JSON.
    pub(super) async fn post(&self, path: &[&str], query: Query<'_>, body: &impl Serialize) -> Result<Answer, Failure> {
        self.whole(self.request(Method::POST, path, query)?.json(body)).await
    }

    /// Sends bytes.
    pub(super) async fn post_bytes(
        &self,
        path: &[&str],
        query: Query<'_>,
        headers: &[(&str, &str)],
        content_type: &str,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(Method::POST, path, query)?.header(CONTENT_TYPE, content_type).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.whole(request).await
    }

    /// Removes something.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<(), Failure> {
        self.whole(self.request(Method::DELETE, path, &[])?).await.map(drop)
    }

    /// Asks for something that is read piece by piece.
    pub(super) async fn stream(&self, path: &[&str], query: Query<'_>) -> Result<Response, Failure> {
        self.send(self.request(Method::GET, path, query)?).await
    }

    /// The connection broke while an answer was read.
    pub(super) fn broken(&self, error: &reqwest::Error) -> Failure {
        Failure::unreachable(&self.shown, format_args!("the answer broke off: {}", innermost(error)))
    }

    fn request(&self, method: Method, path: &[&str], query: Query<'_>) -> Result<RequestBuilder, Failure> {
        let mut url = self.url.clone();
        // Only a URL that cannot have a path refuses one, and such a URL has neither http nor https.
        let no_path = |()| Failure::usage(format!("`{}` is no URL of a host", self.shown));
        url.path_segments_mut().map_err(no_path)?.pop_if_empty().extend(["api", "v1"]).extend(path);
        Ok(self.http.request(method, url).query(query).header(ACCEPT, "application/json"))
    }

    async fn whole(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = self.send(request).await?;
        let trace_id = response.headers().get("traceparent").and_then(|value| value.to_str().ok()?.split('-').nth(1));
        let trace_id = trace_id.map(str::to_owned);
        let text = response.text().await.map_err(|error| self.broken(&error))?;
        Ok(Answer { text, trace_id })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let sent = request.send().await;
        let response = sent.map_err(|error| Failure::unreachable(&self.shown, innermost(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response.text().await.map_err(|error| self.broken(&error))?;
        Err(Failure::answered(status, &body))
    }
}

/// What lies beneath: the outer errors of a connection say nothing about it.
fn innermost(error: &reqwest::Error) -> String {
    let mut inner: &dyn Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    if std::ptr::addr_eq(inner, error) { error.to_string() } else { inner.to_string() }
}

/// Whether a URL names this machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, Failure> {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(url)
    }

    #[test]
    fn any_character_of_a_key_survives_in_the_path() {
        let client = client("http://127.0.0.1:7171/").unwrap();
        let request = client.request(Method::GET, &["a", "k/e y?#%ü"], &[("limit", "3".into())]).unwrap();
        let url = request.build().unwrap().url().to_string();
        assert_eq!(url, "http://127.0.0.1:7171/api/v1/a/k%2Fe%20y%3F%23%25%C3%BC?limit=3");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["here", "ftp://host", "mailto:a@b"] {
            assert_eq!(client(url).err().map(|failure| failure.exit), Some(Exit::Usage), "{url}");
        }
    }

    #[tokio::test]
    async fn a_host_that_does_not_answer_is_named() {
        // The port was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let failure = client(&url).unwrap().get(&["log"], &[]).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.to_string().contains(&url) && failure.to_string().contains("lantern serve"), "{failure}");
    }
}
