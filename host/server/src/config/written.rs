//! The configuration as written: a TOML file, variables of the environment and options of the command line, laid over
//! the defaults. Does not judge what values mean.
//!
//! The template that users copy is the one list of keys, their kinds and their defaults.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value};

use super::lists::Lists;

/// The commented template: every key with its default.
pub(crate) const TEMPLATE: &str = include_str!("lantern.toml");

/// All sections, with every key set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// Section `[server]`.
    pub(crate) server: ServerSection,
    /// Section `[storage]`.
    pub(crate) storage: StorageSection,
    /// Section `[hosts]`.
    pub(crate) hosts: HostsSection,
    /// Section `[telemetry]`.
    pub(crate) telemetry: TelemetrySection,
    /// Section `[log]`.
    pub(crate) log: LogSection,
}

/// How the host is reached and ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerSection {
    /// Where the HTTP API listens.
    pub(crate) listen: String,
    /// The names of the host, parted by commas.
    pub(crate) names: String,
    /// How long a shutdown may take, in seconds.
    pub(crate) shutdown_seconds: i64,
}

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StorageSection {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The kind of store.
    pub(crate) store: String,
    /// Where the database is.
    pub(crate) url: Secret,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "nothing" } else { "a secret" })
    }
}

/// This host among others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostsSection {
    /// Its name.
    pub(crate) name: String,
    /// Where the others reach it.
    pub(crate) address: String,
    /// How long its leases last, in seconds.
    pub(crate) lease_seconds: i64,
}

/// What is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetrySection {
    /// How many recent spans are kept.
    pub(crate) recent_spans: i64,
}

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSection {
    /// Which lines are written.
    pub(crate) filter: String,
    /// How lines are written.
    pub(crate) format: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {0} cannot be read: {1}")]
    File(PathBuf, String),
    /// The file is no TOML.
    #[error("{0} is no TOML: {1}")]
    Syntax(PathBuf, String),
    /// There is no such key.
    #[error("{origin}: there is no key `{key}`: {known}")]
    UnknownKey {
        /// The file or variable.
        origin: Origin,
        /// The key.
        key: String,
        /// What there is, in words.
        known: String,
    },
    /// A value is of another kind, or out of range.
    #[error("{origin}: `{key}` is {found}: {needed}")]
    Value {
        /// The file or variable.
        origin: Origin,
        /// The key, with its section.
        key: String,
        /// What is written.
        found: String,
        /// What is needed.
        needed: String,
    },
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
    /// In an option of the command line.
    Option(&'static str),
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::Option(name) => f.write_str(name),
            Self::Default => f.write_str("the defaults"),
        }
    }
}

/// The defaults and what was laid over them, with the origin of every change.
pub(super) struct Layers {
    values: Table,
    origins: Vec<(String, Origin)>,
    lists: Lists,
}

impl Layers {
    /// The defaults alone.
    pub(super) fn defaults() -> Self {
        // The template is part of the binary, and a test reads it.
        let values = TEMPLATE.parse().expect("the template is TOML");
        Self { values, origins: Vec::new(), lists: Lists::default() }
    }

    /// Lays a file over what is there.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::File(path.to_owned(), error.to_string()))?;
        let file: Table = text.parse().map_err(|error: toml::de::Error| syntax(path, &text, &error))?;
        let origin = || Origin::File(path.to_owned());
        for (section, keys) in file {
            if self.lists.file(&section, &keys, &origin())? {
                continue;
            }
            let Some(known) = self.values.get(&section).and_then(Value::as_table) else {
                let lists: Vec<_> = Lists::names().map(String::from).collect();
                let (sections, lists) = (quoted(self.values.keys()), quoted(lists.iter()));
                let known = format!("the sections are {sections}, the lists {lists}");
                return Err(ConfigError::UnknownKey { origin: origin(), key: section, known });
            };
            let Value::Table(keys) = keys else {
                let needed = format!("write a section `[{section}]` with {}", quoted(known.keys()));
                let found = keys.to_string();
                return Err(ConfigError::Value { origin: origin(), key: section, found, needed });
            };
            for (key, value) in keys {
                self.set(&section, &key, value, origin())?;
            }
        }
        Ok(())
    }

    /// Lays variables of the environment over what is there.
    pub(super) fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (name, text) in variables {
            if self.lists.variable(&name, &text)? {
                continue;
            }
            let Some((section, key)) = self.named(&name) else { continue };
            let origin = Origin::Variable(name);
            let value = match self.values.get(&section).and_then(|keys| keys.get(&key)) {
                Some(Value::Integer(_)) => text.parse().map(Value::Integer).unwrap_or(Value::String(text)),
                _ => Value::String(text),
            };
            self.set(&section, &key, value, origin)?;
        }
        Ok(())
    }

    /// Lays an option of the command line over what is there.
    pub(super) fn option(
        &mut self,
        option: &'static str,
        section: &str,
        key: &str,
        text: Option<String>,
    ) -> Result<(), ConfigError> {
        text.map_or(Ok(()), |text| self.set(section, key, Value::String(text), Origin::Option(option)))
    }

    /// The section and key that a variable names; nothing when it names no section of ours.
    fn named(&self, variable: &str) -> Option<(String, String)> {
        let name = variable.strip_prefix("LANTERN_")?;
        let section = self
            .values
            .keys()
            .find(|section| name.strip_prefix(&section.to_uppercase()).is_some_and(|rest| rest.starts_with('_')))?;
        Some((section.clone(), name[section.len() + 1..].to_lowercase()))
    }

    fn set(&mut self, section: &str, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let keys = self.values.get_mut(section).and_then(Value::as_table_mut);
        let Some(keys) = keys else { return Ok(()) };
        let Some(slot) = keys.get_mut(key) else {
            let known = format!("[{section}] has {}", quoted(keys.keys()));
            return Err(ConfigError::UnknownKey { origin, key: format!("{section}.{key}"), known });
        };
        let key = format!("{section}.{key}");
        if !slot.same_type(&value) {
            let needed = format!("{} is needed, for example {slot}", kind(slot));
            return Err(ConfigError::Value { origin, key, found: value.to_string(), needed });
        }
        *slot = value;
        self.origins.retain(|(known, _)| *known != key);
        self.origins.push((key, origin));
        Ok(())
    }

    /// Where a key, with its section, was written.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.origins.iter().find(|(known, _)| known == key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The lists.
    pub(super) fn lists(&self) -> &Lists {
        &self.lists
    }

    /// The outcome, every key set.
    pub(super) fn written(&self) -> Written {
        // Every key came with the template and kept its kind, and a test reads the template.
        Value::Table(self.values.clone()).try_into().expect("the template has every key")
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    ConfigError::Syntax(path.to_owned(), format!("{place}{}", error.message()))
}

pub(super) fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "a whole number",
        _ => "a text",
    }
}
