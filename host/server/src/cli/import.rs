//! `lantern event import`: a file of CloudEvents into the log, in the order of the file.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{
    client::Client,
    failure::{Exit, Failure},
    lines::{BadLine, Batch, Piece, Source},
    output::Output,
};
use crate::http::AppendAnswer;

/// How many skipped lines are named.
const NAMED: usize = 10;

/// How often a line is written where no progress bar can be shown.
const SAID: Duration = Duration::from_secs(5);

/// Import events: CloudEvents, one a line.
///
/// An import may be repeated: events that are there already are counted and nothing else. It stops at the first line
/// that is no event and keeps what came before.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file, plain or gzipped; `-` for standard input.
    file: PathBuf,
    /// Count lines that are no events or that the host refuses, name the first ten, and go on.
    #[arg(long)]
    skip_invalid: bool,
    /// How many events a request carries, 1 to 10000.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
}

impl Import {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let source = Source::open(&self.file).map_err(|error| self.unreadable(&error))?;
        let mut run = Run { client, import: &self, count: Count::default(), progress: Progress::new(&source, output) };
        let mut pieces = source.pieces(usize::from(self.batch)).map_err(|error| self.unreadable(&error))?;
        let began = Instant::now();
        while let Some(piece) = pieces.recv().await {
            run.take(piece).await.map_err(|failure| run.stopped(&failure))?;
            run.progress.show(&run.count);
        }
        run.progress.end();
        run.count.tell(began.elapsed(), output)
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("{} cannot be read: {error}", self.file.display()))
    }
}

/// An import under way.
struct Run<'a> {
    client: &'a Client,
    import: &'a Import,
    count: Count,
    progress: Progress,
}

/// What became of the lines so far.
#[derive(Debug, Default)]
struct Count {
    imported: usize,
    present: usize,
    invalid: usize,
    /// The first lines that were skipped.
    skipped: Vec<BadLine>,
}

impl Run<'_> {
    /// Takes a piece of the file. When the host refuses an event of a batch, the lines around it are sent without it.
    async fn take(&mut self, piece: Piece) -> Result<(), Failure> {
        // The next piece is the last of the list.
        let mut waiting = vec![piece];
        while let Some(piece) = waiting.pop() {
            match piece {
                Piece::Bad(bad) => self.bad(bad)?,
                Piece::Unreadable(error) => return Err(self.import.unreadable(&error)),
                Piece::Batch(batch) if batch.lines.is_empty() => {}
                Piece::Batch(batch) => {
                    let Err(failure) = self.send(&batch).await else { continue };
                    let Some((index, bad)) = refused(&failure, &batch) else { return Err(failure) };
                    let (before, after) = (batch.first(index), batch.after(index + 1));
                    waiting.extend([Piece::Batch(after), Piece::Bad(bad), Piece::Batch(before)]);
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        let headers = [("prefer", "return=minimal")];
        let answer =
            self.client.post_bytes(&["events"], &[], &headers, "application/x-ndjson", batch.body.clone()).await?;
        let appended: AppendAnswer = answer.read()?;
        self.count.imported += appended.appended;
        self.count.present += appended.already_there;
        Ok(())
    }

    /// Skips a line, or stops at it.
    fn bad(&mut self, bad: BadLine) -> Result<(), Failure> {
        if !self.import.skip_invalid {
            let failure = Failure::new(Exit::Failed, "invalid-line", bad.to_string());
            return Err(failure.with("line", bad.number).with("field", bad.field).with("reason", bad.reason));
        }
        self.count.invalid += 1;
        if self.count.invalid <= NAMED {
            self.progress.say(&format!("skipped {bad}"));
            self.count.skipped.push(bad);
        }
        Ok(())
    }

    /// The failure that stopped the import, with what had been done by then.
    fn stopped(&self, failure: &Failure) -> Failure {
        self.progress.end();
        let Count { imported, present, .. } = self.count;
        let mut detail = format!("{}: {failure}\n", self.import.file.display());
        detail += &format!("imported {imported} events before it ({present} already there); ");
        detail += match failure.member("line") {
            Some(_) => "mend the line and repeat the import, or give --skip-invalid",
            None => "repeat the import to go on",
        };
        failure.clone().with("detail", detail).with("imported", imported).with("present", present)
    }
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(f, "line {}: `{field}` {}", self.number, self.reason),
            None => write!(f, "line {}: {}", self.number, self.reason),
        }
    }
}

