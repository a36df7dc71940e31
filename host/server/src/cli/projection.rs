//! `lantern projection`: watching projections and changing what they run. Reading what they wrote has
//! a file of its own, and so has deploying them.

use std::time::{Duration, Instant};

use clap::Subcommand;
use lantern_core::{Entry, Happening, Position, Name};
use lantern_processors::{Status, Swapped};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    client::{Answer, Client},
    deploy::Deploy,
    failure::{Exit, Failure},
    module::meant,
    output::{Output, facts, table},
    query::Query,
};
use crate::http::{MAX_WAIT, RebuildBody, SwapBody};

/// The longest one request waits, in seconds; a longer wait is made of several.
const ONE_WAIT: f64 = 60.0;

/// How often a rebuild is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// Commands about projections.
#[derive(Debug, Subcommand)]
pub(super) enum Projection {
    /// Deploy a projection.
    Deploy(Box<Deploy>),
    /// List projections.
    List,
    /// Show what a projection is doing.
    Status { name: Name },
    /// Show collections, documents of a collection, or one document.
    Query(Query),
    /// Show the digest of the read model.
    Digest { name: Name },
    /// Wait until a projection has handled all events that are in the log now.
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
    /// Replace the module between two events, keeping the read model.
    Swap {
        name: Name,
        /// A digest, its first six or more digits, or a file.
        #[arg(long, value_name = "DIGEST|FILE")]
        module: String,
    },
    /// Go back to the module or generation before.
    Rollback { name: Name },
    /// Build the read model anew beside the live one, and change over when it has caught up.
    Rebuild {
        name: Name,
        /// A digest, its first six or more digits, or a file; the module that runs now when it is not given.
        #[arg(long, value_name = "DIGEST|FILE")]
        module: Option<String>,
        /// Wait until the new read model is the live one.
        #[arg(long)]
        wait: bool,
    },
    /// Tell what happened to a projection.
    History { name: Name },
    /// Remove a projection with its read model.
    Remove { name: Name },
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "write a number of seconds".into())
}

impl Projection {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Deploy(deploy) => deploy.run(client, output).await,
            Self::List => list(client, output).await,
            Self::Status { name } => {
                let answer = client.get(&["projections", name.as_str()], &[]).await?;
                output.show(&answer.text, || Ok(status(&answer.read()?)))
            }
            Self::Query(query) => query.run(client, output).await,
            Self::Digest { name } => digest(client, output, &name).await,
            Self::Wait { name, timeout } => wait(client, output, &name, timeout).await,
            Self::Pause { name } => command(client, output, &name, "pause").await,
            Self::Resume { name } => command(client, output, &name, "resume").await,
            Self::Swap { name, module } => {
                let module = meant(client, &module).await?;
                let answer = client.post(&["projections", name.as_str(), "swap"], &[], &SwapBody { module }).await?;
                changed(&answer, output, &name)
            }
            Self::Rollback { name } => {
                let answer = client.post(&["projections", name.as_str(), "rollback"], &[], &json!({})).await?;
                changed(&answer, output, &name)
            }
            Self::Rebuild { name, module, wait } => rebuild(client, output, &name, module, wait).await,
            Self::History { name } => history(client, output, &name).await,
            Self::Remove { name } => {
                client.delete(&["projections", name.as_str()]).await?;
                output.done(&json!({ "removed": name }), format_args!("projection {name} is removed"))
            }
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        projections: Vec<T>,
    }

    let answer = client.get(&["projections"], &[]).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.projections, || {
        let listed: Listed<Status> = answer.read()?;
        let rows = listed.projections.iter().map(|status| {
            let numbers = [status.position.0, status.lag, status.handled, status.parked_events].map(|n| n.to_string());
            let name = format!("{} {}", status.description.name, status.description.version);
            let texts = [status.name.to_string(), status.state.as_str().into(), status.module.short(), name];
            texts.into_iter().chain(numbers)
        });
        let header = ["name", "state", "module", "which is", "position", "lag", "handled", "parked"];
        Ok(table(&header, rows, "no projections: `lantern projection deploy NAME --module FILE` adds one"))
    })
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
    let config: Vec<_> = status.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
    facts(&[
        ("name", status.name.to_string()),
        ("state", status.state.as_str().into()),
        ("module", format!("{} {} ({module})", description.name, description.version)),
        ("before", status.previous_module.map(|module| module.to_string()).unwrap_or_default()),
        ("generation", status.generation.to_string()),
        ("position", format!("{} of {}, {} behind", status.position, status.head, status.lag)),
        ("handled", format!("{} events, {} failed calls", status.handled, status.failed)),
        ("parked", parked),
        ("last error", error.unwrap_or_default()),
        ("rebuild", rebuild.unwrap_or_default()),
        ("collections", description.collections.join(", ")),
        ("config", config.join("\n")),
        ("deployed", status.deployed_at.to_string()),
    ])
}

async fn digest(client: &Client, output: Output, name: &Name) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Shown {
        digest: String,
        position: Position,
    }

    let answer = client.get(&["projections", name.as_str(), "digest"], &[]).await?;
    output.show(&answer.text, || {
        let Shown { digest, position } = answer.read()?;
        Ok(format!("{digest} at position {position}"))
    })
}

async fn command(client: &Client, output: Output, name: &Name, verb: &str) -> Result<(), Failure> {
    let answer = client.post(&["projections", name.as_str(), verb], &[], &json!({})).await?;
    output.show(&answer.text, || {
        let Status { state, position, .. } = answer.read()?;
        Ok(format!("projection {name} is {} at position {position}", state.as_str()))
    })
}

