//! What a module says of itself, as core knows it, and whether that can be used.

use std::collections::{BTreeMap, BTreeSet};

use lantern_core::{
    Migration,
    aggregate::AggregateDescription,
    module::{Described, Description},
    sql::MAX_STATEMENT,
    upcasting::{Accepted, Step, UpcasterDescription},
};

use crate::bindings::{
    aggregate::exports::lantern::module::aggregates, processor::lantern::module::types,
    upcaster::exports::lantern::module::upcasters,
};

/// The longest name of a module, its version or a collection, in bytes.
const NAME: usize = 64;

/// The longest category and the longest name of an event or command type, in bytes.
const TYPE: usize = 256;

/// The most collections a module may declare.
const COLLECTIONS: usize = 64;

/// The most categories, event types, command types, schema versions or steps a module may name.
const NAMED: usize = 1_000;

/// What a projection or handler says of itself.
pub(crate) fn processor(described: types::Description) -> Result<Described, String> {
    let types::Description { kind, name, version, categories, event_types, collections, schema_versions, migrations } =
        described;
    identity(&name, &version)?;
    check_collections(&collections)?;
    distinct("categories", "category", &categories, is_category)?;
    distinct("event types", "event type", &event_types, is_type)?;
    let schema_versions = accepted(schema_versions)?;
    let migrations = check_migrations(migrations)?;
    let description = Description {
        name,
        version,
        categories,
        event_types,
        collections,
        schema_versions,
        has_tables: !migrations.is_empty(),
        migrations,
    };
    Ok(match kind {
        types::ProcessorKind::Projection => Described::Projection(description),
        types::ProcessorKind::Handler => Described::Handler(description),
    })
}

/// What an aggregate says of itself.
pub(crate) fn aggregate(described: aggregates::Description) -> Result<Described, String> {
    let aggregates::Description { name, version, commands, state_version, schema_versions } = described;
    identity(&name, &version)?;
    distinct("commands", "command", &commands, is_type)?;
    let schema_versions = accepted(schema_versions)?;
    Ok(Described::Aggregate(AggregateDescription { name, version, commands, state_version, schema_versions }))
}

/// What an upcaster says of itself.
pub(crate) fn upcaster(described: upcasters::Description) -> Result<Described, String> {
    let upcasters::Description { name, version, steps } = described;
    identity(&name, &version)?;
    if steps.is_empty() {
        return Err("`describe` gives no steps: an upcaster takes one at least".into());
    }
    few("steps", steps.len())?;
    let step = |step: upcasters::Step| {
        let upcasters::Step { event_type, schema_version, to_type, to_version } = step;
        Step { event_type, schema_version, to_type, to_version }
    };
    let steps = steps.into_iter().map(step).collect::<Vec<_>>();
    check_steps(&steps)?;
    Ok(Described::Upcaster(UpcasterDescription { name, version, steps }))
}

fn fits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control)
}

fn is_type(text: &str) -> Result<(), String> {
    if fits(text, TYPE) { Ok(()) } else { Err(format!("1 to {TYPE} bytes without control characters are needed")) }
}

fn is_category(text: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    if fits(text, TYPE) && text.bytes().all(is_plain) {
        return Ok(());
    }
    Err("a category consists of letters, digits, `_` and `.`".into())
}

fn is_collection(text: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    if fits(text, NAME) && text.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("1 to {NAME} of `a-z`, `0-9`, `_`, `.` and `-` are needed"))
}

fn identity(name: &str, version: &str) -> Result<(), String> {
    for (what, text) in [("name", name), ("version", version)] {
        if !fits(text, NAME) {
            return Err(format!(
                "`describe` gives the {what} {text:?}: 1 to {NAME} bytes without control characters are needed"
            ));
        }
    }
    Ok(())
}

fn few(what: &str, count: usize) -> Result<(), String> {
    if count <= NAMED { Ok(()) } else { Err(format!("`describe` names {count} {what}: at most {NAMED} are allowed")) }
}

