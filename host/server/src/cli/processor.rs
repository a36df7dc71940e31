//! What `lantern projection` and `lantern handler` have in common, which is nearly everything. Reading what they wrote
//! has a file of its own.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use lantern_core::{Grants, Kind, Name, Position};
use lantern_processors::Status;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    change::{Change, folder},
    client::Client,
    failure::{Exit, Failure},
    output::{Output, facts, table},
    query::Query,
    settings::{Body, Settings, given, pairs},
    sql::Sql,
};
use crate::http::MAX_WAIT;

/// The longest one request waits, in seconds; a longer wait is made of several.
const ONE_WAIT: f64 = 60.0;

/// Commands about processors.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List what is deployed.
    List,
    /// Show what it is doing.
    Status { name: Name },
    /// Show collections, documents of a collection, or one document.
    Query(Query),
    /// Query its SQL tables, and its documents as the view `lantern_documents`.
    Sql(Sql),
    /// Show the digest of its documents and tables.
    Digest { name: Name },
    /// Wait until it has handled all events that are in the log now.
    Wait {
        name: Name,
        /// How long to wait; without it, until it is there or stops.
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        timeout: Option<Duration>,
    },
    /// Handle no more events until resumed.
    Pause { name: Name },
    /// Go on after a pause or an error.
    Resume { name: Name },
    #[command(flatten)]
    Change(Change),
}

/// How to deploy a processor.
#[derive(Debug, Args)]
pub(super) struct Processing {
    #[command(flatten)]
    settings: Settings,
    /// What happens to an event that cannot be handled.
    #[arg(long, value_enum, help_heading = "Failures")]
    on_failure: Option<OnFailure>,
    /// How often an event is tried that fails with a transient failure.
    #[arg(long, value_name = "N", help_heading = "Failures")]
    attempts: Option<u32>,
    /// The pause after the first failure, in milliseconds; doubled with every further one.
    #[arg(long, value_name = "N", help_heading = "Failures")]
    backoff_ms: Option<u64>,
    /// The longest pause, in milliseconds.
    #[arg(long, value_name = "N", help_heading = "Failures")]
    max_backoff_ms: Option<u64>,
}

/// What happens to an event that cannot be handled.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnFailure {
    /// It is parked with its stream; other streams go on.
    Park,
    /// It is recorded as skipped, and its stream goes on.
    Skip,
    /// It stops until it is resumed.
    Stop,
}

impl Processing {
    /// The body of the deployment of a processor that begins at `from`.
    pub(super) async fn body(self, client: &Client, from: String) -> Result<Body, Failure> {
        let then = self.on_failure.and_then(|then| Some(then.to_possible_value()?.get_name().into()));
        let failure_policy = given([
            ("then", then),
            ("attempts", self.attempts.map(Value::from)),
            ("backoff_ms", self.backoff_ms.map(Value::from)),
            ("max_backoff_ms", self.max_backoff_ms.map(Value::from)),
        ]);
        let mut body = self.settings.body(client).await?;
        body.insert("from".into(), from.into());
        body.insert("failure_policy".into(), failure_policy.into());
        Ok(body)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "write a number of seconds".into())
}

impl Verb {
    pub(super) async fn run(self, kind: Kind, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::List => list(client, output, kind).await,
            Self::Status { name } => {
                let answer = client.get(&[folder(kind), name.as_str()], &[]).await?;
                output.show(&answer.text, || Ok(status(&answer.read()?)))
            }
            Self::Query(query) => query.run(kind, client, output).await,
            Self::Sql(sql) => sql.run(kind, client, output).await,
            Self::Digest { name } => digest(client, output, kind, &name).await,
            Self::Wait { name, timeout } => wait(client, output, kind, &name, timeout).await,
            Self::Pause { name } => command(client, output, kind, &name, "pause").await,
            Self::Resume { name } => command(client, output, kind, &name, "resume").await,
            Self::Change(change) => change.run(kind, client, output).await,
        }
    }
}

async fn list(client: &Client, output: Output, kind: Kind) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        #[serde(alias = "projections", alias = "handlers")]
        processors: Vec<T>,
    }

    let answer = client.get(&[folder(kind)], &[]).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.processors, || {
        let listed: Listed<Status> = answer.read()?;
        let rows = listed.processors.iter().map(|status| {
            let name = format!("{} {}", status.description.name, status.description.version);
            let host = status.host.clone().unwrap_or_else(|| "-".into());
            let texts = [status.name.to_string(), status.state.as_str().into(), host, status.module.short(), name];
            texts.into_iter().chain(numbers(status))
        });
        let mut header = vec!["name", "state", "host", "module", "which is", "position", "lag", "handled", "parked"];
        if kind == Kind::Handler {
            header.extend(["emitted", "scheduled"]);
        }
        let empty = format!("no {kind}s: `lantern {kind} deploy NAME --module FILE` adds one");
        Ok(table(&header, rows, &empty))
    })
}

/// The numbers of a row.
fn numbers(status: &Status) -> impl Iterator<Item = String> {
    let numbers = [status.position.0, status.lag, status.handled, status.parked_events];
    let effects = (status.kind == Kind::Handler).then_some([status.emitted, status.scheduled]);
    numbers.into_iter().chain(effects.into_iter().flatten()).map(|number| number.to_string())
}

