//! What can be done to a deployed module of any kind: swap, rollback, history, remove.

use clap::Subcommand;
use lantern_core::{Digest, Entry, Happening, Kind, Name, Position};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    client::{Answer, Client},
    failure::Failure,
    module::meant,
    output::{Output, table},
};
use crate::http::SwapBody;

/// Commands about a deployed module of any kind.
#[derive(Debug, Subcommand)]
pub(super) enum Change {
    /// Replace the module, keeping everything else.
    Swap {
        name: Name,
        /// A digest, its first six or more digits, or a file.
        #[arg(long, value_name = "DIGEST|FILE")]
        module: String,
    },
    /// Go back to what was before the last change.
    Rollback { name: Name },
    /// Tell what happened to it.
    History { name: Name },
    /// Remove it; its history stays.
    Remove { name: Name },
}

/// Where the API has what is deployed as a kind.
pub(super) fn folder(kind: Kind) -> &'static str {
    match kind {
        Kind::Projection => "projections",
        Kind::Handler => "handlers",
        Kind::Aggregate => "aggregates",
        Kind::Upcaster => "upcasters",
    }
}

impl Change {
    pub(super) async fn run(self, kind: Kind, client: &Client, output: Output) -> Result<(), Failure> {
        let folder = folder(kind);
        match self {
            Self::Swap { name, module } => {
                let module = meant(client, &module).await?;
                let answer = client.post(&[folder, name.as_str(), "swap"], &[], &SwapBody { module }).await?;
                changed(&answer, output, kind, &name)
            }
            Self::Rollback { name } => {
                let answer = client.post(&[folder, name.as_str(), "rollback"], &[], &json!({})).await?;
                changed(&answer, output, kind, &name)
            }
            Self::History { name } => history(client, output, kind, &name).await,
            Self::Remove { name } => {
                client.delete(&[folder, name.as_str()]).await?;
                output.done(&json!({ "removed": name }), format_args!("{kind} {name} is removed"))
            }
        }
    }
}

/// A change of modules; each kind has some of the numbers.
#[derive(Deserialize)]
struct Swapped {
    position: Position,
    from: Digest,
    to: Digest,
    #[serde(default)]
    dry_run_events: u64,
    #[serde(default)]
    parked_mended: u64,
}

fn changed(answer: &Answer, output: Output, kind: Kind, name: &Name) -> Result<(), Failure> {
    output.show(&answer.text, || {
        let Swapped { position, from, to, dry_run_events, parked_mended } = answer.read()?;
        let mut text = format!("{kind} {name} runs {} instead of {}", to.short(), from.short());
        if kind.is_processor() {
            text += &format!(" from position {} on", position.next());
        }
        if dry_run_events > 0 {
            text += &format!("; it was tried on {dry_run_events} events before");
        }
        if parked_mended > 0 {
            text += &format!("\nit can handle {parked_mended} parked events: `lantern dead-letter retry {name}`");
        }
        Ok(text)
    })
}

async fn history(client: &Client, output: Output, kind: Kind, name: &Name) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        entries: Vec<T>,
    }

    let answer = client.get(&[folder(kind), name.as_str(), "history"], &[]).await?;
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
        Happening::AggregateDeployed(deployment) => {
            ("deployed", format!("module {}, snapshots {}", deployment.module.short(), deployment.snapshots))
        }
        Happening::UpcasterDeployed(deployment) => ("deployed", format!("module {}", deployment.module.short())),
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
        Happening::ScheduleCancelled { key } => ("schedule-cancelled", key.clone()),
        Happening::Removed => ("removed", String::new()),
    }
}
