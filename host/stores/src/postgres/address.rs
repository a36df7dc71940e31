//! The URL of a database: what Lantern takes out of it, and how the server is named where people read it.

use std::fmt;

use sqlx::postgres::PgConnectOptions;

use super::connection::OpenError;

/// The schema that is used unless the URL names one.
const SCHEMA: &str = "lantern";

/// The longest name of a schema, in bytes. PostgreSQL takes 63; the rest is for the schemas beside it.
const MAX_SCHEMA: usize = 31;

/// The parameters that a URL may have beside `schema`. Others are refused: the driver would print and ignore them.
const PARAMETERS: [&str; 9] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "user", "password", "dbname"];

/// Where a database is and how it is entered. Shown without what must stay secret.
#[derive(Clone)]
pub(super) struct Address {
    /// How the server is reached.
    pub(super) options: PgConnectOptions,
    /// The schema.
    pub(super) schema: String,
}

impl Address {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let refused = |reason: String| Err(OpenError::Url(reason));
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return refused("it does not begin with `postgres://`".into());
        }
        let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
        let mut schema = SCHEMA;
        let mut kept = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("schema", name)) => schema = name,
                Some((name, _)) if PARAMETERS.contains(&name) => kept.push(parameter),
                // What follows the name may be a secret under a mistyped name.
                named => {
                    let name = named.map_or(parameter, |(name, _)| name);
                    let known = PARAMETERS.join("`, `");
                    return refused(format!("it has no parameter `{name}`: there are `schema`, `{known}`"));
                }
            }
        }
        if !is_name(schema) {
            let wanted = format!("write lower-case letters, digits and `_`, at most {MAX_SCHEMA}, a letter first");
            return refused(format!("`{schema}` is no name of a schema: {wanted}"));
        }
        let options: PgConnectOptions = match format!("{place}?{}", kept.join("&")).parse() {
            Ok(options) => options,
            Err(error) => return refused(error.to_string()),
        };
        Ok(Self { options, schema: schema.into() })
    }

    /// The channel on which hosts tell each other how far the log is durable; their connections have this name, too.
    pub(super) fn channel(&self) -> String {
        format!("lantern:{}", self.schema)
    }
}

/// Whether a text can be written in a statement without quotes, as part of other names too.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= MAX_SCHEMA
        && text.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && text.bytes().all(fits)
        && !text.starts_with("pg_")
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        match self.options.get_socket() {
            Some(socket) => write!(f, "{} (port {port})", socket.display())?,
            None => write!(f, "{host}:{port}")?,
        }
        match self.options.get_database() {
            Some(database) => write!(f, "/{database}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match Address::parse(url) {
            Ok(address) => panic!("{address} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_url_says_where_the_database_is_and_which_schema_is_used() {
        let address =
            Address::parse("postgres://ann:secret@db.example:6000/shop?sslmode=require&schema=green").unwrap();
        assert_eq!((address.to_string().as_str(), address.schema.as_str()), ("db.example:6000/shop", "green"));
        assert_eq!(address.options.get_username(), "ann");
        assert_eq!(Address::parse("postgresql://db.example/shop").unwrap().schema, "lantern");
    }

    #[test]
    fn what_is_refused_is_said_without_secrets() {
        assert!(refused("mysql://ann:secret@db.example/shop").contains("`postgres://`"));
        assert!(refused("postgres://ann:secret@db.example/shop?schema=A").contains("`A` is no name of a schema"));
        assert!(refused("postgres://ann:secret@db.example/shop?schema=pg_x").contains("no name of a schema"));
        assert!(refused("postgres://db.example/shop?pasword=secret").contains("no parameter `pasword`"));
        for url in ["postgres://ann:secret@db.example:port/shop", "postgres://ann:secret@/x?pass=secret", "secret"] {
            assert!(!refused(url).contains("secret"), "{}", refused(url));
        }
    }
}
