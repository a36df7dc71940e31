//! `lantern trace`: a trace as a tree, with a bar that shows when each span ran.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use clap::Args;
use console::{Style, style};
use lantern_core::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Client,
    failure::Failure,
    output::{Output, duration, short},
};

/// How wide the bars are, in characters.
const BAR: usize = 24;

/// How many spans of one name below one parent are shown.
const ALIKE: usize = 10;

/// The attributes that say whose call a span is.
const OWNERS: [&str; 3] = ["eventsource.projection.name", "eventsource.handler.name", "eventsource.subscription.name"];

/// The attribute that says whose guest a span of an aggregate is.
const AGGREGATE: &str = "eventsource.aggregate.type";

/// Print a trace as a tree.
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The trace, 32 hexadecimal digits, or a whole `traceparent`.
    #[arg(value_name = "TRACE_ID")]
    trace_id: String,
}

/// A span as the API shows it.
#[derive(Debug, Clone, Deserialize)]
struct Span {
    span_id: String,
    parent_span_id: Option<String>,
    name: String,
    start: Timestamp,
    end: Timestamp,
    status: String,
    error: Option<String>,
    attributes: BTreeMap<String, Value>,
    links: Vec<Link>,
    scope: String,
}

/// A span of another trace.
#[derive(Debug, Clone, Deserialize)]
struct Link {
    trace_id: String,
}

impl Trace {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Shown {
            trace_id: String,
            spans: Vec<Span>,
        }

        let trace_id = match self.trace_id.split('-').collect::<Vec<_>>().as_slice() {
            [_, trace_id, _, _] => trace_id,
            _ => self.trace_id.as_str(),
        };
        let answer = client.get(&["traces", trace_id], &[]).await?;
        output.show(&answer.text, || {
            let Shown { trace_id, spans } = answer.read()?;
            Ok(tree(&trace_id, &spans))
        })
    }
}

/// A row of the tree: its branches and name, and what stands beside.
struct Row<'a> {
    branches: String,
    label: Label<'a>,
}

enum Label<'a> {
    Span(&'a Span),
    /// So many further spans of a name.
    More {
        name: &'a str,
        count: usize,
        failed: usize,
    },
}

fn tree(trace_id: &str, spans: &[Span]) -> String {
    let (Some(start), Some(end)) = (spans.iter().map(|span| span.start).min(), spans.iter().map(|span| span.end).max())
    else {
        return format!("trace {trace_id} has no spans");
    };
    let known: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let is_root = |span: &&Span| span.parent_span_id.as_deref().is_none_or(|parent| !known.contains(parent));
    let mut rows = Vec::new();
    for root in spans.iter().filter(is_root) {
        rows.push(Row { branches: String::new(), label: Label::Span(root) });
        descend(spans, root, "", &mut rows);
    }
    let width = rows.iter().map(Row::width).max().unwrap_or(0);
    let whole = end.since(start);
    let head = format!("{} spans in {}, from {start}", spans.len(), duration(whole));
    let mut text = format!("trace {}\n{}\n\n", style(trace_id).bold(), style(head).dim());
    for row in &rows {
        text += row.shown(width, start, whole).trim_end();
        text.push('\n');
    }
    text
}

/// Adds what stands below a span, the first of those alike and a count of the others.
fn descend<'a>(spans: &'a [Span], parent: &Span, branches: &str, rows: &mut Vec<Row<'a>>) {
    // A span that is its own parent would have no end.
    let is_below =
        |span: &&Span| span.parent_span_id.as_ref() == Some(&parent.span_id) && span.span_id != parent.span_id;
    let below: Vec<&Span> = spans.iter().filter(is_below).collect();
    let mut seen: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut labels = Vec::new();
    for span in below {
        let (count, failed) = seen.entry(&span.name).or_default();
        *count += 1;
        if *count <= ALIKE {
            labels.push(Label::Span(span));
        } else if span.status == "error" {
            *failed += 1;
        }
    }
    let more = seen.into_iter().filter(|(_, (count, _))| *count > ALIKE);
    labels.extend(more.map(|(name, (count, failed))| Label::More { name, count: count - ALIKE, failed }));
    let last = labels.len().saturating_sub(1);
    for (index, label) in labels.into_iter().enumerate() {
        let (branch, below) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let span = if let Label::Span(span) = label { Some(span) } else { None };
        rows.push(Row { branches: format!("{branches}{branch}"), label });
        if let Some(span) = span {
            descend(spans, span, &format!("{branches}{below}"), rows);
        }
    }
}

impl Row<'_> {
    fn name(&self) -> String {
        match &self.label {
            Label::Span(span) => short(&span.name),
            Label::More { name, count, .. } => format!("… {count} more {name}"),
        }
    }

    fn width(&self) -> usize {
        self.branches.chars().count() + self.name().chars().count()
    }

    fn shown(&self, width: usize, start: Timestamp, whole: Duration) -> String {
        let (name, fill) = (self.name(), " ".repeat(width - self.width()));
        let branches = style(&self.branches).dim();
        match &self.label {
            Label::More { failed, .. } => {
                let failed = if *failed > 0 { format!("{failed} of them failed") } else { String::new() };
                format!("{branches}{}{fill}  {}", style(name).dim(), style(failed).red())
            }
            Label::Span(span) => {
                let look = look(span);
                let (bar, took) = (bar(span, start, whole), duration(span.end.since(span.start)));
                let details = style(details(span)).dim();
                let error =
                    span.error.as_ref().map(|error| format!("  {}", style(format!("✗ {}", short(error))).red()));
                let (name, bar) = (look.apply_to(name), look.apply_to(bar));
                format!("{branches}{name}{fill}  {bar} {took:>9}{}  {details}", error.unwrap_or_default())
            }
        }
    }
}

