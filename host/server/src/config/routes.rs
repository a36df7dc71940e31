//! Buses and routes as meant: names that are known, values that can be.

use std::{collections::BTreeSet, fmt, sync::Arc};

use lantern_core::{
    Destination, Name, Position, StreamName, Subscription,
    bus::{Beginning, Form, Keeper},
    name::NameError,
};
use lantern_processors::{Consume, Publish, Start};

use super::{
    lists::{Entry, Lists},
    written::ConfigError,
};

/// The buses of a host and the routes between them and the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Routing {
    /// The buses.
    pub(crate) buses: Vec<(Name, BusUrl)>,
    /// The routes from the log to a bus.
    pub(crate) publish: Vec<Publish>,
    /// The routes from a bus into the log, or to a projection.
    pub(crate) consume: Vec<Consume>,
}

/// The URL of a bus. It may have a password in it and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BusUrl(String);

impl BusUrl {
    /// The URL itself, for whoever connects.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Routing {
    /// What the lists mean.
    pub(super) fn meant(lists: &Lists) -> Result<Self, ConfigError> {
        let mut routing = Self::default();
        for entry in lists.entries("bus") {
            let url = entry.needed("url")?;
            // A slip in a URL is told before anything starts; the error shows nothing of it.
            lantern_buses::open(url).map_err(|error| entry.wrong("url", error.to_string()))?;
            routing.buses.push((name(entry)?, BusUrl(url.into())));
        }
        for entry in lists.entries("publish") {
            let publish = routing.publishing(entry)?;
            routing.publish.push(publish);
        }
        for entry in lists.entries("consume") {
            let consume = routing.consuming(entry)?;
            routing.consume.push(consume);
        }
        Ok(routing)
    }

    fn publishing(&self, entry: &Entry) -> Result<Publish, ConfigError> {
        let categories = categories(entry)?;
        let form = match entry.text("form") {
            None | Some("binary") => Form::Binary,
            Some("structured") => Form::Structured,
            Some(_) => return Err(entry.wrong("form", "`binary` and `structured` are there")),
        };
        let start = match entry.text("from") {
            None | Some("beginning") => Start::Beginning,
            Some("end") => Start::End,
            Some(text) => match text.parse() {
                Ok(position) => Start::After(Position(position)),
                Err(_) => return Err(entry.wrong("from", "write `beginning`, `end` or a position")),
            },
        };
        Ok(Publish {
            name: name(entry)?,
            bus: self.bus(entry)?,
            destination: Destination { topic: topic(entry, "topic")?, form },
            categories,
            event_types: entry.texts("types").iter().cloned().collect(),
            start,
        })
    }

    fn consuming(&self, entry: &Entry) -> Result<Consume, ConfigError> {
        let name = name(entry)?;
        if self.publish.iter().any(|publish| publish.name == name) {
            return Err(entry.wrong("name", format!("a route `{name}` is there already, which publishes: rename one")));
        }
        let beginning = match entry.text("beginning") {
            None | Some("oldest") => Beginning::Oldest,
            Some("newest") => Beginning::Newest,
            Some(_) => return Err(entry.wrong("beginning", "`oldest` and `newest` are there")),
        };
        let category = entry.text("category").map(|category| {
            let is_category = is_category(category);
            let needed = "this is no category: `Order` is one, the part of `Order-42` before the `-`";
            is_category.then(|| Arc::from(category)).ok_or_else(|| entry.wrong("category", needed))
        });
        let subscription = Subscription {
            topic: topic(entry, "topic")?,
            group: topic(entry, "group")?,
            pattern: entry.text("pattern").map(Arc::from),
            category: category.transpose()?,
            beginning,
            keeper: Keeper::Bus,
        };
        let projection = entry.text("projection").map(|text| self.fed(entry, text)).transpose()?;
        Ok(Consume { bus: self.bus(entry)?, name, subscription, projection })
    }

    /// The projection a route feeds: it has one source.
    fn fed(&self, entry: &Entry, text: &str) -> Result<Name, ConfigError> {
        let name: Name = text.parse().map_err(|error: NameError| entry.wrong("projection", error.to_string()))?;
        match self.consume.iter().find(|route| route.projection.as_ref() == Some(&name)) {
            Some(other) => {
                let needed = format!("the route `{}` feeds it already, and a projection has one source", other.name);
                Err(entry.wrong("projection", needed))
            }
            None => Ok(name),
        }
    }