/// Names that keep a rule, none of them twice.
fn distinct(all: &str, one: &str, names: &[String], rule: impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    few(all, names.len())?;
    let mut seen = BTreeSet::new();
    for name in names {
        rule(name).map_err(|rule| format!("`describe` gives the {one} {name:?}: {rule}"))?;
        if !seen.insert(name) {
            return Err(format!("`describe` gives the {one} `{name}` twice"));
        }
    }
    Ok(())
}

fn check_collections(collections: &[String]) -> Result<(), String> {
    if collections.len() > COLLECTIONS {
        return Err(format!("`describe` gives {} collections: at most {COLLECTIONS} are allowed", collections.len()));
    }
    distinct("collections", "collection", collections, is_collection)
}

fn accepted(versions: Vec<(String, u32)>) -> Result<Accepted, String> {
    few("schema versions", versions.len())?;
    let mut accepted = Accepted::new();
    for (event_type, version) in versions {
        of_version(&event_type, version)?;
        if accepted.contains_key(&event_type) {
            return Err(format!("`describe` gives the schema version of `{event_type}` twice"));
        }
        accepted.insert(event_type, version);
    }
    Ok(accepted)
}

fn check_migrations(migrations: Vec<types::Migration>) -> Result<Vec<Migration>, String> {
    few("migrations", migrations.len())?;
    let mut checked = Vec::with_capacity(migrations.len());
    for (index, types::Migration { name, sql }) in migrations.into_iter().enumerate() {
        let number = index + 1;
        if !fits(&name, NAME) {
            return Err(format!(
                "`describe` gives migration {number} the name {name:?}: 1 to {NAME} bytes without control characters are \
                 needed"
            ));
        }
        if sql.len() > MAX_STATEMENT {
            return Err(format!(
                "`describe` gives migration {number} (`{name}`) a text of {} bytes: at most {MAX_STATEMENT} are allowed; \
                 divide it",
                sql.len()
            ));
        }
        checked.push(Migration { name, sql });
    }
    Ok(checked)
}

/// Whether an event type can have a schema version.
fn of_version(event_type: &str, version: u32) -> Result<(), String> {
    is_type(event_type).map_err(|rule| format!("`describe` gives the event type {event_type:?}: {rule}"))?;
    if version == 0 {
        return Err(format!("`describe` gives `{event_type}` the schema version 0: versions begin at 1"));
    }
    Ok(())
}