/// The colour of a span: failed ones are red, the guest's own differ from the host's.
fn look(span: &Span) -> Style {
    match (span.status.as_str(), span.scope.as_str()) {
        ("error", _) => Style::new().red(),
        (_, "lantern") => Style::new().cyan(),
        _ => Style::new().yellow(),
    }
}

/// When a span ran, within the whole trace.
fn bar(span: &Span, start: Timestamp, whole: Duration) -> String {
    let whole = whole.as_nanos().max(1);
    let at = |time: Timestamp| usize::try_from(time.since(start).as_nanos() * BAR as u128 / whole).unwrap_or(BAR);
    let from = at(span.start).min(BAR - 1);
    // Even the shortest span can be seen.
    let to = at(span.end).clamp(from + 1, BAR);
    format!("{}{}{}", " ".repeat(from), "━".repeat(to - from), " ".repeat(BAR - to))
}

/// What says most about a span: some attributes of the host's, all of the guest's.
fn details(span: &Span) -> String {
    let attribute = |name: &str| span.attributes.get(name).map(plain);
    let mut parts: Vec<String> = Vec::new();
    if span.scope == "lantern" {
        let named = [("eventsource.position", "position "), ("lantern.attempt", "attempt ")];
        parts.extend(attribute("http.response.status_code"));
        parts.extend(OWNERS.iter().find_map(|name| attribute(name)));
        parts.extend(attribute("lantern.command.type").or_else(|| attribute("eventsource.event.type")));
        parts.extend(attribute("eventsource.stream.id"));
        parts.extend(
            attribute("eventsource.event.count").filter(|count| count != "1").map(|count| format!("{count} events")),
        );
        parts.extend(attribute("eventsource.batch.size").map(|size| format!("{size} events")));
        parts.extend(attribute("lantern.rejection.code").map(|code| format!("rejected: {code}")));
        parts.extend(attribute("lantern.emitted").map(|count| format!("{count} emitted")));
        let named = named.into_iter().filter_map(|(name, word)| Some(format!("{word}{}", attribute(name)?)));
        parts.extend(named.filter(|part| part != "attempt 1"));
    } else {
        let own = span.attributes.iter().filter(|(name, _)| !OWNERS.contains(&name.as_str()) && *name != AGGREGATE);
        parts.extend(own.map(|(name, value)| format!("{name}={}", plain(value))));
    }
    parts.extend(span.links.first().map(|link| format!("→ trace {}", link.trace_id)));
    short(&parts.join(" · "))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn span(id: &str, parent: Option<&str>, name: &str, start: i64, end: i64) -> Span {
        let time = |milliseconds: i64| Timestamp(1_700_000_000_000_000_000 + milliseconds * 1_000_000).to_string();
        let span = json!({
            "span_id": id, "parent_span_id": parent, "name": name, "start": time(start), "end": time(end),
            "status": "unset", "error": null, "attributes": { "eventsource.position": 7 }, "links": [],
            "scope": "lantern",
        });
        serde_json::from_value(span).unwrap()
    }

    fn shown(spans: &[Span]) -> String {
        console::set_colors_enabled(false);
        tree("abc", spans)
    }

    #[test]
    fn a_span_stands_below_and_right_of_its_parent() {
        let mut failed = span("4", Some("2"), "handle", 18, 24);
        (failed.status, failed.error) = ("error".into(), Some("no\ngood".into()));
        let spans = [
            span("1", Some("elsewhere"), "POST /x", 0, 12),
            span("2", Some("1"), "append", 6, 12),
            span("3", Some("2"), "handle", 12, 18),
            failed,
        ];
        let expected = "\
trace abc
4 spans in 24.0 ms, from 2023-11-14T22:13:20Z

POST /x       ━━━━━━━━━━━━               12.0 ms  position 7
└─ append           ━━━━━━               6.00 ms  position 7
   ├─ handle              ━━━━━━         6.00 ms  position 7
   └─ handle                    ━━━━━━   6.00 ms  ✗ no good  position 7
";
        assert_eq!(shown(&spans), expected);
    }

    #[test]
    fn many_spans_alike_are_counted() {
        let calls = (0..30).map(|n| span(&format!("c{n}"), Some("1"), "handle", n, n + 1));
        let spans: Vec<_> = [span("1", None, "batch", 0, 30)].into_iter().chain(calls).collect();
        let shown = shown(&spans);
        assert_eq!(shown.lines().filter(|line| line.contains("─ handle")).count(), ALIKE);
        assert!(shown.contains("└─ … 20 more handle"), "{shown}");
    }

    #[test]
    fn a_circle_ends() {
        let shown = shown(&[span("1", Some("1"), "odd", 0, 0)]);
        assert!(!shown.is_empty());
    }
}
