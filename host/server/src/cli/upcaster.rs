//! `lantern upcaster`: deploying upcasters and changing what they run.

use clap::{Args, Subcommand};
use lantern_core::{Kind, Name};
use lantern_upcasters::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    change::Change,
    client::Client,
    failure::Failure,
    module::steps,
    output::{Output, facts, table},
    settings::{Settings, deploy, pairs},
};

/// Commands about upcasters.
#[derive(Debug, Subcommand)]
pub(super) enum Upcaster {
    /// Deploy an upcaster: from now on modules see older events in the form it makes of them.
    Deploy(Box<Deploy>),
    /// List what is deployed.
    List,
    /// Show how it stands.
    Status { name: Name },
    #[command(flatten)]
    Change(Change),
}

/// Deploy an upcaster.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    #[command(flatten)]
    settings: Settings,
}

impl Upcaster {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Deploy(own) => {
                let body = own.settings.body(client).await?;
                deploy(client, output, Kind::Upcaster, &body).await
            }
            Self::List => list(client, output).await,
            Self::Status { name } => {
                let answer = client.get(&["upcasters", name.as_str()], &[]).await?;
                output.show(&answer.text, || Ok(status(&answer.read()?)))
            }
            Self::Change(change) => change.run(Kind::Upcaster, client, output).await,
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed<T> {
        upcasters: Vec<T>,
    }

    let answer = client.get(&["upcasters"], &[]).await?;
    output.show_value(&answer.read::<Listed<Box<RawValue>>>()?.upcasters, || {
        let listed: Listed<Status> = answer.read()?;
        let rows = listed.upcasters.iter().map(|status| {
            let Status { name, module, description, .. } = status;
            let which = format!("{} {}", description.name, description.version);
            [name.to_string(), module.short(), which, steps(&description.steps).replace('\n', ", ")]
        });
        let header = ["name", "module", "which is", "steps"];
        Ok(table(&header, rows, "no upcasters: `lantern upcaster deploy NAME --module FILE` adds one"))
    })
}

fn status(status: &Status) -> String {
    let Status { description, module, .. } = status;
    facts(&[
        ("name", status.name.to_string()),
        ("module", format!("{} {} ({module})", description.name, description.version)),
        ("before", status.previous_module.map(|module| module.to_string()).unwrap_or_default()),
        ("steps", steps(&description.steps)),
        ("config", pairs(&status.config)),
        ("deployed", status.deployed_at.to_string()),
    ])
}