/// Waits for the head of now, in requests of bounded length.
async fn wait(
    client: &Client,
    output: Output,
    name: &Name,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Log {
        head: Position,
    }

    let until = timeout.map(|timeout| Instant::now() + timeout.min(Duration::from_secs_f64(MAX_WAIT * 24.0 * 365.0)));
    let head = client.get(&["log"], &[]).await?.read::<Log>()?.head;
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()).as_secs_f64());
        let seconds = left.unwrap_or(ONE_WAIT).min(ONE_WAIT);
        let query = [("position", head.to_string()), ("timeout", seconds.to_string())];
        match client.get(&["projections", name.as_str(), "wait"], &query).await {
            Ok(answer) => {
                return output.show(&answer.text, || {
                    let Status { handled, .. } = answer.read()?;
                    Ok(format!("projection {name} has reached position {head}, {handled} events handled"))
                });
            }
            Err(failure) if failure.exit == Exit::Timeout && left.is_none_or(|left| left > seconds) => {}
            Err(failure) => {
                return Err(timeout.into_iter().fold(failure, |failure, timeout| late(failure, name, timeout)));
            }
        }
    }
}

/// A time-out that tells of the whole wait and not of its last part.
fn late(failure: Failure, name: &Name, timeout: Duration) -> Failure {
    let status = failure.member("projection_status").and_then(|status| Status::deserialize(status).ok());
    let Some(Status { state, position, head, .. }) = status else { return failure };
    let (seconds, state) = (timeout.as_secs_f64(), state.as_str());
    let detail = format!("projection `{name}` is {state} at position {position} of {head} after {seconds} s");
    failure.with("detail", detail)
}

fn changed(answer: &Answer, output: Output, name: &Name) -> Result<(), Failure> {
    output.show(&answer.text, || {
        let Swapped { position, from, to, dry_run_events, parked_mended } = answer.read()?;
        let (from, to) = (from.short(), to.short());
        let mut text = format!("projection {name} runs {to} instead of {from} from position {} on", position.next());
        if dry_run_events > 0 {
            text += &format!("; it was tried on {dry_run_events} events before");
        }
        if parked_mended > 0 {
            text += &format!("\nit can handle {parked_mended} parked events: `lantern dead-letter retry {name}`");
        }
        Ok(text)
    })
}

async fn rebuild(
    client: &Client,
    output: Output,
    name: &Name,
    module: Option<String>,
    wait: bool,
) -> Result<(), Failure> {
    let module = match module {
        Some(module) => Some(meant(client, &module).await?),
        None => None,
    };
    let path = ["projections", name.as_str()];
    let mut answer = client.post(&["projections", name.as_str(), "rebuild"], &[], &RebuildBody { module }).await?;
    let begun: Status = answer.read()?;
    let Some(wanted) = begun.rebuild.as_ref().map(|rebuild| rebuild.generation).filter(|_| wait) else {
        return output.show(&answer.text, || {
            Ok(format!(
                "the rebuild of projection {name} has begun: `lantern projection status {name}` shows how far it is"
            ))
        });
    };
    loop {
        let now: Status = answer.read()?;
        match now.rebuild {
            Some(_) => tokio::time::sleep(GLANCE).await,
            None if now.generation == wanted => break,
            None => {
                let detail = format!(
                    "the rebuild of projection {name} was given up: `lantern projection history {name}` says why"
                );
                return Err(Failure::new(Exit::Failed, "rebuild-abandoned", detail).with("generation", wanted));
            }
        }
        answer = client.get(&path, &[]).await?;
    }
    output.show(&answer.text, || Ok(format!("projection {name} now shows generation {wanted}")))
}

async fn history(client: &Client, output: Output, name: &Name) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        entries: Vec<T>,
    }

    let answer = client.get(&["projections", name.as_str(), "history"], &[]).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.entries, || {
        let listed: Listed<Entry> = answer.read()?;
        let rows = listed.entries.iter().map(|entry| {
            let (what, details) = told(&entry.happening);
            [entry.at.to_string(), what.into(), details]
        });
        Ok(table(&["at", "what", "details"], rows, "nothing happened"))
    })
}

/// What happened, in words.
fn told(happening: &Happening) -> (&'static str, String) {
    match happening {
        Happening::Deployed(deployment) => {
            ("deployed", format!("module {}, after position {}", deployment.module.short(), deployment.start))
        }
        Happening::Paused => ("paused", String::new()),
        Happening::Resumed => ("resumed", String::new()),
        Happening::Swapped { position, from, to } => {
            ("swapped", format!("after position {position}: {} to {}", from.short(), to.short()))
        }
        Happening::SwapRefused { module, reason } => ("swap-refused", format!("{}: {reason}", module.short())),
        Happening::RolledBack { position, from, to, reason } => {
            let (from, to) = (from.short(), to.short());
            ("rolled-back", format!("after position {position}: {from} to {to}, {reason}"))
        }
        Happening::RebuildStarted { generation, module } => {
            ("rebuild-started", format!("generation {generation}, module {}", module.short()))
        }
        Happening::RebuildAbandoned { generation, reason } => {
            ("rebuild-abandoned", format!("generation {generation}: {reason}"))
        }
        Happening::Promoted { generation, previous, position, module } => {
            let module = module.short();
            (
                "promoted",
                format!("generation {generation} instead of {previous} at position {position}, module {module}"),
            )
        }
        Happening::Retried { handled, remaining } => {
            ("retried", format!("{handled} handled, {remaining} parked still"))
        }
        Happening::Skipped { position } => ("skipped", format!("position {position}")),
        Happening::Stopped { reason } => ("stopped", reason.clone()),
        Happening::Removed => ("removed", String::new()),
    }
}
