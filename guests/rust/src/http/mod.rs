//! Requests to other services. For handlers; the deployment must list the origins they may go to.
//!
//! The host adds `traceparent`, and an `Idempotency-Key` to requests that change things, the same when the call runs again.

#[cfg(target_arch = "wasm32")]
pub(crate) mod wasi;

use crate::{Failure, host};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;

/// A request to another service.
///
/// ```
/// # use lantern_guest::prelude::*;
/// # #[derive(Serialize)] struct Parcel { order: u64 }
/// # #[derive(Deserialize)] struct Booked { number: String }
/// # fn example() -> Result<(), Failure> {
/// let answer = http::Request::post("https://carrier.example/parcels").json(&Parcel { order: 42 })?.send()?.success()?;
/// let Booked { number } = answer.json()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request is sent by `send`"]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) time_out: Option<Duration>,
}

impl Request {
    /// A request of any method, for example `PATCH`, to `http://…` or `https://…`.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), time_out: None }
    }

    /// Asks for something.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Hands something over.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Puts something in a place.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// Removes something.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// The same request with a header more.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same request with this body, of a media type.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// The same request with a value as its body.
    ///
    /// # Errors
    /// When the value is no JSON.
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::permanent(format_args!("the body for {} is no JSON: {error}", self.url)))?;
        Ok(self.body("application/json", body))
    }

    /// The same request that waits no longer than this for the connection and for the answer to begin. The host's own
    /// limit holds too.
    pub fn time_out(mut self, time_out: Duration) -> Self {
        self.time_out = Some(time_out);
        self
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers, in order.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The bytes of the body.
    #[must_use]
    pub fn as_body(&self) -> &[u8] {
        &self.body
    }

    /// Sends the request and reads the answer, of whatever status.
    ///
    /// # Errors
    /// When the request is malformed, a rule of the host refuses it, or it does not come to an answer.
    pub fn send(self) -> Result<Response, Error> {
        host::http::send(&self)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) request: String,
}

impl Response {
    /// The status code, for example 200.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The answer, when its status is one of success, 200 to 299.
    ///
    /// # Errors
    /// Any other status.
    pub fn success(self) -> Result<Self, Error> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(Error::Status { status: self.status, request: self.request })
    }

    /// A header; upper and lower case are the same.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, read from JSON.
    ///
    /// # Errors
    /// When it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::permanent(format_args!("the answer to {} does not fit the module's type: {error}", self.request))
        })
    }
}

/// Why a request did not come to a useful answer. Through `?` it becomes a [`Failure`], a transient one where trying again
/// may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is no request: the text says what of it is malformed.
    Invalid(String),
    /// A rule of the host refused it: the text says which, and how the deployment can allow it.
    Refused(String),
    /// It failed on its way.
    Failed(String),
    /// It was answered with another status than one of success.
    Status {
        /// The status.
        status: u16,
        /// The request: method and address.
        request: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) | Self::Refused(reason) | Self::Failed(reason) => f.write_str(reason),
            Self::Status { status, request } => write!(f, "{request} was answered with status {status}"),
        }
    }
}

// `Error` is no `std::error::Error`: every one of those becomes a permanent failure, and some of these are transient.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Failed(_) | Error::Status { status: 408 | 425 | 429 | 500..=599, .. } => Self::transient(error),
            Error::Invalid(_) | Error::Refused(_) | Error::Status { .. } => Self::permanent(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Error {
        Error::Status { status, request: "GET https://a.example/".to_owned() }
    }

    #[test]
    fn what_may_go_away_is_transient() {
        let transient = |error: Error| matches!(Failure::from(error), Failure::Transient(_));
        assert!(transient(Error::Failed("no connection".to_owned())));
        assert!(transient(status(503)) && transient(status(429)));
        assert!(!transient(status(404)) && !transient(Error::Refused("a rule".to_owned())));
        assert!(!transient(Error::Invalid("no address".to_owned())));
    }

    #[test]
    fn only_success_is_success() {
        let answer = |status| Response { status, headers: Vec::new(), body: Vec::new(), request: "GET /".to_owned() };
        assert!(answer(204).success().is_ok());
        assert_eq!(answer(302).success().unwrap_err().to_string(), "GET / was answered with status 302");
    }
}
