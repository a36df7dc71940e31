//! Why a request did not come to an answer: a rule of the host refused it, or it failed on its way.

use std::net::IpAddr;

use wasmtime_wasi_http::Error;

/// The rule that refused a request, in words for the module and the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Its origin is not listed.
    #[error(
        "{origin} is refused: the deployment does not list this origin; `--http {origin}` in the deployment lists it"
    )]
    Origin {
        /// Scheme, host and port.
        origin: String,
    },
    /// All addresses of its origin are special, and none is listed.
    #[error("{origin} is refused: {address} is {sort}; `--http-address {address}` in the deployment lists it")]
    Address {
        /// Scheme, host and port.
        origin: String,
        /// The first of the addresses.
        address: IpAddr,
        /// What it is.
        sort: &'static str,
    },
    /// It would open a tunnel.
    #[error(
        "{origin} is refused: `CONNECT` asks for a tunnel, which could lead to any origin; send the request itself"
    )]
    Tunnel {
        /// Scheme, host and port.
        origin: String,
    },
    /// The module has too many requests under way.
    #[error("{origin} is refused: {most} requests of this module are under way; read or drop their answers first")]
    TooMany {
        /// Scheme, host and port.
        origin: String,
        /// How many may be under way.
        most: usize,
    },
    /// The call has made too many requests.
    #[error("{origin} is refused: this call has made {most} requests, which is the most; send fewer for one event")]
    TooMuch {
        /// Scheme, host and port.
        origin: String,
        /// How many a call may make.
        most: usize,
    },
    /// There is no event in hand whose effect it could be.
    #[error("the request is refused: requests can be sent only while an event is handled, not from `describe`")]
    NoEvent,
}

/// Why a request did not come to an answer.
#[derive(Debug)]
pub(super) enum Problem {
    /// A rule refused it.
    Refused(Refusal),
    /// It failed on its way.
    Failed(Error),
}

impl Problem {
    /// What went wrong, in one word: the name of the error code of `wasi:http`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Address { .. }) => "destination-IP-prohibited",
            Self::Refused(Refusal::TooMany { .. }) => "connection-limit-reached",
            Self::Refused(_) => "HTTP-request-denied",
            Self::Failed(error) => kind(error),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What the module sees. The codes for refusals cannot carry a text; the one that can is used, so that the module sees
/// the rule.
impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Refused(refusal) => Self::InternalError(Some(refusal.to_string())),
            Problem::Failed(error) => error,
        }
    }
}

/// The name of an error code, of those the host gives.
pub(super) fn kind(error: &Error) -> &'static str {
    match error {
        Error::DnsError { .. } => "DNS-error",
        Error::DnsTimeout => "DNS-timeout",
        Error::Connect(_) | Error::ConnectionRefused => "connection-refused",
        Error::ConnectionTimeout => "connection-timeout",
        Error::ConnectionTerminated => "connection-terminated",
        Error::ConnectionLimitReached => "connection-limit-reached",
        Error::DestinationUnavailable => "destination-unavailable",
        Error::DestinationIpUnroutable => "destination-IP-unroutable",
        Error::TlsCertificateError => "TLS-certificate-error",
        Error::Tls(_) | Error::TlsProtocolError => "TLS-protocol-error",
        Error::HttpRequestBodySize(_) => "HTTP-request-body-size",
        Error::HttpRequestUriInvalid => "HTTP-request-URI-invalid",
        Error::HttpResponseHeaderSectionSize(_) => "HTTP-response-header-section-size",
        Error::HttpResponseBodySize(_) => "HTTP-response-body-size",
        Error::HttpResponseTimeout => "HTTP-response-timeout",
        Error::HttpResponseIncomplete => "HTTP-response-incomplete",
        Error::HttpProtocolError | Error::Hyper(_) => "HTTP-protocol-error",
        Error::ConfigurationError => "configuration-error",
        _ => "internal-error",
    }
}