    /// The bus of a route, which must be there.
    fn bus(&self, entry: &Entry) -> Result<Name, ConfigError> {
        let wanted = entry.needed("bus")?;
        let known: Vec<_> = self.buses.iter().map(|(name, _)| format!("`{name}`")).collect();
        let found = self.buses.iter().find(|(name, _)| name.as_str() == wanted);
        found.map(|(name, _)| name.clone()).ok_or_else(|| match known.as_slice() {
            [] => entry.wrong("bus", "there is no table `[[bus]]` of that name"),
            known => entry.wrong("bus", format!("the tables `[[bus]]` are {}", known.join(", "))),
        })
    }
}

fn name(entry: &Entry) -> Result<Name, ConfigError> {
    entry.name.parse().map_err(|error: NameError| entry.wrong("name", error.to_string()))
}

fn topic(entry: &Entry, key: &str) -> Result<Arc<str>, ConfigError> {
    let text = entry.needed(key)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(entry.wrong(key, "a name without control characters is needed"));
    }
    Ok(text.into())
}

fn categories(entry: &Entry) -> Result<BTreeSet<String>, ConfigError> {
    let categories = entry.texts("categories");
    match categories.iter().find(|category| !is_category(category)) {
        Some(category) => Err(entry.wrong(
            "categories",
            format!("`{category}` is no category: `Order` is one, the part of `Order-42` before the `-`"),
        )),
        None => Ok(categories.iter().cloned().collect()),
    }
}

