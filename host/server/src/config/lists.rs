//! The lists of the configuration as written: buses and routes, each an entry with a name. Does not judge what values mean.
//!
//! A key of an entry is also the variable `LANTERN_LIST_NAME_KEY`, for example `LANTERN_BUS_MAIN_URL`: the name in upper
//! case, `-` as `_`. It wins over the file, and an entry that the file does not have begins with it.

use std::fmt;

use toml::{Table, Value};

use super::written::{ConfigError, Origin, quoted};

/// What is hidden from everyone who reads errors.
const SECRET: &str = "url";

/// What kind of value a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Several texts; parted by commas in a variable.
    Texts,
    /// A word, or a number.
    Place,
}

/// A list and the keys of its entries, beside `name`.
struct Schema {
    list: &'static str,
    keys: &'static [(&'static str, Kind)],
}

/// All lists.
const SCHEMAS: [Schema; 3] = [
    Schema { list: "bus", keys: &[("url", Kind::Text)] },
    Schema {
        list: "publish",
        keys: &[
            ("bus", Kind::Text),
            ("topic", Kind::Text),
            ("categories", Kind::Texts),
            ("types", Kind::Texts),
            ("form", Kind::Text),
            ("from", Kind::Place),
        ],
    },
    Schema {
        list: "consume",
        keys: &[
            ("bus", Kind::Text),
            ("topic", Kind::Text),
            ("group", Kind::Text),
            ("pattern", Kind::Text),
            ("category", Kind::Text),
            ("beginning", Kind::Text),
            ("projection", Kind::Text),
        ],
    },
];

/// An entry of a list.
#[derive(Clone)]
pub(super) struct Entry {
    list: &'static str,
    /// Its name.
    pub(super) name: String,
    /// Where it was begun.
    pub(super) origin: Origin,
    values: Vec<(&'static str, Given, Origin)>,
}

/// A value of an entry.
#[derive(Clone)]
enum Given {
    Text(String),
    Texts(Vec<String>),
}

/// All lists with their entries.
#[derive(Default)]
pub(super) struct Lists {
    entries: Vec<Entry>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some of the values are secrets.
        write!(f, "[[{}]] {}", self.list, self.name)
    }
}

impl Entry {
    /// The text of a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(known, ..)| *known == key).and_then(|(_, given, _)| match given {
            Given::Text(text) => Some(text.as_str()),
            Given::Texts(_) => None,
        })
    }

    /// The texts of a key; none when it is not given.
    pub(super) fn texts(&self, key: &str) -> &[String] {
        let given = self.values.iter().find(|(known, ..)| *known == key);
        given.map_or(&[], |(_, given, _)| if let Given::Texts(texts) = given { texts } else { &[] })
    }

    /// The text of a key that must be there.
    pub(super) fn needed(&self, key: &str) -> Result<&str, ConfigError> {
        self.text(key).ok_or_else(|| ConfigError::Value {
            origin: self.origin.clone(),
            key: self.key(key),
            found: "missing".into(),
            needed: format!("add `{key} = \"…\"` to the table, or set {}", self.variable(key)),
        })
    }

    /// A key as errors name it.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}.{}.{key}", self.list, self.name)
    }

    /// What to say of a value that is none.
    pub(super) fn wrong(&self, key: &str, needed: impl Into<String>) -> ConfigError {
        let of_key = self.values.iter().find(|(known, ..)| *known == key);
        let origin = of_key.map_or(&self.origin, |(_, _, origin)| origin).clone();
        let found = match of_key {
            _ if key == SECRET => "not shown here".into(),
            _ if key == "name" => format!("`{}`", self.name),
            Some((_, Given::Text(text), _)) => format!("`{text}`"),
            Some((_, Given::Texts(texts), _)) => format!("{texts:?}"),
            None => "missing".into(),
        };
        ConfigError::Value { origin, key: self.key(key), found, needed: needed.into() }
    }

    fn variable(&self, key: &str) -> String {
        let name = self.name.to_uppercase().replace('-', "_");
        format!("LANTERN_{}_{name}_{}", self.list.to_uppercase(), key.to_uppercase())
    }

    fn set(&mut self, key: &'static str, given: Given, origin: Origin) {
        self.values.retain(|(known, ..)| *known != key);
        self.values.push((key, given, origin));
    }
}