/// Whether each step leads on, and none of them back.
fn check_steps(steps: &[Step]) -> Result<(), String> {
    let mut next = BTreeMap::new();
    for Step { event_type, schema_version, to_type, to_version } in steps {
        of_version(event_type, *schema_version)?;
        of_version(to_type, *to_version)?;
        if event_type == to_type && to_version <= schema_version {
            return Err(format!(
                "`describe` gives a step from version {schema_version} of `{event_type}` to version {to_version}: a step \
                 leads to a larger version"
            ));
        }
        if next.insert((event_type, *schema_version), (to_type, *to_version)).is_some() {
            return Err(format!("`describe` gives two steps from version {schema_version} of `{event_type}`"));
        }
    }
    for (start, to) in &next {
        let led = std::iter::successors(Some(to), |at| next.get(*at)).take(steps.len());
        if led.into_iter().any(|at| at == start) {
            let (event_type, version) = start;
            return Err(format!("the steps from version {version} of `{event_type}` lead back to it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projection(change: impl FnOnce(&mut types::Description)) -> Result<Described, String> {
        let mut good = types::Description {
            kind: types::ProcessorKind::Projection,
            name: "orders".into(),
            version: "1.0.0".into(),
            categories: vec!["Order".into()],
            event_types: vec!["OrderPlaced".into()],
            collections: vec!["by-day".into(), "totals".into()],
            schema_versions: vec![("OrderPlaced".into(), 2)],
            migrations: vec![types::Migration { name: "orders".into(), sql: "create table t (a)".into() }],
        };
        change(&mut good);
        processor(good)
    }

    #[test]
    fn a_processor_says_which_kind_it_is() {
        let Ok(Described::Projection(description)) = projection(|_| ()) else { panic!("no projection") };
        assert_eq!(description.schema_versions["OrderPlaced"], 2);
        assert!(description.has_tables && description.migrations[0].name == "orders");
        let handler = projection(|described| described.kind = types::ProcessorKind::Handler);
        assert!(matches!(handler, Ok(Described::Handler(_))), "{handler:?}");
    }

    #[test]
    fn a_description_that_cannot_be_used_is_refused() {
        let refused = |change: fn(&mut types::Description)| projection(change).unwrap_err();
        assert!(refused(|bad| bad.name.clear()).contains("name"));
        assert!(refused(|bad| bad.version = "1\n".into()).contains("version"));
        assert!(refused(|bad| bad.collections[0] = "By Day".into()).contains("\"By Day\""));
        assert!(refused(|bad| bad.collections[1] = "by-day".into()).contains("twice"));
        assert!(refused(|bad| bad.collections = vec![String::new(); 65]).contains("65"));
        assert!(refused(|bad| bad.categories[0] = "a-b".into()).contains("\"a-b\""));
        assert!(refused(|bad| bad.event_types[0] = "x".repeat(257)).contains("256"));
        assert!(refused(|bad| bad.event_types = vec!["x".into(); 1_001]).contains("1001"));
        assert!(refused(|bad| bad.migrations[0].name.clear()).contains("migration 1"));
        assert!(refused(|bad| bad.migrations[0].sql = "x".repeat(65_537)).contains("divide it"));
        assert!(refused(|bad| bad.schema_versions[0].1 = 0).contains("begin at 1"));
        assert!(refused(|bad| bad.schema_versions = vec![("A".into(), 1), ("A".into(), 2)]).contains("`A` twice"));
    }

    #[test]
    fn an_aggregate_decides_on_commands() {
        let described = |commands: &[&str]| {
            aggregate(aggregates::Description {
                name: "order".into(),
                version: "1".into(),
                commands: commands.iter().map(|name| (*name).into()).collect(),
                state_version: 3,
                schema_versions: Vec::new(),
            })
        };
        let Ok(Described::Aggregate(description)) = described(&["PlaceOrder"]) else { panic!("no aggregate") };
        assert_eq!((description.state_version, description.commands), (3, vec!["PlaceOrder".to_owned()]));
        assert!(described(&[]).is_ok(), "it decides on all that come");
        assert!(described(&["A", "A"]).unwrap_err().contains("the command `A` twice"));
        assert!(described(&["A\n"]).unwrap_err().contains("control characters"));
    }

    fn steps(steps: &[(&str, u32, &str, u32)]) -> Result<Described, String> {
        let step = |(event_type, schema_version, to_type, to_version): &(&str, u32, &str, u32)| upcasters::Step {
            event_type: (*event_type).into(),
            schema_version: *schema_version,
            to_type: (*to_type).into(),
            to_version: *to_version,
        };
        let steps = steps.iter().map(step).collect();
        upcaster(upcasters::Description { name: "order-placed".into(), version: "1".into(), steps })
    }

    #[test]
    fn the_steps_of_an_upcaster_lead_on() {
        assert!(steps(&[("A", 1, "A", 2), ("A", 2, "B", 1), ("C", 1, "B", 1)]).is_ok());
        assert!(steps(&[]).unwrap_err().contains("no steps"));
        assert!(steps(&[("A", 2, "A", 2)]).unwrap_err().contains("larger version"));
        assert!(steps(&[("A", 0, "A", 2)]).unwrap_err().contains("begin at 1"));
        assert!(steps(&[("A", 1, "", 2)]).unwrap_err().contains("event type"));
        assert!(steps(&[("A", 1, "A", 2), ("A", 1, "B", 1)]).unwrap_err().contains("two steps"));
        assert!(steps(&[("A", 1, "B", 1), ("B", 1, "A", 1)]).unwrap_err().contains("lead back"));
    }
}