/// The line that a refusal is about, when it is about one.
fn refused(failure: &Failure, batch: &Batch) -> Option<(usize, BadLine)> {
    let index = usize::try_from(failure.member("index")?.as_u64()?).ok()?;
    let (number, _) = *batch.lines.get(index)?;
    let text = |name| failure.member(name).and_then(Value::as_str).map(str::to_owned);
    let reason = text("reason").unwrap_or_else(|| failure.detail().to_owned());
    Some((index, BadLine { number, field: text("field"), reason }))
}

impl Count {
    fn tell(&self, took: Duration, output: Output) -> Result<(), Failure> {
        let Self { imported, present, invalid, skipped } = self;
        let seconds = took.as_secs_f64();
        let rate = ((imported + present) as f64 / seconds.max(1e-9)).round();
        let line = |bad: &BadLine| json!({ "line": bad.number, "field": bad.field, "reason": bad.reason });
        let summary = json!({
            "imported": imported,
            "present": present,
            "invalid": invalid,
            "skipped": skipped.iter().map(line).collect::<Vec<_>>(),
            "seconds": seconds,
            "events_per_second": rate,
        });
        output.show_value(&summary, || {
            Ok(format!(
                "imported {imported} events ({present} already there, {invalid} invalid skipped) in {seconds:.1} s, \
                 {rate} events/s"
            ))
        })
    }
}

/// Shows how far an import is: a bar on a terminal, a line now and then elsewhere, nothing for programs.
struct Progress {
    bar: ProgressBar,
    read: Arc<AtomicU64>,
    began: Instant,
    said: Instant,
    quiet: bool,
}

impl Progress {
    fn new(source: &Source, output: Output) -> Self {
        let (bar, template) = match source.size {
            Some(size) => (ProgressBar::new(size), "{bar:30} {bytes}/{total_bytes}  {msg}  {eta} left"),
            None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}"),
        };
        // The template is written above, and a test reads both.
        let style = ProgressStyle::with_template(template).expect("the template is sound").progress_chars("━╸─");
        let target = if output.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = bar.with_style(style);
        bar.set_draw_target(target);
        let now = Instant::now();
        Self { bar, read: source.read.clone(), began: now, said: now, quiet: output.json }
    }

    fn show(&mut self, count: &Count) {
        let done = count.imported + count.present;
        let rate = done as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
        self.bar.set_message(format!("{done} events  {rate:.0} events/s"));
        self.bar.set_position(self.read.load(Ordering::Relaxed));
        if self.bar.is_hidden() && !self.quiet && self.said.elapsed() >= SAID {
            self.said = Instant::now();
            eprintln!("{done} events, {rate:.0} events/s");
        }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Served;

    fn line(id: &str, data: u8) -> String {
        format!(r#"{{"id":"{id}","type":"T","subject":"A-1","data":{data}}}"#)
    }

    async fn imported(served: &Served, lines: &[String], skip_invalid: bool) -> Result<(), Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let import = Import { file: file.path().into(), skip_invalid, batch: 1000 };
        import.run(&Client::new(&served.url).unwrap(), Output { json: true }).await
    }

    async fn ids(served: &Served) -> Vec<String> {
        let events = served.get("/api/v1/events").await.body["events"].clone();
        events.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().into()).collect()
    }

    #[tokio::test]
    async fn what_stands_around_a_refused_line_is_kept_in_order() {
        let served = Served::open().await;
        imported(&served, &[line("x", 1), line("y", 1)], false).await.unwrap();
        let lines = [line("a", 1), line("x", 2), line("b", 1), line("y", 2), line("c", 1)];
        let failure = imported(&served, &lines, false).await.unwrap_err();
        assert_eq!((failure.exit, failure.member("line")), (Exit::Failed, Some(&json!(2))));
        assert_eq!((failure.member("imported"), failure.member("present")), (Some(&json!(1)), Some(&json!(0))));
        assert_eq!(ids(&served).await, ["x", "y", "a"]);
        imported(&served, &lines, true).await.unwrap();
        assert_eq!(ids(&served).await, ["x", "y", "a", "b", "c"]);
    }

    #[tokio::test]
    async fn an_id_at_odds_with_itself_ends_all_the_same() {
        let served = Served::open().await;
        imported(&served, &[line("x", 1)], false).await.unwrap();
        imported(&served, &[line("x", 2), line("a", 1), line("x", 1), line("b", 1)], true).await.unwrap();
        assert_eq!(ids(&served).await, ["x", "a", "b"]);
    }
}