impl Lists {
    /// The names of the lists.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        SCHEMAS.iter().map(|schema| schema.list)
    }

    /// The entries of a list, in the order given.
    pub(super) fn entries(&self, list: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.list == list)
    }

    /// Takes a list of a file. Says whether it is one.
    pub(super) fn file(&mut self, list: &str, value: &Value, origin: &Origin) -> Result<bool, ConfigError> {
        let Some(schema) = SCHEMAS.iter().find(|schema| schema.list == list) else { return Ok(false) };
        let tables = value.as_array().and_then(|items| items.iter().map(Value::as_table).collect::<Option<Vec<_>>>());
        let Some(tables) = tables else {
            let needed = format!("write tables `[[{list}]]`, each with a `name`");
            return Err(ConfigError::Value { origin: origin.clone(), key: list.into(), found: kind(value), needed });
        };
        for table in tables {
            let entry = self.entry(schema, table, origin)?;
            self.entries.push(entry);
        }
        Ok(true)
    }

    fn entry(&self, schema: &Schema, table: &Table, origin: &Origin) -> Result<Entry, ConfigError> {
        let list = schema.list;
        let wrong = |key: String, found: String, needed: String| ConfigError::Value {
            origin: origin.clone(),
            key,
            found,
            needed,
        };
        let Some(name) = table.get("name").and_then(Value::as_str) else {
            let needed = format!("each table `[[{list}]]` needs a `name`, a text");
            return Err(wrong(format!("{list}.name"), "missing".into(), needed));
        };
        if self.entries(list).any(|entry| entry.name == name) {
            return Err(wrong(format!("{list}.{name}"), "there twice".into(), "give each a name of its own".into()));
        }
        let mut entry = Entry { list, name: name.into(), origin: origin.clone(), values: Vec::new() };
        for (key, value) in table.iter().filter(|(key, _)| *key != "name") {
            let Some((key, wanted)) = schema.keys.iter().find(|(known, _)| known == key) else {
                let keys: Vec<_> =
                    ["name"].into_iter().chain(schema.keys.iter().map(|(key, _)| *key)).map(String::from).collect();
                let known = format!("[[{list}]] has {}", quoted(keys.iter()));
                return Err(ConfigError::UnknownKey { origin: origin.clone(), key: entry.key(key), known });
            };
            let given = match (wanted, value) {
                (Kind::Text | Kind::Place, Value::String(text)) => Some(Given::Text(text.clone())),
                (Kind::Place, Value::Integer(number)) => Some(Given::Text(number.to_string())),
                (Kind::Texts, Value::Array(items)) => {
                    let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str().map(String::from)).collect();
                    texts.map(Given::Texts)
                }
                _ => None,
            };
            let needed = match wanted {
                Kind::Text => "a text is needed",
                Kind::Texts => "texts are needed, for example [\"Order\"]",
                Kind::Place => "`beginning`, `end` or a position is needed",
            };
            let given = given.ok_or_else(|| wrong(entry.key(key), kind(value), needed.into()))?;
            entry.set(key, given, origin.clone());
        }
        Ok(entry)
    }

    /// Takes a variable of the environment. Says whether it is one of a list.
    pub(super) fn variable(&mut self, variable: &str, text: &str) -> Result<bool, ConfigError> {
        let Some(rest) = variable.strip_prefix("LANTERN_") else { return Ok(false) };
        let of_list =
            |schema: &&Schema| rest.strip_prefix(&schema.list.to_uppercase()).is_some_and(|rest| rest.starts_with('_'));
        let Some(schema) = SCHEMAS.iter().find(of_list) else { return Ok(false) };
        let rest = &rest[schema.list.len() + 1..];
        let origin = Origin::Variable(variable.to_owned());
        let found = schema.keys.iter().find_map(|(key, kind)| {
            let name = rest.strip_suffix(&key.to_uppercase())?.strip_suffix('_').filter(|name| !name.is_empty())?;
            Some((*key, *kind, name))
        });
        let Some((key, kind, name)) = found else {
            let keys: Vec<_> = schema.keys.iter().map(|(key, _)| key.to_uppercase()).collect();
            let known =
                format!("write LANTERN_{}_NAME_ and one of {}", schema.list.to_uppercase(), quoted(keys.iter()));
            return Err(ConfigError::UnknownKey { origin, key: rest.to_lowercase(), known });
        };
        let given = match kind {
            Kind::Text | Kind::Place => Given::Text(text.to_owned()),
            Kind::Texts => {
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                Given::Texts(texts.map(String::from).collect())
            }
        };
        let is_meant =
            |entry: &&mut Entry| entry.list == schema.list && entry.name.to_uppercase().replace('-', "_") == name;
        match self.entries.iter_mut().find(is_meant) {
            Some(entry) => entry.set(key, given, origin),
            None => {
                let (list, name) = (schema.list, name.to_lowercase());
                let mut entry = Entry { list, name, origin: origin.clone(), values: Vec::new() };
                entry.set(key, given, origin);
                self.entries.push(entry);
            }
        }
        Ok(true)
    }
}

/// What a value is, without showing it: it may be a secret in the wrong place.
fn kind(value: &Value) -> String {
    format!("of kind {}", value.type_str())
}
