//! The report: a row for each budget, and what there is to say about it.

use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

/// What was found out about one budget.
pub(crate) struct Row {
    what: String,
    measured: String,
    budget: String,
    verdict: Verdict,
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Kept,
    Short,
}

/// The rows in the order they were found out.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// A figure that must not exceed its budget.
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, budget: f64, show: impl Fn(f64) -> String) {
        self.push(what, show(figure), format!("≤ {}", show(budget)), figure <= budget);
    }

    /// A figure that must not fall below its budget.
    pub(crate) fn at_least(&mut self, what: &str, figure: f64, budget: f64, show: impl Fn(f64) -> String) {
        self.push(what, show(figure), format!("≥ {}", show(budget)), figure >= budget);
    }

    /// A budget that is not a number.
    pub(crate) fn holds(&mut self, what: &str, measured: String, budget: &str, kept: bool) {
        self.push(what, measured, budget.into(), kept);
    }

    /// Something to say below the table; lines may be many.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints all rows as a table. Says whether every budget is kept.
    pub(crate) fn print(&self) -> bool {
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY);
        table.set_header(["what", "measured", "budget", ""]);
        for row in &self.rows {
            let verdict = match row.verdict {
                Verdict::Kept => "ok",
                Verdict::Short => "SHORT",
            };
            let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
            table.add_row([Cell::new(&row.what), right(&row.measured), right(&row.budget), Cell::new(verdict)]);
        }
        println!("\n{table}");
        for note in &self.notes {
            println!("{note}");
        }
        self.rows.iter().all(|row| row.verdict != Verdict::Short)
    }

    fn push(&mut self, what: &str, measured: String, budget: String, kept: bool) {
        let verdict = if kept { Verdict::Kept } else { Verdict::Short };
        self.rows.push(Row { what: what.into(), measured, budget, verdict });
        self.print_last();
    }

    /// Says what was found out at once: a whole run takes minutes.
    fn print_last(&self) {
        let Some(row) = self.rows.last() else { return };
        println!("  {}: {} {}", row.what, row.measured, row.budget);
    }
}

/// Shows a figure as a ratio.
pub(crate) fn ratio(figure: f64) -> String {
    format!("{figure:.2}")
}
