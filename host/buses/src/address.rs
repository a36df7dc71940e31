//! Where a bus is: a URL taken apart, its options read one by one, its password never shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    str::FromStr,
};

use crate::percent;

/// Why a text is no URL of a bus. The URL itself is not shown, since it may have a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It does not begin with the name of a bus.
    #[error(
        "a bus has a URL `kafka://host:port`, `amqp://host`, `amqps://host`, `redis://host`, `rediss://host` or `memory:`, \
         and this one has none of these schemes"
    )]
    Scheme,
    /// This binary was built without the client.
    #[error("this binary was built without {0}: use one that has the feature `{1}`")]
    Missing(&'static str, &'static str),
    /// A part of it cannot be read.
    #[error("the URL of {bus} has {what}")]
    Part {
        /// Which bus.
        bus: &'static str,
        /// What is wrong.
        what: String,
    },
    /// An option has a value that it cannot have.
    #[error("option `{name}` in the URL of {bus} is `{value}`: {needed}")]
    Value {
        /// Which bus.
        bus: &'static str,
        /// The option.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is possible.
        needed: String,
    },
    /// There is no such option.
    #[error("`{name}` is no option of {bus}: there are {known}")]
    Option {
        /// Which bus.
        bus: &'static str,
        /// The option.
        name: String,
        /// The options there are.
        known: String,
    },
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself, for whoever has to send it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A URL, taken apart: `scheme://user:password@host:port,host:port/path?option=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The user; texts are without their percent-encoding.
    pub(crate) user: Option<String>,
    /// The password.
    pub(crate) password: Option<Secret>,
    /// Hosts with their ports; at least one.
    pub(crate) servers: Vec<(String, u16)>,
    /// What follows the first `/`, when it is not empty.
    pub(crate) path: Option<String>,
}

impl Address {
    /// Takes apart what follows `scheme://`, except the options.
    pub(crate) fn read(bus: &'static str, rest: &str, port: u16) -> Result<Self, AddressError> {
        let wrong = |what: &str| AddressError::Part { bus, what: what.into() };
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
        // A password may have an `@` that somebody forgot to encode; a host has none.
        let (login, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
        let decoded = |text: &str, what: &str| {
            let text =
                percent::decode(text).ok_or_else(|| wrong(&format!("{what} whose percent-encoding is no UTF-8")));
            text.map(|text| text.into_owned())
        };
        let (user, password) = match login {
            None => (None, None),
            Some(login) => {
                let (user, password) = login.split_once(':').map_or((login, None), |(user, it)| (user, Some(it)));
                let password = password.map(|password| decoded(password, "a password")).transpose()?.map(Secret);
                (Some(decoded(user, "a user")?).filter(|user| !user.is_empty()), password)
            }
        };
        let servers = hosts.split(',').map(|host| {
            server(host.trim(), port).ok_or_else(|| {
                wrong("no host where one is needed: write `host`, `host:port` or several with `,` between them")
            })
        });
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let path = path.filter(|path| !path.is_empty()).map(|path| decoded(path, "a path")).transpose()?;
        Ok(Self { user, password, servers, path })
    }

    /// The hosts with their ports, as users write them.
    pub(crate) fn servers(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(|(host, port)| joined(host, *port)).collect();
        servers.join(",")
    }
}