fn is_category(text: &str) -> bool {
    StreamName::new(format!("{text}-1")).is_ok_and(|stream| stream.category() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Options};

    const BUS: &str = "[[bus]]\nname = \"main\"\nurl = \"memory:\"\n";

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<Routing, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lantern.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let shown = format!("{}/", folder.path().display());
        let config = Config::read(Some(&path), variables, Options::default());
        config.map(|config| config.routing).map_err(|error| error.to_string().replace(&shown, ""))
    }

    #[track_caller]
    fn refused(file: &str, variables: &[(&str, &str)], message: &str) {
        let error = read(file, variables).unwrap_err();
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    fn publish(more: &str) -> String {
        format!("{BUS}[[publish]]\nname = \"orders\"\nbus = \"main\"\ntopic = \"out\"\n{more}")
    }

    fn consume(more: &str) -> String {
        format!("{BUS}[[consume]]\nname = \"payments\"\nbus = \"main\"\ntopic = \"in\"\ngroup = \"shop\"\n{more}")
    }

    #[test]
    fn routes_are_read_with_their_defaults() {
        let routing = read(&publish(""), &[]).unwrap();
        let expected = Publish {
            name: "orders".parse().unwrap(),
            bus: "main".parse().unwrap(),
            destination: Destination { topic: "out".into(), form: Form::Binary },
            categories: BTreeSet::new(),
            event_types: BTreeSet::new(),
            start: Start::Beginning,
        };
        assert_eq!((routing.publish.as_slice(), routing.buses[0].1.expose()), (&[expected][..], "memory:"));
        let routing = read(&consume(""), &[]).unwrap();
        let subscription = &routing.consume[0].subscription;
        assert_eq!(
            (&*subscription.topic, &*subscription.group, subscription.beginning),
            ("in", "shop", Beginning::Oldest)
        );
    }

    #[test]
    fn routes_say_what_they_take_and_where_they_begin() {
        let more = "categories = [\"Order\"]\ntypes = [\"OrderPlaced\"]\nform = \"structured\"\nfrom = 7";
        let routing = read(&publish(more), &[]).unwrap();
        let publish = &routing.publish[0];
        assert_eq!((publish.start, publish.destination.form), (Start::After(Position(7)), Form::Structured));
        assert_eq!((publish.categories.len(), publish.event_types.len()), (1, 1));
        let more = "category = \"Payment\"\nbeginning = \"newest\"\npattern = \"Payment.*\"";
        let subscription = &read(&consume(more), &[]).unwrap().consume[0].subscription;
        assert_eq!(subscription.category.as_deref(), Some("Payment"));
        assert_eq!((subscription.pattern.as_deref(), subscription.beginning), (Some("Payment.*"), Beginning::Newest));
        let routing = read(&consume("projection = \"ledger\""), &[]).unwrap();
        assert_eq!(routing.consume[0].projection, Some("ledger".parse().unwrap()));
        let variable = [("LANTERN_CONSUME_PAYMENTS_PROJECTION", "other")];
        assert_eq!(read(&consume(""), &variable).unwrap().consume[0].projection, Some("other".parse().unwrap()));
    }

    #[test]
    fn the_environment_keeps_secrets_out_of_the_file() {
        let file = "[[bus]]\nname = \"the-main\"\n[[publish]]\nname = \"a\"\nbus = \"the-main\"\ntopic = \"t\"";
        let variables = [
            ("LANTERN_BUS_THE_MAIN_URL", "memory:?partitions=2"),
            ("LANTERN_PUBLISH_A_CATEGORIES", "Order, Payment"),
            ("LANTERN_PUBLISH_A_FROM", "end"),
        ];
        let routing = read(file, &variables).unwrap();
        assert_eq!(routing.buses[0].1.expose(), "memory:?partitions=2");
        assert_eq!((routing.publish[0].categories.len(), routing.publish[0].start), (2, Start::End));
        let alone = read("", &[("LANTERN_BUS_OTHER_URL", "memory:")]).unwrap();
        assert_eq!(alone.buses[0].0.as_str(), "other");
        assert!(!format!("{alone:?}").contains("memory"), "{alone:?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_mend() {
        refused(
            "[[bus]]\nname = \"main\"",
            &[],
            "`bus.main.url` is missing: add `url = \"…\"` to the table, or set LANTERN_BUS_MAIN_URL",
        );
        refused("[[bus]]\nurl = \"memory:\"", &[], "`bus.name` is missing: each table `[[bus]]` needs a `name`");
        refused(&format!("{BUS}{BUS}"), &[], "`bus.main` is there twice");
        refused("[bus]\nname = \"main\"", &[], "write tables `[[bus]]`");
        refused("[[bus]]\nname = \"main\"\nurl = \"ftp://ann:secret@h\"", &[], "`bus.main.url` is not shown here");
        refused("[[bus]]\nname = \"main\"\nurl = [\"secret\"]", &[], "`bus.main.url` is of kind array");
        refused(
            "[[bus]]\nname = \"main\"\nurl = \"memory:\"\npassword = \"secret\"",
            &[],
            "there is no key `bus.main.password`",
        );
        refused("", &[("LANTERN_BUS_MAIN_PORT", "1")], "write LANTERN_BUS_NAME_ and one of `URL`");
        refused(
            "",
            &[("LANTERN_BUS_MAIN_URL", "ftp://ann:secret@h")],
            "LANTERN_BUS_MAIN_URL: `bus.main.url` is not shown",
        );
        refused(
            &publish("from = \"now\""),
            &[],
            "`publish.orders.from` is `now`: write `beginning`, `end` or a position",
        );
        refused(&publish("form = \"xml\""), &[], "`binary` and `structured`");
        refused(&publish("categories = \"Order\""), &[], "texts are needed");
        refused(&publish("categories = [\"a-b\"]"), &[], "`a-b` is no category");
        refused(
            &publish("").replace("bus = \"main\"", "bus = \"other\""),
            &[],
            "`publish.orders.bus` is `other`: the tables `[[bus]]` are `main`",
        );
        refused(&consume("beginning = \"first\""), &[], "`oldest` and `newest`");
        refused(&consume("").replace("group = \"shop\"\n", ""), &[], "`consume.payments.group` is missing");
        refused(&consume("projection = \"a b\""), &[], "`consume.payments.projection` is `a b`: `a b` is no name");
        let fed = consume("projection = \"ledger\"\n");
        let twice = fed.clone() + &fed.replace(BUS, "").replace("payments", "refunds");
        refused(&twice, &[], "`consume.refunds.projection` is `ledger`: the route `payments` feeds it already");
        let both = publish("") + &consume("").replace(BUS, "").replace("payments", "orders");
        refused(&both, &[], "a route `orders` is there already");
    }
}
