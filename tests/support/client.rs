//! The host's HTTP API as a test sees it: a request, and an answer with status, headers and body.

use std::{
    io::{BufRead, BufReader},
    time::Duration,
};

use serde_json::Value;
use ureq::{Agent, http};

/// An HTTP client of one host. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    url: String,
}

/// What a host answered.
#[derive(Debug)]
pub struct Answer {
    /// The request, for messages.
    pub request: String,
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Client {
    /// A client of the host at a URL.
    pub fn new(url: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .proxy(None)
            .build();
        Self { agent: config.into(), url: url.to_owned() }
    }

    /// Sends a request; the error says that the host could not be reached or went away.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = match body {
            [] => self.agent.run(request.body(())?)?,
            body => self.agent.run(request.body(body)?)?,
        };
        Ok(Answer {
            request: format!("{method} {path}"),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().with_config().limit(1 << 30).read_to_string()?,
        })
    }

    /// The lines of an answer that goes on for as long as something happens.
    #[track_caller]
    pub fn follow(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let response = self.agent.get(format!("{}{path}", self.url)).call().unwrap();
        assert_eq!(response.status(), 200);
        BufReader::new(response.into_body().into_reader()).lines().map_while(Result::ok)
    }
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{} answered no JSON ({error}): {}", self.request, self.body))
    }

    /// The JSON of a request that went well.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} answered {}: {}", self.request, self.status, self.body);
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem document of a request that was refused with this status and type.
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{} answered {}", self.request, self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["type"]), (&status.into(), &kind.into()), "{problem}");
        for field in ["title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "no {field}: {problem}");
        }
        problem
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
