//! The variables that lead tests to the servers: one list, written in one form.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};

/// Every variable, and what it holds. A server whose first variable the caller has set is the caller's, and is used as it
/// is.
pub(crate) const VARIABLES: [(&str, &str); 13] = [
    ("LANTERN_TEST_POSTGRES_URL", "a PostgreSQL database whose user may make databases and roles; TLS is offered"),
    ("LANTERN_TEST_REDIS_URL", "a Redis, its password included"),
    ("LANTERN_TEST_REDIS_TLS_URL", "the same over TLS"),
    ("LANTERN_TEST_RABBITMQ_URL", "a RabbitMQ, user and password included"),
    ("LANTERN_TEST_RABBITMQ_TLS_URL", "the same over TLS"),
    ("LANTERN_TEST_RABBITMQ_MANAGEMENT_URL", "the HTTP API of its management plugin"),
    ("LANTERN_TEST_KAFKA_BROKERS", "brokers of a Kafka that ask for no password"),
    ("LANTERN_TEST_KAFKA_SASL_BROKERS", "the same with SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    ("LANTERN_TEST_KAFKA_TLS_BROKERS", "the same with SASL over TLS"),
    ("LANTERN_TEST_KAFKA_USER", "the user for SASL"),
    ("LANTERN_TEST_KAFKA_PASSWORD", "the password for SASL"),
    ("LANTERN_TEST_CA", "a file with the certificate of the authority that the servers' TLS stands on"),
    ("LANTERN_TEST_XTASK", "the program that starts and kills servers: `$LANTERN_TEST_XTASK services kill redis`"),
];

/// Variables with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment(pub BTreeMap<String, String>);

impl Environment {
    /// Writes them so that a shell can source the file.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.to_string()).with_context(|| format!("writing {}", path.display()))
    }

    /// Adds variables.
    pub(crate) fn add(&mut self, variables: Vec<(&'static str, String)>) {
        self.0.extend(variables.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
}

/// As a shell takes them.
impl std::fmt::Display for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.0 {
            writeln!(formatter, "export {name}='{}'", value.replace('\'', r"'\''"))?;
        }
        Ok(())
    }
}

/// The list for a person.
pub(crate) fn list() -> String {
    let mut list = String::new();
    for (name, what) in VARIABLES {
        // Writing to a string does not fail.
        let _ = writeln!(list, "  {name:<37}{what}");
    }
    list
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::services::{instance::Instance, server};

    fn example() -> Environment {
        let pairs = [("A_URL", "amqp://a:b@127.0.0.1:1/%2f?x=1&y"), ("B", "it's $HOME `date`\\"), ("C", "")];
        Environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_shell_takes_it_as_it_is_meant() {
        let script = format!("{}printf '%s|%s|%s' \"$A_URL\" \"$B\" \"$C\"", example());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let expected = example().0.values().map(String::as_str).collect::<Vec<_>>().join("|");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }

    #[test]
    fn every_variable_of_a_server_is_in_the_list() {
        for server in server::ALL {
            let instance = Instance::find(server, Path::new("/nowhere"), Path::new("/nowhere"));
            for (name, _) in server.variables(&instance) {
                assert!(VARIABLES.iter().any(|(known, _)| *known == name), "{name} is not in the list");
            }
        }
    }
}
