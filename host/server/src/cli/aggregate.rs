//! `lantern aggregate`: deploying aggregates, changing what they run, and looking at the state of one.

use clap::{Args, Subcommand};
use lantern_aggregates::{Status, Taken};
use lantern_core::{Kind, Name, StreamName, Version, journal::SnapshotPolicy};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    change::Change,
    client::Client,
    failure::Failure,
    output::{Output, facts, table},
    settings::{Settings, deploy, pairs},
};

/// Commands about aggregates.
#[derive(Debug, Subcommand)]
pub(super) enum Aggregate {
    /// Deploy an aggregate: NAME is the category of its streams, for example Order.
    Deploy(Box<Deploy>),
    /// List what is deployed.
    List,
    /// Show how it stands.
    Status { name: Name },
    /// Show the state of one aggregate, as it is or was.
    #[command(disable_version_flag = true)]
    Show {
        /// The stream, `category-id`, for example Order-42.
        stream: StreamName,
        /// As it was after this event of the stream.
        #[arg(long, value_name = "VERSION")]
        version: Option<u64>,
    },
    /// Take a snapshot of one aggregate now.
    Snapshot {
        /// The stream, `category-id`, for example Order-42.
        stream: StreamName,
    },
    #[command(flatten)]
    Change(Change),
}

/// Deploy an aggregate.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    #[command(flatten)]
    settings: Settings,
    /// When snapshots are taken: every-100 or with another number of events, never, or manual.
    #[arg(long, value_name = "WHEN", default_value_t)]
    snapshots: SnapshotPolicy,
}

impl Aggregate {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Deploy(own) => {
                let mut body = own.settings.body(client).await?;
                body.insert("snapshots".into(), json!(own.snapshots));
                deploy(client, output, Kind::Aggregate, &body).await
            }
            Self::List => list(client, output).await,
            Self::Status { name } => {
                let answer = client.get(&["aggregates", name.as_str()], &[]).await?;
                output.show(&answer.text, || Ok(status(&answer.read()?)))
            }
            Self::Show { stream, version } => show(client, output, &stream, version).await,
            Self::Snapshot { stream } => {
                let answer = client.post(&["streams", stream.as_str(), "snapshot"], &[], &json!({})).await?;
                output.show(&answer.text, || {
                    let Taken { version, bytes, .. } = answer.read()?;
                    Ok(format!("a snapshot of {stream} at version {version} is kept, {bytes} bytes"))
                })
            }
            Self::Change(change) => change.run(Kind::Aggregate, client, output).await,
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        aggregates: Vec<T>,
    }

    let answer = client.get(&["aggregates"], &[]).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.aggregates, || {
        let listed: Listed<Status> = answer.read()?;
        let rows = listed.aggregates.iter().map(|status| {
            let Status { name, module, description, snapshots, counters, .. } = status;
            let which = format!("{} {}", description.name, description.version);
            let numbers = [counters.commands.accepted, counters.commands.rejected, counters.loaded];
            let texts = [name.to_string(), module.short(), which, snapshots.to_string()];
            texts.into_iter().chain(numbers.map(|number| number.to_string()))
        });
        let header = ["name", "module", "which is", "snapshots", "accepted", "rejected", "loaded"];
        Ok(table(&header, rows, "no aggregates: `lantern aggregate deploy NAME --module FILE` adds one"))
    })
}

fn status(status: &Status) -> String {
    let Status { description, module, counters, .. } = status;
    let counted = |counts: [(&str, u64); 6]| {
        let told = counts.into_iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}"));
        told.collect::<Vec<_>>().join(", ")
    };
    let kept = &counters.snapshots;
    let snapshots = format!("{}, {} kept, {} used, {} failed", status.snapshots, kept.written, kept.hits, kept.failed);
    facts(&[
        ("name", status.name.to_string()),
        ("module", format!("{} {} ({module})", description.name, description.version)),
        ("before", status.previous_module.map(|module| module.to_string()).unwrap_or_default()),
        ("decides", description.commands.join(", ")),
        ("commands", counted(counters.commands.by_outcome())),
        ("conflicts", format!("{} decided anew", counters.conflicts_retried)),
        ("loaded", format!("{} aggregates, {} bytes", counters.loaded, counters.loaded_bytes)),
        ("snapshots", snapshots),
        ("misses", counted(kept.misses.by_reason())),
        ("config", pairs(&status.config)),
        ("deployed", status.deployed_at.to_string()),
    ])
}

async fn show(client: &Client, output: Output, stream: &StreamName, version: Option<u64>) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Shown {
        version: Version,
        state: Option<Value>,
        state_base64: Option<String>,
    }

    let query: Vec<_> = version.map(|version| ("version", version.to_string())).into_iter().collect();
    let answer = client.get(&["streams", stream.as_str(), "state"], &query).await?;
    output.show(&answer.text, || {
        let Shown { version, state, state_base64 } = answer.read()?;
        let state = state.map(|state| serde_json::to_string_pretty(&state)).transpose();
        let state = state.map_err(|error| Failure::failed(error.to_string()))?;
        Ok(format!("{stream} at version {version}\n{}", state.or(state_base64).unwrap_or_default()))
    })
}
