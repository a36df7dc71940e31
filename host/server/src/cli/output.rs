//! What commands print: JSON for programs, tables and lines for people.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    time::Duration,
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;

/// The longest cell of a table, in characters.
const MAX_CELL: usize = 80;

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// Whether programs read it.
    pub(super) json: bool,
}

impl Output {
    /// Prints what a program asked for, or else what people are told.
    pub(super) fn show(self, json: &str, people: impl FnOnce() -> Result<String, Failure>) -> Result<(), Failure> {
        if self.json { print(json) } else { print(&people()?) }
    }

    /// Prints a value as JSON, or else what people are told.
    pub(super) fn show_value(
        self,
        json: &impl Serialize,
        people: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if !self.json {
            return print(&people()?);
        }
        let text =
            serde_json::to_string(json).map_err(|error| Failure::failed(format!("no JSON came of it: {error}")))?;
        print(&text)
    }

    /// Tells that something was done.
    pub(super) fn done(self, json: &Value, people: impl fmt::Display) -> Result<(), Failure> {
        if self.json { print(&json.to_string()) } else { print(&people.to_string()) }
    }
}

/// Prints a line, or several, to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush()))
}

/// Judges a write to standard output. A reader that has gone away, as `head` does, has what it wanted.
pub(super) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::failed(format!("standard output cannot be written: {error}"))),
    }
}

/// A table; a text instead when there are no rows.
pub(super) fn table<R>(header: &[&str], rows: impl IntoIterator<Item = R>, empty: &str) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| short(&cell)));
    }
    if table.is_empty() {
        return empty.into();
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Names and values below each other.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let fact = |(name, value): &(&str, String)| {
        let value = value.lines().collect::<Vec<_>>().join(&format!("\n{:width$}  ", ""));
        format!("{name:width$}  {value}\n")
    };
    facts.iter().filter(|(_, value)| !value.is_empty()).map(fact).collect()
}

/// A text on one line, cut where it gets too long for a table.
pub(super) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_CELL) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// A duration in the unit that fits.
pub(super) fn duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    // The figures are shown with two or three digits, so what a float cannot hold is not missed.
    let in_units = |unit: f64, name: &str| {
        let value = nanoseconds as f64 / unit;
        if value < 10.0 { format!("{value:.2} {name}") } else { format!("{value:.1} {name}") }
    };
    match nanoseconds {
        0..1_000_000 => in_units(1e3, "µs"),
        1_000_000..1_000_000_000 => in_units(1e6, "ms"),
        _ => in_units(1e9, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_header_and_aligned_columns() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["name", "n"], rows, ""), "NAME    N\na       1\nlonger  2\n");
        assert_eq!(table(&["name"], Vec::<Vec<String>>::new(), "nothing here"), "nothing here");
    }

    #[test]
    fn cells_are_one_line_and_not_too_long() {
        assert_eq!(short("a\n  b"), "a b");
        assert_eq!(short(&"ü".repeat(100)).chars().count(), MAX_CELL + 1);
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        assert_eq!(duration(Duration::from_nanos(1500)), "1.50 µs");
        assert_eq!(duration(Duration::from_micros(12_340)), "12.3 ms");
        assert_eq!(duration(Duration::from_millis(2500)), "2.50 s");
    }

    #[test]
    fn facts_stand_below_each_other() {
        let shown = facts(&[("name", "orders".into()), ("n", "a\nb".into()), ("none", String::new())]);
        assert_eq!(shown, "name  orders\nn     a\n      b\n");
    }
}