/// A host with its port, as users write it.
fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn server(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { default } else { port.parse().ok().filter(|port| *port > 0)? };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// The options of a URL, asked for one by one. What nobody asked for is unknown.
#[derive(Debug)]
pub(crate) struct Options {
    bus: &'static str,
    given: BTreeMap<String, String>,
    known: BTreeSet<&'static str>,
}

impl Options {
    /// Reads what follows the `?`.
    pub(crate) fn read(bus: &'static str, query: Option<&str>) -> Result<Self, AddressError> {
        let mut given = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = |what: String| AddressError::Part { bus, what };
            if name.contains('@') {
                // It is the end of a password, and is not to be shown.
                return Err(wrong("a `?` or `&` in its password: write `%3F` or `%26`".into()));
            }
            let value = percent::decode(value);
            let value = value.ok_or_else(|| wrong(format!("an option `{name}` whose percent-encoding is no UTF-8")))?;
            if given.insert(name.to_owned(), value.into_owned()).is_some() {
                return Err(wrong(format!("the option `{name}` twice")));
            }
        }
        Ok(Self { bus, given, known: BTreeSet::new() })
    }

    /// An option as text.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.insert(name);
        self.given.remove(name)
    }

    /// An option that `read` makes something of; `needed` says what that takes.
    pub(crate) fn read_as<T>(
        &mut self,
        name: &'static str,
        needed: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, AddressError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match read(&value) {
            Some(read) => Ok(Some(read)),
            None => Err(AddressError::Value { bus: self.bus, name, value, needed: needed.into() }),
        }
    }

    /// A number from `least` on.
    pub(crate) fn number<T: FromStr + PartialOrd + fmt::Display + Copy>(
        &mut self,
        name: &'static str,
        least: T,
    ) -> Result<Option<T>, AddressError> {
        let needed = format!("a whole number from {least} is needed");
        self.read_as(name, &needed, |text| text.parse().ok().filter(|number| *number >= least))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, AddressError> {
        self.read_as(name, "`true` and `false` are possible", |text| text.parse().ok())
    }

    /// A path of a file.
    pub(crate) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// The content of a file, which `what` describes.
    pub(crate) fn file(&mut self, name: &'static str, what: &str) -> Result<Option<String>, AddressError> {
        let Some(path) = self.path(name) else { return Ok(None) };
        std::fs::read_to_string(&path).map(Some).map_err(|error| AddressError::Value {
            bus: self.bus,
            name,
            value: path.display().to_string(),
            needed: format!("a file {what} is needed: {error}"),
        })
    }

    /// Refuses what nobody asked for.
    pub(crate) fn done(self) -> Result<(), AddressError> {
        let Some(name) = self.given.into_keys().next() else { return Ok(()) };
        let known: Vec<_> = self.known.iter().map(|name| format!("`{name}`")).collect();
        Err(AddressError::Option { bus: self.bus, name, known: known.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let address = Address::read("Kafka", "ann:p%40s%2Fs@h1,[::1]:9093/a/b", 9092).unwrap();
        assert_eq!(address.user.as_deref(), Some("ann"));
        assert_eq!(address.password.as_ref().map(Secret::expose), Some("p@s/s"));
        assert_eq!(address.servers, [("h1".into(), 9092), ("::1".into(), 9093)]);
        assert_eq!(address.path.as_deref(), Some("a/b"));
        assert_eq!(address.servers(), "h1:9092,[::1]:9093");
        assert!(!format!("{address:?}").contains("p@s"));
        let plain = Address::read("Kafka", "h", 1).unwrap();
        assert_eq!((plain.user, plain.path), (None, None));
    }

    #[test]
    fn a_host_is_needed() {
        for rest in ["", "user@", "h,", "h:0", "h:port", "[::1"] {
            assert!(Address::read("Kafka", rest, 9092).is_err(), "{rest}");
        }
    }

    #[test]
    fn options_that_nobody_asked_for_are_refused_with_those_there_are() {
        let mut options = Options::read("Redis", Some("maxlen=10&blok=1")).unwrap();
        assert_eq!(options.number("maxlen", 1), Ok(Some(10)));
        assert_eq!(options.text("ca"), None);
        let error = options.done().unwrap_err().to_string();
        assert_eq!(error, "`blok` is no option of Redis: there are `ca`, `maxlen`");
    }

    #[test]
    fn wrong_values_are_refused_with_what_is_possible() {
        let mut options = Options::read("Redis", Some("maxlen=0&a=1")).unwrap();
        assert!(options.number("maxlen", 1).unwrap_err().to_string().contains("is `0`: a whole number from 1"));
        assert!(Options::read("Redis", Some("a=1&a=2")).unwrap_err().to_string().contains("`a` twice"));
    }
}
