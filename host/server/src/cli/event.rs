//! `lantern event`: appending and reading events; import and export have files of their own.

use std::io::Read;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    client::{Client, Query},
    export::Export,
    failure::Failure,
    import::Import,
    output::{Output, table},
};
use crate::http::AppendAnswer;

/// Commands about events.
#[derive(Debug, Subcommand)]
pub(super) enum Event {
    /// Append an event to a stream.
    Append(Append),
    /// List events of the log.
    List(List),
    /// Show an event.
    Get {
        /// The event's UUID.
        id: String,
        /// As it is stored, not in its newest form.
        #[arg(long)]
        raw: bool,
    },
    /// Read a stream.
    Stream(Stream),
    /// Import events: CloudEvents, one a line.
    Import(Import),
    /// Export events: CloudEvents, one a line, in the order of the log.
    Export(Export),
}

/// Append an event to a stream.
#[derive(Debug, Args)]
pub(super) struct Append {
    /// The stream, `category-id`, for example Order-42.
    stream: String,
    /// The type, for example OrderPlaced.
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// JSON, `@FILE` for that of a file, or `-` for that of standard input.
    #[arg(long, value_name = "JSON", default_value = "{}", allow_hyphen_values = true)]
    data: String,
    /// The event's id, so that the command can be repeated; made when it is not given.
    #[arg(long)]
    id: Option<String>,
    /// What you believe about the stream: any, no-stream, stream-exists, or its version.
    #[arg(long, value_name = "VERSION")]
    expected: Option<String>,
    /// When it happened, RFC 3339; now when it is not given.
    #[arg(long)]
    time: Option<String>,
    /// Where it comes from.
    #[arg(long)]
    source: Option<String>,
    /// The version of the schema of its data.
    #[arg(long, value_name = "N")]
    schema_version: Option<u32>,
    /// The id shared by everything one request set in motion.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// The id of what caused it.
    #[arg(long, value_name = "ID")]
    causation_id: Option<String>,
    /// Whose data it is.
    #[arg(long)]
    tenant: Option<String>,
    /// Who acted.
    #[arg(long)]
    actor: Option<String>,
}

/// Which events are wanted.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Only events after this position.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Only events before this position.
    #[arg(long, value_name = "POSITION")]
    before: Option<u64>,
    /// Only streams of this category; may be repeated.
    #[arg(long)]
    category: Vec<String>,
    /// Only events of this type; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// Only events of this tenant; may be repeated.
    #[arg(long)]
    tenant: Vec<String>,
}

/// List events of the log.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    wanted: Wanted,
    /// Newest first.
    #[arg(long)]
    backward: bool,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=crate::http::MAX_LISTED as u64))]
    limit: u64,
}

/// Read a stream.
#[derive(Debug, Args)]
pub(super) struct Stream {
    /// The stream, `category-id`, for example Order-42.
    stream: String,
    /// The first version.
    #[arg(long, value_name = "VERSION")]
    from: Option<u64>,
    /// The last version.
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
    /// Newest first.
    #[arg(long)]
    backward: bool,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=crate::http::MAX_LISTED as u64))]
    limit: u64,
}

impl Event {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Append(append) => append.run(client, output).await,
            Self::List(list) => list.run(client, output).await,
            Self::Get { id, raw } => get(client, output, &id, raw).await,
            Self::Stream(stream) => stream.run(client, output).await,
            Self::Import(import) => import.run(client, output).await,
            Self::Export(export) => export.run(client).await,
        }
    }
}

/// An event on its way to a stream.
#[derive(Serialize)]
struct Outgoing<'a> {
    r#type: &'a str,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schemaversion: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
}

impl Append {
    async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let data = content(&self.data)?;
        let data =
            serde_json::from_str(&data).map_err(|error| Failure::usage(format!("--data is no JSON: {error}")))?;
        let event = Outgoing {
            r#type: &self.event_type,
            data,
            id: self.id.as_deref(),
            time: self.time.as_deref(),
            source: self.source.as_deref(),
            schemaversion: self.schema_version,
            correlationid: self.correlation_id.as_deref(),
            causationid: self.causation_id.as_deref(),
            tenant: self.tenant.as_deref(),
            actor: self.actor.as_deref(),
        };
        let query: Vec<_> = self.expected.map(|expected| ("expected", expected)).into_iter().collect();
        let body = serde_json::json!({ "events": [event] });
        let answer = client.post(&["streams", &self.stream, "events"], &query, &body).await?;
        output.show(&answer.text, || {
            let appended: AppendAnswer = answer.read()?;
            let verb = if appended.appended == 0 { "was already there as" } else { "appended:" };
            let places = appended.events.iter().map(|place| {
                format!(
                    "{verb} {} version {} at position {}, id {}\n",
                    place.stream, place.version, place.position, place.id
                )
            });
            let trace = answer.trace_id.as_ref().map(|trace| format!("look at it with `lantern trace {trace}`"));
            Ok(places.chain(trace).collect())
        })
    }
}

/// The text that an argument means: itself, a file's, or that of standard input.
pub(super) fn content(argument: &str) -> Result<String, Failure> {
    if argument == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        return read.map(|_| text).map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")));
    }
    match argument.strip_prefix('@') {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| Failure::failed(format!("{file} cannot be read: {error}")))
        }
        None => Ok(argument.into()),
    }
}

impl Wanted {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let position = |name, position: Option<u64>| position.map(|position| (name, position.to_string()));
        let texts = |name, texts: &[String]| texts.iter().map(|text| (name, text.clone())).collect::<Vec<_>>();
        let positions = [position("after", self.after), position("before", self.before)];
        let texts = [texts("category", &self.category), texts("type", &self.event_type), texts("tenant", &self.tenant)];
        positions.into_iter().flatten().chain(texts.into_iter().flatten()).collect()
    }
}

impl List {
    async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let mut query = self.wanted.query();
        query.push(("limit", self.limit.to_string()));
        query.extend(self.backward.then(|| ("direction", "backward".into())));
        list(client, output, &["events"], &query).await
    }
}

impl Stream {
    async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let version = |name, version: Option<u64>| version.map(|version| (name, version.to_string()));
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(version("from", self.from).into_iter().chain(version("to", self.to)));
        query.extend(self.backward.then(|| ("direction", "backward".into())));
        list(client, output, &["streams", &self.stream], &query).await
    }
}

/// An event as a row of a table.
#[derive(Deserialize)]
struct Row {
    position: u64,
    subject: String,
    streamversion: u64,
    r#type: String,
    time: String,
    datacontenttype: String,
    data: Option<Box<RawValue>>,
}

async fn list(client: &Client, output: Output, path: &[&str], query: Query<'_>) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed {
        events: Vec<Row>,
    }

    let answer = client.get(path, query).await?;
    output.show(&answer.text, || {
        let listed: Listed = answer.read()?;
        let rows = listed.events.into_iter().map(|row| {
            let data = row.data.map_or(row.datacontenttype, |data| data.get().into());
            [row.position.to_string(), row.subject, row.streamversion.to_string(), row.r#type, row.time, data]
        });
        Ok(table(&["position", "stream", "version", "type", "time", "data"], rows, "no events"))
    })
}

async fn get(client: &Client, output: Output, id: &str, raw: bool) -> Result<(), Failure> {
    let answer = client.get(&["events", id], &[("raw", raw.to_string())]).await?;
    output.show(&answer.text, || {
        let event: serde_json::Value = answer.read()?;
        serde_json::to_string_pretty(&event).map_err(|error| Failure::failed(error.to_string()))
    })
}
