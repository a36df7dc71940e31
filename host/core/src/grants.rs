//! Grants: what a deployment lets a handler do beyond its own documents. Nothing, unless it says so.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::Name;

/// What a handler may do beyond its own documents.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// It may emit events.
    pub emit: bool,
    /// It may schedule events.
    pub schedule: bool,
    /// Its clocks show the real time; the event's time otherwise.
    pub time: bool,
    /// Its random numbers are real; seeded by the event's id otherwise.
    pub random: bool,
    /// The origins it may send requests to.
    pub http: Vec<Origin>,
    /// Loopback, link-local, private and other special addresses that the names of `http` may lead to; all others of
    /// that sort are refused.
    pub addresses: Vec<Network>,
    /// The topics it may publish to.
    pub publish: Vec<BusTopic>,
}

impl Grants {
    /// Whether it may send requests anywhere.
    #[must_use]
    pub fn has_http(&self) -> bool {
        !self.http.is_empty()
    }

    /// A topic of a bus, if it may publish to it.
    #[must_use]
    pub fn topic(&self, bus: &str, topic: &str) -> Option<&BusTopic> {
        self.publish.iter().find(|granted| granted.bus.as_str() == bus && granted.topic == topic)
    }
}

/// A topic of a bus, written `bus/topic`. The bus has the name that the configuration gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BusTopic {
    /// The bus.
    pub bus: Name,
    /// The topic.
    pub topic: String,
}

/// Why a text is no topic of a bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no topic of a bus: write `bus/topic`, the bus as it is called in the configuration")]
pub struct BusTopicError {
    text: String,
}

impl FromStr for BusTopic {
    type Err = BusTopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (bus, topic) = text.split_once('/')?;
            let is_topic = !topic.is_empty() && !topic.chars().any(char::is_control);
            is_topic.then_some(Self { bus: bus.parse().ok()?, topic: topic.into() })
        };
        read().ok_or_else(|| BusTopicError { text: text.escape_debug().to_string() })
    }
}

impl fmt::Display for BusTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bus, self.topic)
    }
}

impl TryFrom<String> for BusTopic {
    type Error = BusTopicError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BusTopic> for String {
    fn from(topic: BusTopic) -> Self {
        topic.to_string()
    }
}

/// Where requests may go: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    /// Whether the connection is secured by TLS: `https`, not `http`.
    pub is_secure: bool,
    /// The name or address, in lower case; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no origin: write `https://name` or `http://name:port`, without a path")]
pub struct OriginError {
    text: String,
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        origin(text).ok_or_else(|| OriginError { text: text.escape_debug().to_string() })
    }
}

fn origin(text: &str) -> Option<Origin> {
    let (is_secure, rest) = match text.split_once("://")? {
        (scheme, rest) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        (scheme, rest) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.to_string(), port)
        }
        None => {
            let colon = rest.find(':').unwrap_or(rest.len());
            (rest[..colon].to_ascii_lowercase(), &rest[colon..])
        }
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None if port.is_empty() => default_port(is_secure),
        None => return None,
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_name = host.bytes().all(is_host) || host.parse::<Ipv6Addr>().is_ok();
    (!host.is_empty() && is_name).then_some(Origin { is_secure, host, port })
}

/// The port of a scheme.
fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]", self.host)?;
        } else {
            write!(f, "{scheme}://{}", self.host)?;
        }
        if self.port == default_port(self.is_secure) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

/// A range of addresses: an address and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address or network: write for example `127.0.0.1`, `10.0.0.0/8` or `fd00::/8`")]
pub struct NetworkError {
    text: String,
}

impl Network {
    /// Whether an address lies in it. An IPv4 address in IPv6's clothes counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32, self.bits),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128, self.bits),
            _ => false,
        }
    }
}

/// Whether two addresses of `width` bits have the same first `bits`.
fn same(a: u128, b: u128, width: u32, bits: u8) -> bool {
    bits == 0 || (a ^ b) >> (width - u32::from(bits)) == 0
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || NetworkError { text: text.escape_debug().to_string() };
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| error())?.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| error())?;
        if bits <= width { Ok(Self { address, bits }) } else { Err(error()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == width { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.bits) }
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_and_written() {
        for (text, same) in [
            ("https://API.example.com", "https://api.example.com"),
            ("https://api.example.com:443/", "https://api.example.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://127.0.0.1", "http://127.0.0.1"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), same);
        }
        for text in ["", "example.com", "ftp://a", "http://", "http://a/path", "http://a:0", "http://u@a", "http://a b"]
        {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn topics_are_read_and_written() {
        let topic: BusTopic = "main/orders/v1".parse().unwrap();
        assert_eq!((topic.bus.as_str(), topic.topic.as_str()), ("main", "orders/v1"));
        assert_eq!(topic.to_string(), "main/orders/v1");
        let grants = Grants { publish: vec![topic], ..Grants::default() };
        assert_eq!(grants.topic("main", "orders/v1"), Some(&grants.publish[0]));
        assert_eq!((grants.topic("main", "orders"), grants.topic("other", "orders/v1")), (None, None));
        for text in ["", "main", "main/", "/orders", "a b/orders"] {
            assert!(text.parse::<BusTopic>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let contains =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.200.3.4") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "10.0.0.1"));
        assert!(contains("0.0.0.0/0", "1.2.3.4"));
        assert!("10.0.0.0/33".parse::<Network>().is_err() && "name".parse::<Network>().is_err());
    }
}