fn status(status: &Status) -> String {
    let Status { description, module, rebuild, last_error, .. } = status;
    let parked = match status.parked_events {
        0 => "none".into(),
        events => format!(
            "{events} events of {} streams; see `lantern dead-letter list {}`",
            status.parked_streams, status.name
        ),
    };
    let error = last_error.as_ref().map(|error| {
        let place = error.position.map(|position| format!(" (position {position})")).unwrap_or_default();
        format!("{}{place}\nat {}", error.message, error.at)
    });
    let rebuild = rebuild.as_ref().map(|rebuild| {
        let (generation, state) = (rebuild.generation, rebuild.state.as_str());
        format!(
            "generation {generation} is {state} at position {}, module {}",
            rebuild.position,
            rebuild.module.short()
        )
    });
    let effects = format!(
        "{} events emitted, {} scheduled, {} messages published",
        status.emitted, status.scheduled, status.published
    );
    facts(&[
        ("name", status.name.to_string()),
        ("state", status.state.as_str().into()),
        ("host", status.host.clone().unwrap_or_else(|| "none at the moment".into())),
        ("module", format!("{} {} ({module})", description.name, description.version)),
        ("before", status.previous_module.map(|module| module.to_string()).unwrap_or_default()),
        ("generation", status.generation.to_string()),
        ("fed by", status.route.as_ref().map(|route| format!("route {route}, not by the log")).unwrap_or_default()),
        ("position", format!("{} of {}, {} behind", status.position, status.head, status.lag)),
        ("handled", format!("{} events, {} failed calls", status.handled, status.failed)),
        ("effects", if status.kind == Kind::Handler { effects } else { String::new() }),
        ("granted", granted(&status.grants)),
        ("parked", parked),
        ("last error", error.unwrap_or_default()),
        ("rebuild", rebuild.unwrap_or_default()),
        ("collections", description.collections.join(", ")),
        ("config", pairs(&status.config)),
        ("deployed", status.deployed_at.to_string()),
    ])
}

/// What a handler may do, in the words of the command line.
fn granted(grants: &Grants) -> String {
    let Grants { emit, schedule, time, random, http, addresses, publish } = grants;
    let words = [("emit", emit), ("schedule", schedule), ("time", time), ("random", random)];
    let words = words.into_iter().filter(|(_, granted)| **granted).map(|(word, _)| word.to_owned());
    let http = http.iter().map(|origin| format!("http {origin}"));
    let addresses = addresses.iter().map(|network| format!("address {network}"));
    let topics = publish.iter().map(|topic| format!("publish {topic}"));
    words.chain(http).chain(addresses).chain(topics).collect::<Vec<_>>().join("\n")
}

async fn digest(client: &Client, output: Output, kind: Kind, name: &Name) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Shown {
        digest: String,
        position: Position,
    }

    let answer = client.get(&[folder(kind), name.as_str(), "digest"], &[]).await?;
    output.show(&answer.text, || {
        let Shown { digest, position } = answer.read()?;
        Ok(format!("{digest} at position {position}"))
    })
}

async fn command(client: &Client, output: Output, kind: Kind, name: &Name, verb: &str) -> Result<(), Failure> {
    let answer = client.post(&[folder(kind), name.as_str(), verb], &[], &json!({})).await?;
    output.show(&answer.text, || {
        let Status { state, position, .. } = answer.read()?;
        Ok(format!("{kind} {name} is {} at position {position}", state.as_str()))
    })
}

/// Waits for the head of now, in requests of bounded length.
async fn wait(
    client: &Client,
    output: Output,
    kind: Kind,
    name: &Name,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Log {
        head: Position,
    }

    let until = timeout.map(|timeout| Instant::now() + timeout.min(Duration::from_secs_f64(MAX_WAIT * 24.0 * 365.0)));
    let status: Status = client.get(&[folder(kind), name.as_str()], &[]).await?.read()?;
    let head = match status.route {
        // What waits at the bus is part of it.
        Some(_) => Position(status.position.0 + status.lag),
        None => client.get(&["log"], &[]).await?.read::<Log>()?.head,
    };
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()).as_secs_f64());
        let seconds = left.unwrap_or(ONE_WAIT).min(ONE_WAIT);
        let query = [("position", head.to_string()), ("timeout", seconds.to_string())];
        match client.get(&[folder(kind), name.as_str(), "wait"], &query).await {
            Ok(answer) => {
                return output.show(&answer.text, || {
                    let Status { handled, .. } = answer.read()?;
                    Ok(format!("{kind} {name} has reached position {head}, events handled: {handled}"))
                });
            }
            Err(failure) if failure.exit == Exit::Timeout && left.is_none_or(|left| left > seconds) => {}
            Err(failure) => {
                return Err(timeout.into_iter().fold(failure, |failure, timeout| late(failure, kind, name, timeout)));
            }
        }
    }
}

/// A time-out that tells of the whole wait and not of its last part.
fn late(failure: Failure, kind: Kind, name: &Name, timeout: Duration) -> Failure {
    let status = failure.member(&format!("{kind}_status")).and_then(|status| Status::deserialize(status).ok());
    let Some(Status { state, position, head, .. }) = status else { return failure };
    let (seconds, state) = (timeout.as_secs_f64(), state.as_str());
    let detail = format!("{kind} `{name}` is {state} at position {position} of {head} after {seconds} s");
    failure.with("detail", detail)
}
